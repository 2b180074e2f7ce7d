import logging
from pathlib import Path

from requant.frameworks import FRAMEWORKS
from requant.job import reported

# A metric of the user's may need any framework that is installed.
with reported(snakemake.log[0], *(FRAMEWORKS if snakemake.params.metrics else ())):
    from requant.evaluate.comparison import evaluate
    from requant.evaluate.outputs import load_outputs
    from requant.records import read_record, write_record
    from requant.run.log_lines import evaluated

    figures = evaluate(
        Path(snakemake.input.model),
        read_record(Path(snakemake.input.audit)),
        read_record(Path(snakemake.input.original))["bytes"],
        load_outputs(Path(snakemake.input.outputs[0])) if snakemake.input.outputs else None,
        load_outputs(Path(snakemake.input.reference[0])) if snakemake.input.reference else None,
        read_record(Path(snakemake.input.raised[0])) if snakemake.input.raised else None,
        read_record(Path(snakemake.input.conversion[0])) if snakemake.input.conversion else None,
        snakemake.params.metrics,
    )
    write_record(Path(snakemake.output[0]), figures)
    logging.info("%s", evaluated(figures))
