from pathlib import Path

from requant.errors import reported

with reported(snakemake.log[0]):
    from requant.evaluate.comparison import evaluate
    from requant.evaluate.outputs import load_outputs
    from requant.records import read_record, write_record

    figures = evaluate(
        Path(snakemake.input.model),
        read_record(Path(snakemake.input.audit)),
        read_record(Path(snakemake.input.original))["bytes"],
        load_outputs(Path(snakemake.input.outputs)),
        load_outputs(Path(snakemake.input.reference)),
        read_record(Path(snakemake.input.raised[0])) if snakemake.input.raised else None,
    )
    write_record(Path(snakemake.output[0]), figures)
