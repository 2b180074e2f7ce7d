"""Runs suites of Apple's tests in processes of their own, and writes what came of them to `docs/runtime.md`.

python -m tests.conformance.run                      every suite, in half an hour on two cores
python -m tests.conformance.run mil-fp32 --per-function 2
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

from tests.conformance import expectations, record, table
from tests.conformance.suites import SUITES, WHOLE, Suite, package_folder

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "runtime.md"
BEGIN, END = "<!-- measured: written by make conformance -->\n", "<!-- end of what is measured -->\n"
ENDED = (0, 1, 5)  # pytest's exit statuses: passed, some failed, nothing collected


def command(suite: Suite, records: Path, shard: str, per_function: int) -> list[str]:
    """Return the command that runs one share of a suite; records that are there are gone on from."""
    return [
        sys.executable, "-m", "pytest", "-p", "tests.conformance.plugin",
        "-c", str(Path(__file__).with_name("pytest.ini")), "--rootdir", str(package_folder()),
        "--tb=no", "--no-header", f"--records={records}", "--go-on", f"--shard={shard}",
        f"--per-function={per_function}", *suite.options, *suite.paths,
    ]  # fmt: skip


def run_share(suite: Suite, records: Path, shard: str, per_function: int) -> None:
    """Run one share of a suite; a test that ends the process is recorded, and the others are gone on with.

    Raises:
        RuntimeError: if pytest could not be run at all.
    """
    sources = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
    environment = os.environ | suite.environment | {"PYTHONPATH": sources}
    running, log = records.with_suffix(".running"), records.with_suffix(".log")
    while True:
        with log.open("w") as file, tempfile.TemporaryDirectory(prefix="requant-conformance-") as folder:
            status = subprocess.run(
                command(suite, records, shard, per_function), cwd=package_folder(),
                env=environment | {"TMPDIR": folder},
                stdout=file, stderr=subprocess.STDOUT, check=False,
            ).returncode  # fmt: skip
        if status in ENDED:
            return
        if not running.exists():
            raise RuntimeError(f"pytest ended with {status}, see {log}")
        crashed = record.Record(running.read_text(), "failed", "crash", message=f"the process ended with {status}")
        record.write(crashed, records)
        running.unlink()


def run(name: str, folder: Path, per_function: int | None = None, processes: int = 2) -> table.Outcome:
    """Run a suite.

    Args:
        name: one of `SUITES`.
        folder: for the records; those that are there are gone on from.
        per_function: how many tests of each test function; as the suite says if None.
        processes: how many share the work.
    """
    suite = SUITES[name]
    number = suite.per_function if per_function is None else per_function
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder.resolve() / f"{name}.{index}of{processes}.jsonl" for index in range(1, processes + 1)]
    with ThreadPoolExecutor(processes) as pool:
        shards = [f"{index}/{processes}" for index in range(1, processes + 1)]
        for share in [pool.submit(run_share, suite, *pair, number) for pair in zip(files, shards, strict=True)]:
            share.result()
    return outcome(name, files)


def outcome(name: str, files: list[Path]) -> table.Outcome:
    """Read what the shares of a suite recorded."""
    sizes = [int(size.read_text()) for file in files if (size := file.with_suffix(".size")).exists()]
    found = {one.node: one for file in files for one in record.read(file)}
    return table.Outcome(name, SUITES[name].title, max(sizes, default=0), list(found.values()))


def write(outcomes: list[table.Outcome], document: Path = DOCUMENT) -> None:
    """Replace the measured part of the document."""
    text = document.read_text()
    head, tail = text.partition(BEGIN)[0], text.partition(END)[2]
    document.write_text(f"{head}{BEGIN}\n{table.markdown(outcomes, expectations.load())}\n{END}{tail}")


def main() -> int:
    """Run the suites that are named, and return 1 if a failure has no known reason."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.run", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "suites", nargs="*", metavar="suite", help=f"of {', '.join(SUITES)}; all but the samples if none"
    )
    parser.add_argument(
        "--per-function", type=int, help="tests of each test function, 0 for all; else as the suite says"
    )
    parser.add_argument("--processes", type=int, default=2, help="that share the work (2)")
    parser.add_argument("--records", type=Path, default=ROOT / ".conformance", help="folder of records (.conformance)")
    parser.add_argument("--write", action="store_true", help="write docs/runtime.md; takes all suites")
    arguments = parser.parse_args()
    names = arguments.suites or list(WHOLE)
    if unknown := [name for name in names if name not in SUITES]:
        parser.error(f"there is no suite {unknown[0]}; there are {', '.join(SUITES)}")
    if find_spec("torch") is None and (needy := [name for name in names if SUITES[name].needs_torch]):
        parser.error(f"{', '.join(needy)} need torch: {sys.executable} -m pip install torch, or name other suites")
    outcomes = []
    for name in names:
        outcomes.append(run(name, arguments.records, arguments.per_function, arguments.processes))
        print(table.summary(outcomes[-1:], expectations.load()).splitlines()[-1], flush=True)
    if arguments.write:
        write(outcomes)
    left = [one for found in outcomes for one in table.unexplained(found, expectations.load())]
    for one in left:
        print(f"unexplained: {one.short_name[:200]}: {one.kind}: {one.message[:200]}")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
