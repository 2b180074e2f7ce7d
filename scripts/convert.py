from pathlib import Path

from requant.errors import reported

with reported(snakemake.log[0]):
    from requant.convert.conversion import make_float_model
    from requant.records import read_record, write_record

    audit = make_float_model(
        Path(snakemake.params.original), read_record(Path(snakemake.input.record)), Path(snakemake.output.model)
    )
    write_record(Path(snakemake.output.audit), audit)
