import logging
from pathlib import Path

from requant.job import reported

with reported(snakemake.log[0]):
    from requant.report.viewer import make_viewer

    make_viewer(
        Path(snakemake.input.model),
        snakemake.params.data,
        [Path(path) for path in snakemake.input.evaluations],
        [Path(path) for path in snakemake.input.outputs],
        Path(snakemake.input.judgement),
        Path(snakemake.output[0]),
    )
    logging.info("gathered %s bytes for the page", f"{Path(snakemake.output[0]).stat().st_size:,}")
