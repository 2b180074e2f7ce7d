import logging
from pathlib import Path

from requant.job import reported

with reported(snakemake.log[0]):
    from requant.quantize.scheme import Scheme
    from requant.quantize.selection import Selection
    from requant.quantize.variant import make_variant
    from requant.records import write_record
    from requant.run.log_lines import stored

    audit = make_variant(
        Path(snakemake.input.model),
        Scheme.parse(snakemake.params.scheme),
        Path(snakemake.output.model),
        snakemake.params.custom or None,
        Selection.of(snakemake.params.selection),
    )
    write_record(Path(snakemake.output.audit), audit)
    logging.info("%s", stored(audit, Path(snakemake.output.model)))
