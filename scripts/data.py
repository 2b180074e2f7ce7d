from pathlib import Path

from requant.job import reported

with reported(snakemake.log[0]):
    from requant.evaluate.data import describe_data
    from requant.records import write_record

    write_record(Path(snakemake.output[0]), describe_data(snakemake.params.data))
