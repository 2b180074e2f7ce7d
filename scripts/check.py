import logging
from pathlib import Path

from requant.job import reported

with reported(snakemake.log[0]):
    from requant.archive.regression import regressions_of
    from requant.records import write_record
    from requant.report.check import check_judgements

    judgements = [Path(path) for path in snakemake.input.judgements]
    tables = [Path(path) for path in snakemake.input.tables]
    worse = regressions_of(Path(snakemake.params.archive), zip(tables, judgements, strict=True))
    write_record(Path(snakemake.output[0]), check_judgements(judgements, worse))
    logging.info("%d models: none has variants of which not one is acceptable", len(judgements))
