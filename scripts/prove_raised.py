from pathlib import Path

from requant.job import reported

with reported(snakemake.log[0]):
    from requant.evaluate.raised import compare_raised
    from requant.records import write_record

    data = Path(snakemake.params.data) if snakemake.params.data else None
    record = compare_raised(Path(snakemake.input.model), int(snakemake.wildcards.version), data)
    write_record(Path(snakemake.output[0]), record)
