import logging
from pathlib import Path

from requant.job import reported

with reported(snakemake.log[0]):
    from requant.report.plots import plot_fidelity
    from requant.report.summary import read_summary

    summary = read_summary(Path(snakemake.input.table), Path(snakemake.input.judgement))
    plot_fidelity(summary, Path(snakemake.output[0]))
    logging.info("drew %d variants", len(summary.variants))
