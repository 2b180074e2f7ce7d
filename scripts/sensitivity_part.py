from pathlib import Path

from requant.job import reported

with reported(snakemake.log[0]):
    from requant.evaluate.sensitivity import measure_part
    from requant.quantize.scheme import Scheme
    from requant.records import write_record

    record = measure_part(
        Path(snakemake.input.model),
        [Scheme.parse(scheme) for scheme in snakemake.params.schemes],
        int(snakemake.wildcards.part),
        snakemake.params.parts,
        snakemake.params.samples,
        snakemake.params.data,
        snakemake.params.threshold,
        snakemake.params.custom or None,
    )
    write_record(Path(snakemake.output[0]), record)
