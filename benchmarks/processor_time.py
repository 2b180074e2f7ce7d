"""Where the processor time of a local run of the workflow goes, as Linux counts it for each process (proc(5)).

Nothing is measured inside the processes. Snakemake's own process and the warm process (`requant.warm`) are looked at
while they run: what they took, and what those took that they waited for. The first one's children are the scripts,
which only hand their work over; the second one's are the jobs.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

INTERVAL = 0.05  # seconds; what a process takes after it was looked at for the last time is missed


@dataclass(frozen=True)
class Spent:
    """One run; all in seconds, of the processor where nothing else is said.

    Attributes:
        wall: from start to end, of the clock.
        starting: Snakemake until its first job: its start, reading the workflow, planning the jobs.
        scheduling: Snakemake from there on: choosing and starting jobs, and keeping their records.
        scripts: starting the processes of the jobs.
        warming: imports of the warm process, which the jobs share, and forking.
        jobs: the jobs in the processes forked from it.
        start_wall: until the first job, of the clock.
    """

    wall: float
    starting: float
    scheduling: float
    scripts: float
    warming: float
    jobs: float
    start_wall: float


def spent(command: Sequence[str], folder: Path) -> Spent:
    """Run a command of Snakemake that has to succeed, and return where the time went.

    Raises:
        RuntimeError: with the end of what it said, if it fails.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        start = time.perf_counter()
        main = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        own = scripts = warm = jobs = starting = start_wall = 0.0
        warm_process: int | None = None
        while main.poll() is None:
            time.sleep(INTERVAL)
            own, scripts = _times(main.pid) or (own, scripts)
            if warm_process is None:
                warm_process = _warm(main.pid)
                starting, start_wall = own, time.perf_counter() - start
            else:
                warm, jobs = _times(warm_process) or (warm, jobs)
        wall = time.perf_counter() - start
        output.seek(0)
        if main.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with status {main.returncode}:\n{output.read()[-4000:]}")
    return Spent(wall, starting, own - starting, scripts, warm, jobs, start_wall)


def _times(process: int) -> tuple[float, float] | None:
    """Return the seconds of a process, and those of the children that it waited for; nothing if it is gone."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if fields[0] == "Z":
        return None
    user, system, children_user, children_system = (int(one) / os.sysconf("SC_CLK_TCK") for one in fields[11:15])
    return user + system, children_user + children_system


def _warm(main: int) -> int | None:
    """Return the warm process that a run has started, if it has."""
    try:
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        for child in children:
            if b"requant.warm" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                return int(child)
    except (FileNotFoundError, ProcessLookupError):
        pass
    return None
