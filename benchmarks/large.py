"""Time and peak memory of every job of the workflow on ML Programs of 1 MB to 4 GB, beside coremltools' quantizing.

    python -m benchmarks.large --coremltools-python .venv-coremltools/bin/python

Each measurement is a process of its own that runs what the script of a rule runs; the time is without imports. The
models are those of `benchmarks/large_model.py`. coremltools quantizes the same packages, without the audit that a job
of requant ends with; once it fails at a size, or takes longer than `--timeout` seconds, it is not tried on a larger
one. The result goes to docs/performance.md and docs/images/large.svg. About 25 GB of disk are needed for 4 GB.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.performance_page import (
    REPEATS,
    REPOSITORY,
    Middle,
    machine,
    peak_mb,
    plot,
    ran,
    ran_well,
    repeated,
    table,
    write_section,
)

SIZES = (1, 4, 16, 64, 256, 1000, 4000)  # MB
SCHEMES = ("linear_8", "kmeans_4", "linear_4_block32")
JOBS = ("verify", "convert", *SCHEMES, "evaluate")
EVALUATED = "kmeans_4"
LIBRARIES = ("coremltools", "numpy", "protobuf", "scikit-learn")
MOST_MEMORY = 20e9  # bytes that coremltools may take, so that it ends with an error before the machine does
COLOURS = {"requant": "#0072b2", "coremltools": "#d55e00"}
NAME, TITLE = "large", "Large models"


@dataclass(frozen=True)
class Cell:
    """One job on one model: seconds and peak MB, or why there are none."""

    seconds: Middle | None = None
    peak_mb: float = 0.0
    failure: str = ""


def files_of(folder: Path) -> dict[str, Path]:
    """Return where the benchmark has its files, by what they are."""
    originals = folder / "models_original"
    return {
        "original": originals / "large.mlpackage",
        "record": folder / "original.json",
        "float": folder / "float.mlpackage.zip",
        **{scheme: folder / f"large_{scheme}.mlpackage.zip" for scheme in SCHEMES},
    }


def by_requant(job: str, folder: Path) -> float:
    """Do what the script of a job does, and return the seconds that it took."""
    files = files_of(folder)
    if job == "verify":
        from requant.originals import read_lock, verify
        from requant.records import write_record

        start = time.perf_counter()
        write_record(files["record"], verify(files["original"], read_lock(files["original"].parent)))
    elif job == "convert":
        from requant.convert.conversion import make_float_model
        from requant.records import read_record, write_record

        start = time.perf_counter()
        audit = make_float_model(files["original"], read_record(files["record"]), files["float"])
        write_record(folder / "float.json", audit)
    elif job == "evaluate":
        from requant.evaluate.comparison import evaluate
        from requant.records import read_record, write_record

        start = time.perf_counter()
        audit, record = read_record(folder / f"{EVALUATED}.json"), read_record(files["record"])
        write_record(folder / "evaluation.json", evaluate(files[EVALUATED], audit, record["bytes"]))
    else:
        from requant.quantize.scheme import Scheme
        from requant.quantize.variant import make_variant
        from requant.records import write_record

        start = time.perf_counter()
        write_record(folder / f"{job}.json", make_variant(files["float"], Scheme.parse(job), files[job]))
    return time.perf_counter() - start


def by_coremltools(job: str, folder: Path) -> float:
    """Quantize the same model with coremltools' own functions, and return the seconds that it took."""
    import coremltools as ct

    from benchmarks.quantize import coremltools_config

    source, output = files_of(folder)["original"], folder / "coremltools.mlpackage"
    start = time.perf_counter()
    compress, config = coremltools_config(job)
    compress(ct.models.MLModel(str(source), skip_model_load=True), config=config).save(str(output))
    return time.perf_counter() - start


def measure(engine: str, job: str, folder: Path) -> None:
    """Print seconds and peak MB of one job as JSON; whatever else is printed comes before it."""
    if engine == "coremltools":
        resource.setrlimit(resource.RLIMIT_AS, (int(MOST_MEMORY), int(MOST_MEMORY)))
    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):  # noqa: PTH123  coremltools prints
        seconds = (by_requant if engine == "requant" else by_coremltools)(job, folder)
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb()}))


def repeats_for(size: int) -> int:
    """Return how often a job on a model of so many MB is measured: what takes minutes varies little."""
    return REPEATS if size <= 256 else 3 if size <= 1000 else 1


def cell(engine: str, python: str, job: str, folder: Path, timeout: float, repeats: int) -> Cell:
    """Return the median of some measurements of one job."""
    command = [python, "-m", "benchmarks.large", "--one", engine, job, str(folder)]

    def one() -> dict[str, Any]:
        done = ran(command, timeout=timeout, PYTHONPATH=f"{REPOSITORY / 'src'}")
        if done.status:
            lines = done.output.strip().splitlines()
            memory = done.status == -9 or "MemoryError" in done.output or "bad_alloc" in done.output
            raise ChildProcessError("out of memory" if memory else (lines or ["failed"])[-1][:80])
        found: dict[str, Any] = json.loads(done.output.strip().splitlines()[-1])
        return found

    try:
        taken = repeated(one, lambda run: float(run["seconds"]), repeats)
    except subprocess.TimeoutExpired:
        return Cell(failure=f"> {timeout:.0f} s")
    except ChildProcessError as error:
        return Cell(failure=str(error))
    return Cell(Middle.of(run["seconds"] for run in taken), max(run["peak_mb"] for run in taken))


