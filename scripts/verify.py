import logging
from pathlib import Path

from requant.job import reported

with reported(snakemake.log[0]):
    from requant.originals import protect, read_lock, verify
    from requant.records import write_record
    from requant.run.log_lines import verified

    original = Path(snakemake.params.original)
    record = verify(original, read_lock(original.parent))
    protect(original)
    write_record(Path(snakemake.output[0]), record)
    logging.info("%s", verified(record))
