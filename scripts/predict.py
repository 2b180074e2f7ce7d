from pathlib import Path

from requant.job import reported

with reported(snakemake.log[0]):
    from requant.evaluate.data import load_data
    from requant.evaluate.outputs import run_all, save_outputs
    from requant.runtime import load

    runner = load(Path(snakemake.input.model))
    samples = load_data(snakemake.params.data, runner.inputs)
    save_outputs(run_all(runner, samples), Path(snakemake.output[0]))
