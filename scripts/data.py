import logging
from pathlib import Path

from requant.job import reported

with reported(snakemake.log[0]):
    from requant.evaluate.data import describe_data
    from requant.records import write_record
    from requant.run.log_lines import described

    record = describe_data(snakemake.params.data)
    write_record(Path(snakemake.output[0]), record)
    logging.info("%s", described(record))
