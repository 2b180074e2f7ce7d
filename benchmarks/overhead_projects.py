"""The folders in which `benchmarks/overhead.py` runs Snakemake: the demo, many variants, an empty workflow of a shape.

An empty workflow has the same rules, jobs, files and edges as a real one and nothing else: what Snakemake itself takes.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from benchmarks.performance_page import REPOSITORY

PROFILE = REPOSITORY / "profiles/default"
SAMPLES = 16  # of the evaluation data, in a run of many variants
PARTS = ("Snakefile", "workflow", "scripts", "config", "models_original", "profiles")


def snakemake(*arguments: str) -> list[str]:
    """Return the command that runs Snakemake as users do."""
    return [sys.executable, "-m", "snakemake", *arguments]


def demo(folder: Path) -> Path:
    """Copy what the demo is made of into a folder that is to be made."""
    for part in PARTS:
        source = REPOSITORY / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / part)
    return folder


def many_schemes(count: int) -> list[str]:
    """Return the first of 1,188 schemes that an ML Program can store, cheap and dear ones mixed.

    Raises:
        ValueError: if so many are not known.
    """
    known = (
        f"prune_{percent}_{mode}_{bits}"
        for percent in range(1, 100)
        for mode in ("kmeans", "linear_lut")
        for bits in (8, 6, 4, 3, 2, 1)
    )
    found = list(islice(known, count))
    if len(found) < count:
        raise ValueError(f"{len(found)} schemes are known, not {count}.")
    return found


def many(folder: Path, count: int) -> Path:
    """Make a project of many variants of the digits' ML Program (155,000 weights) on little data."""
    demo(folder)
    entry = {
        "original": "models_original/digits.mlpackage",
        "data": {"path": "config/data/digits.npz", "samples": SAMPLES},
        "schemes": many_schemes(count),
        "targets": {"max_accuracy_drop": 0.005},
    }
    (folder / "config/config.yaml").write_text(json.dumps({"models": {"digits": entry}}))
    return folder


@dataclass
class Job:
    """A job by its files."""

    outputs: list[str] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)


def jobs_of(summary: str) -> dict[str, list[Job]]:
    """Return the jobs by rule, as what `snakemake --detailed-summary` says tells them; each has a log of its own."""
    lines = summary.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("output_file\t"))
    jobs: dict[str, dict[str, Job]] = {}
    for line in lines[start + 1 :]:
        output, _, rule, log, inputs, *_ = line.split("\t")
        job = jobs.setdefault(rule, {}).setdefault(log, Job())
        job.outputs.append(output)
        job.inputs = inputs.split(",")
    return {rule: list(found.values()) for rule, found in jobs.items()}


def empty(folder: Path, jobs: dict[str, list[Job]]) -> Path:
    """Make a workflow of the same rules, jobs, files and edges, in which each job touches its outputs."""
    names = {
        output: f"{rule}/{number}.{index}"
        for rule, found in jobs.items()
        for number, job in enumerate(found)
        for index, output in enumerate(job.outputs)
    }
    inputs = {rule: [[names.get(path, f"source/{path}") for path in job.inputs] for job in found]
              for rule, found in jobs.items()}  # fmt: skip
    used = {path for found in inputs.values() for paths in found for path in paths}
    for path in (folder / name for name in used if name.startswith("source/")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    last = sorted(set(names.values()) - used)
    (folder / "jobs.json").write_text(json.dumps({"last": last, "inputs": inputs}))
    rules = [_empty_rule(rule, max(len(job.outputs) for job in found)) for rule, found in jobs.items()]
    (folder / "Snakefile").write_text(_EMPTY_HEAD + "".join(rules))
    return folder


_EMPTY_HEAD = """\
import json

with open("jobs.json") as file:
    JOBS = json.load(file)


wildcard_constraints:
    job=r"\\d+",


rule all:
    input:
        JOBS["last"],
"""


def _empty_rule(name: str, outputs: int) -> str:
    paths = "\n".join(f'        "{name}/{{job}}.{index}",' for index in range(outputs))
    return f"""

rule {name}:
    input:
        lambda wildcards: JOBS["inputs"]["{name}"][int(wildcards.job)],
    output:
{paths}
    log:
        "logs/{name}/{{job}}.log",
    shell:
        "touch {{output}}"
"""
