from pathlib import Path

from requant.job import reported

with reported(snakemake.log[0]):
    from requant.report.heatmap import draw_sensitivity

    wildcards = snakemake.wildcards
    draw_sensitivity(wildcards.model, wildcards.family, Path(snakemake.input[0]), Path(snakemake.output[0]))
