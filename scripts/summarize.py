import logging
from pathlib import Path

from requant.job import reported

with reported(snakemake.log[0]):
    from requant.coreml.systems import system_named
    from requant.records import read_record
    from requant.report.summary import summarize, write_summary

    evaluations = [read_record(Path(path)) for path in snakemake.input]
    system = system_named(snakemake.params.system) if snakemake.params.system else None
    summary = summarize(snakemake.wildcards.model, evaluations, snakemake.params.targets, system)
    write_summary(summary, Path(snakemake.output.table), Path(snakemake.output.judgement))
    logging.info("%s", summary.recommendation.reason)
