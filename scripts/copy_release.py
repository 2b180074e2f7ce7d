import logging
from pathlib import Path

from requant.job import reported

with reported(snakemake.log[0]):
    from requant.archive.carrying import carry_out
    from requant.archive.contents import find
    from requant.archive.store import Store

    store = Store(Path(snakemake.params.archive))
    name = f"{snakemake.wildcards.model}@{snakemake.params.release}"
    carry_out(store, find(store, name), Path(snakemake.output[0]))
    logging.info("copied %s, %s bytes", name, f"{Path(snakemake.output[0]).stat().st_size:,}")
