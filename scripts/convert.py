import logging
from pathlib import Path

from requant.job import reported

with reported(snakemake.log[0], *snakemake.params.frameworks):
    from requant.convert.conversion import make_float_model
    from requant.convert.settings import ConversionSettings
    from requant.frameworks import installed_versions
    from requant.originals import place_of
    from requant.records import read_record, write_record
    from requant.run.log_lines import stored

    audit = make_float_model(
        place_of(snakemake.params.original, snakemake.input.stored),
        read_record(Path(snakemake.input.record)),
        Path(snakemake.output.model),
        ConversionSettings.of(snakemake.params.conversion),
    )
    versions = {
        name: version for each in snakemake.params.frameworks for name, version in installed_versions(each).items()
    }
    write_record(Path(snakemake.output.audit), audit | ({"frameworks": versions} if versions else {}))
    logging.info("%s", stored(audit, Path(snakemake.output.model)))
