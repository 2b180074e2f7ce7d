import logging
from pathlib import Path

from requant.job import reported

with reported(snakemake.log[0]):
    from requant.evaluate.data import load_data
    from requant.evaluate.outputs import run_all, save_outputs
    from requant.runtime import load

    runner = load(Path(snakemake.input.model))
    samples = load_data(snakemake.params.data, runner.inputs)
    outputs = run_all(runner, samples)
    save_outputs(outputs, Path(snakemake.output[0]))
    logging.info("ran %s on %d samples", snakemake.input.model, len(outputs.names))
