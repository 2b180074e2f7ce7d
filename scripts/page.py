from pathlib import Path

from requant.errors import reported

with reported(snakemake.log[0]):
    from requant.report.page import SectionFiles, write_page

    files = zip(
        snakemake.params.models.values(),
        snakemake.input.originals,
        snakemake.input.data,
        snakemake.input.tables,
        snakemake.input.judgements,
        snakemake.input.plots,
        snakemake.input.sheets,
        strict=True,
    )
    write_page([SectionFiles(kind, *map(Path, paths)) for kind, *paths in files], Path(snakemake.output[0]))
