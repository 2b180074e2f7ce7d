"""What a run takes beside the work itself: nothing to do, the demo's grid, a thousand variants of a small model.

    python -m benchmarks.overhead --coremltools-python .venv-coremltools/bin/python

Three comparisons. A run with nothing to do, beside an empty workflow with the same rules, jobs, files and edges. The
demo's grid, beside a loop of coremltools' own functions in one script that evaluates nothing. Many variants of a small
model, beside the same library functions in one process per core; for these, where the processors' time goes. The result
goes to docs/performance.md and docs/images/overhead.svg. Nothing is asserted. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.overhead_projects import PROFILE, demo, empty, jobs_of, many, many_schemes, snakemake
from benchmarks.performance_page import REPEATS, REPOSITORY, Middle, Ran, machine, plot, ran_well, table, write_section
from benchmarks.processor_time import Spent, spent
from benchmarks.variants_in_process import work

LIBRARIES = ("snakemake", "coremltools", "numpy", "protobuf", "scikit-learn")
PARTS = ("nothing", "grid", "many")
EVALUATED = "results/digits/summary.tsv"
# The parts of the processors' time: how a bar is labelled, and its colour.
SHARES = {
    "the variants themselves": "#009E73",
    "jobs, beside that": "#56B4E9",
    "starting scripts": "#E69F00",
    "Snakemake, per job": "#CC79A7",
    "Snakemake, until the first job": "#999999",
    "imports, once": "#F0E442",
    "idle, or taken by others": "#EEEEEE",
}


def nothing_to_do(folder: Path, repeats: int) -> dict[str, list[float]]:
    """Return the seconds of runs with nothing to do: the demo's, and an empty workflow's of its shape, in turn."""
    project = demo(folder / "demo")
    ran_well(snakemake(), project)
    jobs = jobs_of(ran_well(snakemake("--detailed-summary"), project).output)
    shape = empty(folder / "empty", jobs)
    command = snakemake("--profile", str(PROFILE))
    ran_well(command, shape)
    found: dict[str, list[float]] = {"jobs": [float(sum(map(len, jobs.values())))], "demo": [], "empty": []}
    for _ in range(repeats):
        found["empty"].append(ran_well(command, shape).seconds)
        found["demo"].append(ran_well(snakemake(), project).seconds)
    return found


def grid(folder: Path, python: str, repeats: int) -> dict[str, Any]:
    """Return the seconds of the demo's grid by the loop and by the workflow, in turn, and what the loop refused."""
    project = demo(folder / "demo")
    code = (
        "import json, yaml; from pathlib import Path; from requant.configuration import read_models\n"
        "models = read_models(yaml.safe_load(Path('config/config.yaml').read_text())).values()\n"
        "print(json.dumps({str(one.original): [str(scheme) for scheme in one.schemes] for one in models}))"
    )
    plan, loop = folder / "plan.json", folder / "loop"
    plan.write_text(ran_well([sys.executable, "-c", code], project).output.splitlines()[-1])
    ways: dict[str, Callable[[], Ran]] = {
        "loop": lambda: ran_well(
            [python, "-m", "benchmarks.coremltools_loop", str(plan), str(loop)], PYTHONPATH=str(REPOSITORY / "src")
        ),
        "variants": lambda: ran_well(snakemake("variants"), project),
        "variants, 1 core": lambda: ran_well(snakemake("--cores", "1", "variants"), project),
        "all": lambda: ran_well(snakemake(), project),
    }
    found: dict[str, Any] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            _emptied(loop)
            _emptied(project / "results", project / ".snakemake")
            done = way()
            found[name].append(done.seconds)
            if name == "loop":
                found["refused"] = json.loads(next(line for line in done.output.splitlines() if line.startswith("{")))
    found["count"] = sum(map(len, json.loads(plan.read_text()).values()))
    return found


def _emptied(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    folders[0].mkdir()


def many_variants(folder: Path, count: int, repeats: int) -> dict[str, Any]:
    """Return where the time of runs of many variants went, and what the variants take by themselves, in turn."""
    project = many(folder / "many", count)
    found: dict[str, Any] = {"count": count, "runs": [], "work": []}
    for _ in range(repeats):
        _emptied(project / "results", project / ".snakemake")
        found["runs"].append(vars(spent(snakemake(EVALUATED), project)))
        found["work"].append(work(project, many_schemes(count), cores()))
    return found


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))


def shares(run: Spent, work_cpu: float) -> dict[str, float]:
    """Return the parts of what the processors could have done in a run, in seconds."""
    used = run.starting + run.scheduling + run.scripts + run.warming + run.jobs
    idle, beside = cores() * run.wall - used, run.jobs - work_cpu
    parts = (work_cpu, beside, run.scripts, run.scheduling, run.starting, run.warming, idle)
    return dict(zip(SHARES, (max(0.0, part) for part in parts), strict=True))


