from pathlib import Path

from requant.job import reported

with reported(snakemake.log[0]):
    from requant.records import read_record
    from requant.report.summary import summarize, write_summary

    evaluations = [read_record(Path(path)) for path in snakemake.input]
    summary = summarize(snakemake.wildcards.model, evaluations, snakemake.params.targets)
    write_summary(summary, Path(snakemake.output.table), Path(snakemake.output.judgement))
