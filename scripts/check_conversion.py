import logging
from pathlib import Path

from requant.job import reported

with reported(snakemake.log[0], *snakemake.params.frameworks):
    from requant.convert import require_framework
    from requant.convert.settings import ConversionSettings
    from requant.originals import place_of

    original = place_of(snakemake.params.original, snakemake.input.stored)
    require_framework(original)  # before coremltools, which knows only the frameworks that it finds

    from requant.evaluate.judgement import conversion_in_words
    from requant.evaluate.source import check_conversion
    from requant.records import write_record

    record = check_conversion(
        original,
        Path(snakemake.input.model),
        ConversionSettings.of(snakemake.params.conversion),
        snakemake.params.data,
    )
    write_record(Path(snakemake.output[0]), record)
    logging.info("%s", conversion_in_words(record))
