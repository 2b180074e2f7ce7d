from pathlib import Path

from requant.job import reported

with reported(snakemake.log[0]):
    from requant.report.page import SectionFiles, write_page

    parts = ("originals", "tables", "judgements", "data", "plots", "sheets")
    of_model = [{Path(path).parent.name: Path(path) for path in snakemake.input[part]} for part in parts]
    files = [SectionFiles(*(paths.get(model) for paths in of_model)) for model in snakemake.params.models]
    write_page(files, Path(snakemake.output[0]))
