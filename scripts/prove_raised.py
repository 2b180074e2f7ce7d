import logging
from pathlib import Path

from requant.job import reported

with reported(snakemake.log[0]):
    from requant.evaluate.raised import compare_raised
    from requant.records import write_record
    from requant.run.log_lines import raised

    record = compare_raised(Path(snakemake.input.model), int(snakemake.wildcards.version), snakemake.params.data)
    write_record(Path(snakemake.output[0]), record)
    logging.info("%s", raised(record))
