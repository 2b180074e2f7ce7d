"""What all benchmarks share: repeated measurements of a command, the machine by name, a section of docs/performance.md.

A benchmark writes its own section and nothing else: the lines between `<!-- begin: benchmarks/NAME.py -->` and the end
mark of the same name. What is written around them by hand stays. Figures compared with one another are taken in one
run; a figure is the median of at least `REPEATS` measurements, or says of how many it is.

This module imports nothing heavy, because Linux counts the memory of the process that starts another one in the peak
of that one.
"""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

REPOSITORY = Path(__file__).parents[1]
PAGE, IMAGES = REPOSITORY / "docs/performance.md", REPOSITORY / "docs/images"
REPEATS = 5
ENOUGH = 100.0  # seconds that the measurements of one cell may take before fewer than REPEATS do
T = TypeVar("T")
LIBRARIES = ("requant", "snakemake", "coremltools", "numpy", "onnxruntime", "protobuf")


@dataclass(frozen=True)
class Ran:
    """One run of a command.

    Attributes:
        seconds: wall time from start to end.
        cpu: processor time of the command and those that it waited for, in seconds.
        peak_mb: of the largest process among the command's and those that it waited for, in MB (10^6 bytes).
        status: how it ended; 0 is well.
        output: standard output and error.
    """

    seconds: float
    cpu: float
    peak_mb: float
    status: int
    output: str


@dataclass(frozen=True)
class Middle:
    """The median of some measurements, and between which values they lay."""

    median: float
    least: float
    most: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Middle:
        """Return the median of values.

        Raises:
            statistics.StatisticsError: if there are none.
        """
        known = list(values)
        return cls(statistics.median(known), min(known, default=0.0), max(known, default=0.0), len(known))

    def shown(self, form: str = "{:.2f}", spread: bool = True) -> str:
        """Return the median, the range, and the number of measurements where it is less than `REPEATS`."""
        text = form.format(self.median)
        if spread and self.count > 1:
            text += f" ({form.format(self.least)} to {form.format(self.most)})"
        return text if self.count >= REPEATS else f"{text} [{self.count}]"


def ran(command: Sequence[str], folder: Path = REPOSITORY, timeout: float | None = None, **environment: str) -> Ran:
    """Run a command and measure it.

    Args:
        command: the program and its arguments.
        folder: in which it runs.
        timeout: in seconds.
        environment: variables beside those of this process.

    Raises:
        subprocess.TimeoutExpired: if it takes longer; it is ended then.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
        )  # fmt: skip
        while True:
            done, status, usage = os.wait4(process.pid, 0 if timeout is None else os.WNOHANG)
            seconds = time.perf_counter() - start
            if done:
                break
            if timeout is not None and seconds > timeout:
                process.kill()
                process.wait()
                raise subprocess.TimeoutExpired(list(command), timeout)
            time.sleep(0.002)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        cpu = usage.ru_utime + usage.ru_stime
        return Ran(seconds, cpu, _mb(usage.ru_maxrss), process.returncode, output.read())


def ran_well(command: Sequence[str], folder: Path = REPOSITORY, **environment: str) -> Ran:
    """Run a command that has to succeed and measure it.

    Raises:
        RuntimeError: with the command and the end of what it said, if it fails.
    """
    done = ran(command, folder, **environment)
    if done.status:
        raise RuntimeError(f"{' '.join(command)} ended with status {done.status}:\n{done.output[-4000:]}")
    return done


def repeated(measure: Callable[[], T], seconds: Callable[[T], float], repeats: int = REPEATS) -> list[T]:
    """Return some measurements of the same; fewer if they take more than `ENOUGH` seconds in all, but one at least.

    Args:
        measure: takes one.
        seconds: what one took.
        repeats: how many.
    """
    taken: list[T] = []
    while len(taken) < repeats and sum(map(seconds, taken)) < ENOUGH:
        taken.append(measure())
    return taken


def peak_mb() -> float:
    """Return the peak memory of this process in MB; on Linux without that of the process which started it."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    return _mb(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _mb(maxrss: int) -> float:
    """Return a peak of `getrusage`, which is in bytes on macOS and in kB elsewhere, in MB."""
    return maxrss / 1e6 if sys.platform == "darwin" else maxrss * 1024 / 1e6


def machine(libraries: Sequence[str] = LIBRARIES, others: Mapping[str, str] | None = None) -> str:
    """Return sentences that name the machine, and Python and the libraries that ran.

    Args:
        libraries: distributions to be named, as far as they are installed.
        others: Pythons of other environments, by what ran in them.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    sentences = [
        f"{_processor()}, {cores} cores, {memory:.0f} GB, {platform.system()}; Python {platform.python_version()}, "
        f"{_versions(libraries)}."
    ]
    for name, python in (others or {}).items():
        code = f"from benchmarks.performance_page import _versions; print(_versions({tuple(libraries)!r}))"
        sentences.append(f"{name} with {ran_well([python, '-c', code]).output.strip()}.")
    return " ".join(sentences)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    found = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return next(found, platform.processor() or platform.machine())


def _versions(libraries: Iterable[str]) -> str:
    found = []
    for name in libraries:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def with_section(page: str, name: str, title: str, text: str) -> str:
    """Return a page with the section of one benchmark replaced, or added at the end with its title.

    Args:
        page: in Markdown.
        name: of the benchmark's module.
        title: of a section that is new.
        text: what stands between the marks.
    """
    begin, end = (f"<!-- {edge}: benchmarks/{name}.py -->" for edge in ("begin", "end"))
    if begin not in page:
        page = f"{page.rstrip()}\n\n## {title}\n\n{begin}\n{end}\n"
    before, rest = page.split(begin)
    return f"{before}{begin}\n{text.strip()}\n\n{end}{rest.split(end)[1]}"


def write_section(name: str, title: str, text: str) -> None:
    """Replace the section of one benchmark in docs/performance.md."""
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else "# Performance\n"
    PAGE.write_text(with_section(page, name, title, text), encoding="utf-8")


@contextmanager
def plot(name: str, panels: int = 1, width: float = 4.2, height: float = 4.6) -> Iterator[list[Any]]:
    """Give the axes of a plot to draw in; it becomes docs/images/NAME.svg, the same bytes from the same figures."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    with mpl.rc_context({"svg.hashsalt": "requant", "svg.fonttype": "path", "font.size": 9}):
        figure, axes = plt.subplots(1, panels, figsize=(width * panels, height), layout="constrained", squeeze=False)
        yield list(axes[0])
        for one in axes[0]:
            one.spines[["top", "right"]].set_visible(False)
        figure.savefig(IMAGES / f"{name}.svg", format="svg", metadata={"Date": None})
        plt.close(figure)
