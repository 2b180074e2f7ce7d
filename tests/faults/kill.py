"""Kill a workflow at random moments, let it go on, and hold what comes of it against an undisturbed run.

    python -m tests.faults.kill --kills 50 --seed 1 -- all packages

Each time, a project starts fresh or half done; `kill -9` hits all of the run, snakemake's process alone (its jobs go
on for a while), or the process of one job. Then `snakemake --rerun-incomplete` takes it to the end. It prints a table
and exits with status 1 if anything differs. The targets are those of the workflow.
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.workflow.project import Project

TARGETS = ("all", "packages")
HITS = ("all of the run", "snakemake alone", "one job")
STARTS = ("fresh", "half done")
FUNCTION = """
import numpy as np

def extremes(bits, weights):
    table = np.linspace(weights.min(), weights.max(), 1 << bits)
    return table, np.abs(weights[..., None] - table).argmin(-1)
"""
MODELS = {
    "tiny": {
        "original": "models_original/tiny.mlmodel",
        "data": "pictures",
        "custom_lut": "mine.py:extremes",
        "modes": {"linear": [8], "kmeans": [4], "custom_lut": [3]},
    },
    "digits": {"original": "models_original/digits.mlpackage", "modes": {"linear": [8], "kmeans": [3]}},
}


def make_project(folder: Path) -> Project:
    """Return a small project with a model of each kind, nothing made yet."""
    folder.mkdir(parents=True)
    project = Project(folder)
    project.add_network()
    project.add_program()
    (folder / "mine.py").write_text(FUNCTION)
    project.configure(**MODELS)
    return project


def finals_of(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of all files of a project by path, hidden ones too.

    Those of Snakemake, the logs, and the summary of the last run are not among them: they tell of times.
    """
    files = (path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder): path for path in files}
    return {
        name.as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in names.items()
        if not {".snakemake", "logs", "__pycache__", "run.json", "run.txt"} & set(name.parts) and name.suffix != ".log"
    }


def dates_of(folder: Path) -> dict[str, int]:
    """Return when the bytes of each original were written, in nanoseconds, by path."""
    originals = folder / "models_original"
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in originals.rglob("*") if path.is_file()}


@dataclass
class Outcome:
    """What became of one kill."""

    start: str
    hit: str
    seconds: float
    working: str = "none"
    jobs: int = 0
    wrong: list[str] = field(default_factory=list)

    def row(self, number: int) -> str:
        """Return it as a row of the table."""
        verdict = "; ".join(self.wrong) or "same bytes"
        made = f"{self.seconds:6.2f}  {self.working:18}  {self.jobs:4}"
        return f"{number:4}  {self.start:9}  {self.hit:15}  {made}  {verdict}"


HEADER = "kill  start      what was hit       after  at work             jobs  then\n" + 80 * "-"


@dataclass
class Reference:
    """An undisturbed run: its folder, what it made, and how many seconds it took."""

    project: Project
    targets: tuple[str, ...]
    finals: dict[str, str]
    seconds: float


def run_undisturbed(folder: Path, targets: tuple[str, ...]) -> Reference:
    """Return what a run gives that nobody kills."""
    project = make_project(folder)
    began = time.monotonic()
    run = project.snakemake("--", *targets)
    assert run.status == 0, run.text
    return Reference(project, targets, finals_of(folder), time.monotonic() - began)


def half_done(reference: Reference, folder: Path, chance: random.Random) -> Project:
    """Return a copy of the undisturbed run, with all dates, as it was at a random moment: what came later is gone."""
    shutil.copytree(reference.project.folder, folder, copy_function=shutil.copy2, symlinks=True)
    packages = list((folder / "results").rglob("*.mlpackage"))
    files = [
        path for path in (folder / "results").rglob("*") if path.is_file() and not set(packages) & set(path.parents)
    ]
    made = {path: path.stat().st_mtime for path in files if "logs" not in path.parts}
    # A package is there when all of it is; its date is that of the whole.
    made |= {path: max(file.stat().st_mtime for file in path.rglob("*")) for path in packages}
    moment = chance.uniform(min(made.values()), max(made.values()))
    for path, when in made.items():
        if when > moment:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    project = Project.__new__(Project)
    project.folder = folder
    return project


def jobs_at_work(process: psutil.Process) -> list[psutil.Process]:
    """Return the processes of a run's jobs: those that no other of the run descends from."""
    try:
        below = process.children(recursive=True)
        return [each for each in below if not each.children()]
    except psutil.NoSuchProcess:
        return []


def rule_of(process: psutil.Process) -> str:
    """Return the script that a job's process runs."""
    try:
        names = [Path(part).name for part in process.cmdline() if part.endswith(".py")]
    except psutil.Error:
        names = []
    return names[0].partition(".")[2].removesuffix(".py") if names else "another"


