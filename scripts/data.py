from pathlib import Path

from requant.job import reported

with reported(snakemake.log[0]):
    from requant.evaluate.data import describe_data
    from requant.records import write_record

    data = snakemake.params.data
    write_record(Path(snakemake.output[0]), describe_data(Path(data) if data else None))
