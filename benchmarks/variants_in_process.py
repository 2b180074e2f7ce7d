"""The work of a run without the run: variants made, predicted and judged by the library's functions in a few processes.

python -m benchmarks.variants_in_process PROJECT SCHEME...
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.overhead_projects import SAMPLES
from benchmarks.performance_page import REPOSITORY

MODEL = "digits"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def work(project: Path, schemes: list[str], processes: int) -> dict[str, float]:
    """Return what variants take in some processes that share them: seconds of the longest one, processor time of all.

    Imports, and what is done once for all variants, are not in it.

    Args:
        project: a folder in which they were made before.
        schemes: their names.
        processes: how many.

    Raises:
        RuntimeError: if one fails.
    """
    command = [sys.executable, "-m", "benchmarks.variants_in_process", str(project)]
    started = [
        subprocess.Popen([*command, *schemes[index::processes]], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
        for index in range(processes)
    ]
    said = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise RuntimeError("the library's functions failed, see above.")
    times = [json.loads(text.splitlines()[-1]) for text in said]
    return {"seconds": max(one["seconds"] for one in times), "cpu": sum(one["cpu"] for one in times)}


def make(project: Path, schemes: list[str]) -> dict[str, float]:
    """Quantize, predict and evaluate each variant as the jobs do; return the seconds, and those of the processor."""
    import requant.evaluate.data.arrays
    import requant.runtime.program  # noqa: F401  imported by the first variant otherwise
    from requant.evaluate.comparison import evaluate
    from requant.evaluate.data import load_data
    from requant.evaluate.data.settings import DataSettings
    from requant.evaluate.outputs import load_outputs, run_all, save_outputs
    from requant.quantize.scheme import Scheme
    from requant.quantize.selection import Selection
    from requant.quantize.variant import make_variant
    from requant.records import read_record, write_record
    from requant.runtime import load

    results = project / "results" / MODEL
    data = DataSettings.of({"path": str(project / "config/data/digits.npz"), "samples": SAMPLES}).to_table()
    (raised,) = results.glob("raised/*.json")
    start, start_cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        for scheme in schemes:
            model, outputs = (Path(folder) / f"{MODEL}_{scheme}{end}" for end in (".mlpackage.zip", ".npz"))
            float_model = results / "float" / f"{MODEL}.mlpackage.zip"
            audit = make_variant(float_model, Scheme.parse(scheme), model, None, Selection.of({}))
            write_record(Path(f"{model}.json"), audit)
            runner = load(model)
            save_outputs(run_all(runner, load_data(data, runner.inputs)), outputs)
            figures = evaluate(
                model,
                read_record(Path(f"{model}.json")),
                read_record(results / "original.json")["bytes"],
                load_outputs(outputs),
                load_outputs(results / "outputs" / f"{MODEL}_float.npz"),
                read_record(raised),
                None,
                {},
            )
            write_record(Path(folder) / f"{scheme}.json", figures)
    return {"seconds": time.perf_counter() - start, "cpu": time.process_time() - start_cpu}


if __name__ == "__main__":
    import os

    os.environ.update(ONE_THREAD)
    print(json.dumps(make(Path(sys.argv[1]), sys.argv[2:])))
