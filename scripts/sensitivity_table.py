import logging
from pathlib import Path

from requant.job import reported

with reported(snakemake.log[0]):
    from requant.evaluate.sensitivity_table import gather, most_sensitive, write_table
    from requant.records import read_record

    table = gather([read_record(Path(path)) for path in snakemake.input.parts])
    write_table(table, Path(snakemake.output[0]))
    logging.info("%d rows; what hurts most: %s", len(table), ", ".join(most_sensitive(table, 3)))
