import logging
from pathlib import Path

from requant.job import reported

with reported(snakemake.log[0]):
    from requant.archive.release import MadeFiles, ReleaseFiles, archive_release, receipt, wanted_schemes
    from requant.archive.software import describe_software
    from requant.archive.store import Store
    from requant.originals import place_of
    from requant.records import write_record
    from requant.report.page import SectionFiles

    given, params = snakemake.input, snakemake.params
    root = Path(snakemake.scriptdir).parent
    judgement = Path(given.judgement)
    evaluations = {Path(path).stem: Path(path) for path in given.evaluations}
    model = snakemake.wildcards.model
    schemes = wanted_schemes(params.wanted, params.schemes, judgement)
    paths = dict(zip(params.schemes, map(Path, given.get("variants", ())), strict=True))
    page = SectionFiles(
        Path(given.original),
        Path(given.table),
        judgement,
        *(Path(given[name]) if hasattr(given, name) else None for name in ("data", "plot", "sheet", "viewer")),
        maps=[Path(path) for path in given.maps],
    )
    store = Store(Path(params.archive))
    entry, added = archive_release(
        store,
        ReleaseFiles(
            model,
            params.release,
            place_of(params.made_original, given.stored),
            MadeFiles(
                "float",
                Path(given.float_model),
                evaluations[f"{model}_float"],
                params.conversion,
                tuple(params.conversion_functions),
            ),
            tuple(
                MadeFiles(
                    scheme,
                    paths[scheme],
                    evaluations[f"{model}_{scheme}"],
                    params.selections[scheme],
                    tuple(filter(None, [params.functions[scheme]])),
                )
                for scheme in schemes
            ),
            page,
            describe_software(params.made_by, root / "requirements" / "run.lock"),
            conversion=Path(given.conversion[0]) if given.conversion else None,
            user_files=tuple(map(Path, given.user_files)),
            workflow=root,
        ),
    )
    write_record(Path(snakemake.output[0]), receipt(store, entry))
    logging.info("%s %s of %s, in %s", "archived" if added else "there already:", params.release, model, params.archive)