def text_of(found: dict[str, Any], python: str) -> str:
    """Return the section of the page."""
    parts = [f"{machine(LIBRARIES, {'coremltools': python})} Medians of {REPEATS} runs and their ranges, or of fewer "
             "where a number in brackets says so; what is compared ran in turn."]  # fmt: skip
    if "nothing" in found:
        parts += ["### Nothing to do", nothing_table(found["nothing"])]
    if "grid" in found:
        parts += ["### The demo's grid", *grid_table(found["grid"])]
    if "many" in found:
        parts += [f"### {found['many']['count']:,} variants", *many_table(found["many"])]
    return "\n\n".join(parts)


def nothing_table(found: dict[str, list[float]]) -> str:
    """Return the table of the runs with nothing to do."""
    ratio = median(found["demo"]) / median(found["empty"])
    return table(
        ("`snakemake` with nothing to do", "jobs", "seconds", "ratio"),
        [
            ("an empty workflow", f"{found['jobs'][0]:.0f}", Middle.of(found["empty"]).shown(), "1.00"),
            ("the demo", f"{found['jobs'][0]:.0f}", Middle.of(found["demo"]).shown(), f"{ratio:.2f}"),
        ],
    )


def grid_table(found: dict[str, Any]) -> list[str]:
    """Return the table of the demo's grid, and what the loop does not make."""
    loop = median(found["loop"])
    names = {
        "loop": "a loop of coremltools, no evaluation",
        "variants": "`snakemake variants`",
        "variants, 1 core": "`snakemake --cores 1 variants`",
        "all": "`snakemake`: evaluation, sensitivity and report too",
    }
    rows = []
    for key, name in names.items():
        made = found["refused"]["made"] if key == "loop" else found["count"]
        rows.append((name, f"{made}", Middle.of(found[key]).shown("{:.1f}"), f"{loop / median(found[key]):.1f}x"))
    refused = ", ".join(f"`{name}`" for name in found["refused"]["refused"])
    return [
        table(("way", "variants", "seconds", "faster"), rows),
        f"What coremltools refuses is left out of the loop: {refused or 'nothing'}.",
    ]


def many_table(found: dict[str, Any]) -> list[str]:
    """Return the table of many variants: the overhead of one, and where the processors' time went."""
    count, runs = found["count"], [Spent(**run) for run in found["runs"]]
    wall, pure = Middle.of(run.wall for run in runs), Middle.of(one["seconds"] for one in found["work"])
    overhead = Middle.of(
        (run.wall - one["seconds"]) / count for run, one in zip(runs, found["work"], strict=True)
    )  # fmt: skip
    spread = middle_shares(found)
    total = sum(spread.values())
    return [
        table(
            ("quantize, predict, evaluate", "seconds", "a variant"),
            [
                ("the workflow", wall.shown("{:.1f}"), f"{wall.median / count:.3f}"),
                (f"the same functions in {cores()} processes", pure.shown("{:.1f}"), f"{pure.median / count:.3f}"),
                ("overhead", f"{wall.median - pure.median:.1f}", f"**{overhead.shown('{:.3f}')}**"),
            ],
        ),
        f"Where the time of {cores()} cores went:",
        "![Where the time goes](images/overhead.svg)",
        table(
            ("part", "processor seconds", "a variant, ms", "share"),
            [
                (name, f"{value:.1f}", f"{1e3 * value / count:.1f}", f"{value / total:.0%}")
                for name, value in spread.items()
            ],
        ),
    ]


def middle_shares(found: dict[str, Any]) -> dict[str, float]:
    """Return the medians of the parts."""
    each = [shares(Spent(**run), one["cpu"]) for run, one in zip(found["runs"], found["work"], strict=True)]
    return {name: median(one[name] for one in each) for name in SHARES}


def draw(found: dict[str, Any]) -> None:
    """Draw where the time of a variant goes, as one stacked bar."""
    with plot("overhead", 1, 8.0, 2.4) as (axes,):
        left = 0.0
        for name, seconds in middle_shares(found).items():
            width = 1e3 * seconds / found["count"]
            axes.barh([0], [width], left=left, color=SHARES[name], edgecolor="white", label=name)
            left += width
        axes.set_yticks([])
        axes.set_xlabel(f"processor milliseconds of {cores()} cores, a variant of {found['count']:,}")
        axes.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def main() -> None:
    """Measure all parts or some, and write the section of the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coremltools-python", default=sys.executable, help="the Python that runs the loop")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--variants", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--figures", type=Path, help="keep measured parts in this JSON file, and take others from it")
    options = parser.parse_args()
    kept = json.loads(options.figures.read_text()) if options.figures and options.figures.exists() else {}
    ways: dict[str, Callable[[Path], Any]] = {
        "nothing": lambda folder: nothing_to_do(folder, options.repeats),
        "grid": lambda folder: grid(folder, options.coremltools_python, options.repeats),
        "many": lambda folder: many_variants(folder, options.variants, options.repeats),
    }
    for part in options.parts:
        with tempfile.TemporaryDirectory() as folder:
            kept[part] = ways[part](Path(folder))
        print(f"{part}: {kept[part]}", file=sys.stderr, flush=True)
        if options.figures:
            options.figures.write_text(json.dumps(kept, indent=1))
    if "many" in kept:
        draw(kept["many"])
    write_section("overhead", "Overhead", text_of(kept, options.coremltools_python))


if __name__ == "__main__":
    main()
