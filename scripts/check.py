from pathlib import Path

from requant.job import reported

with reported(snakemake.log[0]):
    from requant.records import write_record
    from requant.report.check import check_judgements

    write_record(Path(snakemake.output[0]), check_judgements([Path(path) for path in snakemake.input]))
