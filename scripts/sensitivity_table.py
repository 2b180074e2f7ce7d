from pathlib import Path

from requant.job import reported

with reported(snakemake.log[0]):
    from requant.evaluate.sensitivity_table import gather, write_table
    from requant.records import read_record

    write_table(gather([read_record(Path(path)) for path in snakemake.input.parts]), Path(snakemake.output[0]))
