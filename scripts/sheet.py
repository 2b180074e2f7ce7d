import logging
from pathlib import Path

from requant.job import reported

with reported(snakemake.log[0]):
    from requant.report.sheet import make_sheet

    make_sheet(
        snakemake.wildcards.model,
        Path(snakemake.input.model),
        snakemake.params.data,
        Path(snakemake.input.table),
        Path(snakemake.input.judgement),
        [Path(path) for path in snakemake.input.evaluations],
        [Path(path) for path in snakemake.input.outputs],
        Path(snakemake.output[0]),
    )
    logging.info("the outputs of %d models side by side", len(snakemake.input.evaluations))
