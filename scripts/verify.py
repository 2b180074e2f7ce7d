import logging
from pathlib import Path

from requant.job import reported

with reported(snakemake.log[0]):
    from requant.originals import place_of, protect, read_lock, verify
    from requant.records import write_record
    from requant.run.log_lines import verified

    name, is_stored = snakemake.params.original, bool(snakemake.input.lock)
    original = place_of(name, snakemake.input.files if is_stored else ())
    record = verify(original, read_lock(original.parent))
    if not is_stored:
        protect(original)
    record |= {"original": name}
    write_record(Path(snakemake.output[0]), record)
    logging.info("%s", verified(record))