def measured(sizes: Sequence[int], python: str, timeout: float, disk: Path | None) -> dict[int, dict[str, Cell]]:
    """Return the cells by size, and by job or, of coremltools, `coremltools JOB`."""
    results: dict[int, dict[str, Cell]] = {}
    given_up: dict[str, str] = {}
    for size in sizes:
        cells = results.setdefault(size, {})
        with tempfile.TemporaryDirectory(dir=disk) as name:
            folder = Path(name)
            original = files_of(folder)["original"]
            ran_well([sys.executable, "-m", "benchmarks.large_model", str(size), str(original)])
            ran_well([sys.executable, "-m", "requant.cli", "lock", str(original)])
            for job in JOBS:
                cells[job] = cell("requant", sys.executable, job, folder, 3600, repeats_for(size))
                told(size, job, cells[job])
            for job in SCHEMES:
                label = f"coremltools {job}"
                cells[label] = Cell(failure=given_up.get(job, ""))
                if job not in given_up:
                    cells[label] = cell("coremltools", python, job, folder, timeout, repeats_for(size))
                if cells[label].failure:
                    given_up.setdefault(job, "not tried")
                told(size, label, cells[label])
    return results


def told(size: int, job: str, found: Cell) -> None:
    """Say on standard error what was measured."""
    text = found.seconds.shown() if found.seconds else found.failure
    print(f"{size} MB, {job}: {text} s, {found.peak_mb:.0f} MB", file=sys.stderr, flush=True)


def tables(results: dict[int, dict[str, Cell]]) -> str:
    """Return the tables of seconds and of peak memory."""
    rows = []
    for size, cells in results.items():
        for job in JOBS:
            ours, theirs = cells[job], cells.get(f"coremltools {job}")
            rows.append(
                [f"{size:,} MB", f"`{job}`" if job in SCHEMES else job, *columns(ours, size), *beside(ours, theirs)]
            )
    head = ["model", "job", "seconds", "peak MB", "of the model", "coremltools, seconds", "peak MB", "faster"]
    return table(head, rows)


def columns(found: Cell, size: int) -> list[str]:
    """Return seconds, peak memory, and that as a multiple of the model's size where libraries do not outweigh it."""
    if found.seconds is None:
        return [found.failure, "", ""]
    share = f"{found.peak_mb / size:.2f}x" if size >= 256 else ""
    return [found.seconds.shown(spread=False), f"{found.peak_mb:.0f}", share]


def beside(ours: Cell, theirs: Cell | None) -> list[str]:
    """Return seconds and peak memory of coremltools, and how many times as fast requant is."""
    if theirs is None:
        return ["", "", ""]
    if theirs.seconds is None or ours.seconds is None:
        return [theirs.failure, "", ""]
    ratio = f"{theirs.seconds.median / ours.seconds.median:.1f}x"
    return [theirs.seconds.shown(spread=False), f"{theirs.peak_mb:.0f}", ratio]


def draw(results: dict[int, dict[str, Cell]]) -> None:
    """Draw seconds against the size of the model for each scheme, and peak memory, both axes logarithmic."""
    with plot(NAME, len(SCHEMES) + 1, 3.4, 4.0) as panels:
        for axes, job in zip(panels, SCHEMES, strict=False):
            for engine, label in (("requant", job), ("coremltools", f"coremltools {job}")):
                known = {size: cells[label].seconds for size, cells in results.items()}
                points = [(size, found.median) for size, found in known.items() if found]
                axes.plot(*zip(*points, strict=True), "o-", color=COLOURS[engine], label=engine, markersize=4)
            largest = max(results)
            last = results[largest][job].seconds
            if last:
                axes.plot([1, largest], [last.median / largest, last.median], ":", color="#888888", label="linear")
            axes.set_title(job)
            axes.set_ylabel("seconds")
        memory = panels[-1]
        for job in SCHEMES:
            for engine, label in (("requant", job), ("coremltools", f"coremltools {job}")):
                points = [(size, cells[label].peak_mb) for size, cells in results.items() if cells[label].seconds]
                marker = {"linear_8": "o", "kmeans_4": "s"}.get(job, "^")
                memory.plot(*zip(*points, strict=True), f"{marker}-", color=COLOURS[engine], label=label, markersize=4)
        memory.plot(list(results), [1.5 * size for size in results], ":", color="#888888", label="1.5 times the model")
        memory.set_title("peak memory")
        memory.set_ylabel("MB")
        for axes in panels:
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xlabel("float16 weights (MB)")
            axes.legend(frameon=False, fontsize=6.5)


def main() -> None:
    """Measure, and write the section and the plot."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--one", nargs=3, metavar=("ENGINE", "JOB", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="in MB")
    parser.add_argument(
        "--coremltools-python", default=sys.executable, help="Python of an environment with scikit-learn"
    )
    parser.add_argument("--timeout", type=float, default=900, help="seconds that coremltools may take")
    parser.add_argument("--disk", type=Path, help="a folder on a disk with room")
    options = parser.parse_args()
    if options.one:
        engine, job, folder = options.one
        measure(engine, job, Path(folder))
        return
    results = measured(options.sizes, options.coremltools_python, options.timeout, options.disk)
    draw(results)
    others = {} if options.coremltools_python == sys.executable else {"coremltools": options.coremltools_python}
    link = f"![Seconds and peak memory against the size of the model](images/{NAME}.svg)"
    write_section(NAME, TITLE, f"{machine(LIBRARIES, others)}\n\n{link}\n\n{tables(results)}")


if __name__ == "__main__":
    main()
