import logging
from pathlib import Path

from requant.job import reported

with reported(snakemake.log[0]):
    from requant.report.page import SectionFiles, write_page

    parts = ("originals", "tables", "judgements", "data", "plots", "sheets", "viewers")
    of_model = [{Path(path).parent.name: Path(path) for path in snakemake.input[part]} for part in parts]
    maps = [Path(path) for path in snakemake.input.maps]  # of a model there are as many as families
    files = [
        SectionFiles(*(paths.get(model) for paths in of_model), maps=[p for p in maps if p.parents[1].name == model])
        for model in snakemake.params.models
    ]
    write_page(files, Path(snakemake.output[0]))
    logging.info("%d models, %d bytes", len(files), Path(snakemake.output[0]).stat().st_size)
