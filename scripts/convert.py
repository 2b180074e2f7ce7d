from pathlib import Path

from requant.job import reported

with reported(snakemake.log[0], *snakemake.params.frameworks):
    from requant.convert.conversion import make_float_model
    from requant.convert.settings import ConversionSettings
    from requant.records import read_record, write_record

    audit = make_float_model(
        Path(snakemake.params.original),
        read_record(Path(snakemake.input.record)),
        Path(snakemake.output.model),
        ConversionSettings.of(snakemake.params.conversion),
    )
    write_record(Path(snakemake.output.audit), audit)