def kill_once(project: Project, targets: tuple[str, ...], outcome: Outcome, chance: random.Random) -> int:
    """Start a run, kill it or one of its jobs at the moment that was drawn, and return its group of processes."""
    process = subprocess.Popen(
        project.command("--", *targets), cwd=project.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True, env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    deadline = time.monotonic() + outcome.seconds
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    if process.poll() is not None:
        outcome.hit, outcome.working = "nothing", "over before"
        return process.pid
    at_work = jobs_at_work(psutil.Process(process.pid))
    while outcome.hit == "one job" and not at_work and process.poll() is None:  # between two jobs: the next one
        time.sleep(0.005)
        at_work = jobs_at_work(psutil.Process(process.pid))
    outcome.working = ", ".join(sorted({rule_of(job) for job in at_work})) or "none"
    if outcome.hit == "all of the run":
        os.killpg(process.pid, signal.SIGKILL)
    elif outcome.hit == "snakemake alone":
        process.kill()
    elif at_work:
        job = chance.choice(at_work)
        outcome.working = rule_of(job)
        try:
            job.kill()
        except psutil.NoSuchProcess:
            outcome.working = "over before"
    process.wait()
    return process.pid


def wait_for_group(group: int) -> None:
    """Wait until all processes of a group have ended."""
    while True:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)


def finish_and_compare(
    project: Project, reference: Reference, outcome: Outcome, dates: dict[str, int], group: int
) -> None:
    """Take a killed run to its end and write down what is not as the undisturbed run has it."""
    run = project.snakemake("--rerun-incomplete", "--", *reference.targets)
    outcome.jobs = sum(run.jobs.values())
    wait_for_group(group)
    if run.status != 0:
        outcome.wrong.append(f"the run ended with status {run.status}: {run.text[-2000:]}")
    finals = finals_of(project.folder)
    for name in sorted(finals.keys() | reference.finals.keys()):
        if finals.get(name) != reference.finals.get(name):
            kind = "left over" if name not in reference.finals else "missing" if name not in finals else "other bytes"
            outcome.wrong.append(f"{kind}: {name}")
    if dates_of(project.folder) != dates:
        outcome.wrong.append("an original has another date")
    if project.snakemake("-n", "--", *reference.targets).jobs:
        outcome.wrong.append("there is something to do still")


def kill(reference: Reference, folder: Path, chance: random.Random, limit: float) -> Outcome:
    """Kill one run, finish it, and return what became of it; its folder is removed unless something is wrong.

    A run that was over before it was hit is run again and hit in half the time.

    Args:
        reference: the undisturbed run.
        folder: for the project.
        chance: what is drawn from.
        limit: seconds within which a run that starts fresh is hit; for one that is half done, half of them.
    """
    start, hit = chance.choice(STARTS), chance.choice(HITS)
    outcome = Outcome(start, hit, chance.uniform(0, limit * (1 if start == "fresh" else 0.5)))
    project = make_project(folder) if start == "fresh" else half_done(reference, folder, chance)
    dates = dates_of(folder)
    group = kill_once(project, reference.targets, outcome, chance)
    finish_and_compare(project, reference, outcome, dates, group)
    if not outcome.wrong:
        shutil.rmtree(folder)
    return outcome if outcome.hit != "nothing" or outcome.wrong else kill(reference, folder, chance, limit / 2)


def kill_often(folder: Path, kills: int, seed: int, targets: tuple[str, ...] = TARGETS) -> list[Outcome]:
    """Kill so many runs and return what became of each; a row is printed after each."""
    reference = run_undisturbed(folder / "undisturbed", targets)
    print(f"undisturbed: {len(reference.finals)} files in {reference.seconds:.0f} s\n{HEADER}", flush=True)
    outcomes = []
    for number in range(1, kills + 1):
        outcomes.append(kill(reference, folder / str(number), random.Random(f"{seed} {number}"), reference.seconds))
        print(outcomes[-1].row(number), flush=True)
    return outcomes


def main() -> int:
    """Kill runs as the command line says; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("targets", nargs="*", default=TARGETS)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="requant_faults_"))
    outcomes = kill_often(folder, options.kills, options.seed, tuple(options.targets))
    hits = Counter(outcome.hit for outcome in outcomes)
    wrong = [outcome for outcome in outcomes if outcome.wrong]
    print(f"\n{len(outcomes)} kills ({', '.join(f'{count} {hit}' for hit, count in sorted(hits.items()))}): ", end="")
    print(f"{len(wrong)} went wrong, see {folder}" if wrong else "each ended with the bytes of the undisturbed run")
    if not wrong:
        shutil.rmtree(folder)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
