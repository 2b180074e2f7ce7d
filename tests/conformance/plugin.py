"""The pytest plugin that lets the tests inside the coremltools wheel predict through `requant.runtime`.

It is loaded with `-p tests.conformance.plugin`, before anything imports coremltools.
"""

from __future__ import annotations

import functools
import gc
import random
import shutil
import signal
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.conformance import native

native.install()

import numpy as np  # noqa: E402 - coremltools must see the stand-in first

from tests.conformance import record as records  # noqa: E402
from tests.conformance.sample import of_precision, of_shard, sampled  # noqa: E402

SEED = 1984


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    group = parser.getgroup("conformance")
    group.addoption("--per-function", type=int, default=0, metavar="N", help="at most N tests of each test function")
    group.addoption("--shard", default="1/1", metavar="I/N", help="the I-th of N shares of the tests")
    group.addoption("--precision", choices=("fp16", "fp32"), help="leave out tests of the other precision")
    group.addoption("--compute-precision", choices=("float32", "float16"), default="float32", help="of requant.runtime")
    group.addoption("--records", metavar="FILE", help="append one JSON record per test to this file")
    group.addoption("--go-on", action="store_true", help="leave out the tests that are in the file of records")
    group.addoption("--time-limit", type=int, default=300, metavar="SECONDS", help="for one test")


def pytest_configure(config: pytest.Config) -> None:
    """Start the bookkeeping."""
    native.OPTIONS["compute_precision"] = config.getoption("compute_precision")
    measure_comparisons()
    sys.unraisablehook = ignore_removed_files
    for name in ("torch", "torchvision"):
        if find_spec(name) is None:
            sys.modules[name] = Missing(name)
    folder = Path(tempfile.mkdtemp(prefix="requant-conformance-"))
    config.option.basetemp = str(folder / "pytest")
    config.pluginmanager.register(Conformance(config, folder), "conformance")


def seed(text: str) -> None:
    """Make everything random depend on a text."""
    number = SEED + zlib.crc32(text.encode())
    random.seed(number)
    np.random.seed(number % 2**32)
    if "torch" in sys.modules and not isinstance(sys.modules["torch"], Missing):
        sys.modules["torch"].manual_seed(number)


class Missing(ModuleType):
    """Stands in for a package that is not installed, so that only the tests that use it are skipped.

    Some modules import torch or torchvision for a few of their tests.
    """

    def __getattr__(self, name: str) -> Any:
        """Skip the test, or the module that is being imported."""
        if name.startswith("__"):
            raise AttributeError(name)
        pytest.skip(f"{self.__name__} is not installed", allow_module_level=True)


def measure_comparisons() -> None:
    """Have numpy's comparison of arrays, which Apple's tests use, leave on record how far apart they are."""
    compare = np.testing.assert_allclose

    @functools.wraps(compare)
    def measured(actual: Any, desired: Any, *more: Any, **options: Any) -> None:
        try:
            compare(actual, desired, *more, **options)
        except AssertionError:
            native.LEDGER.roundings = records.roundings_apart(actual, desired)
            raise

    np.testing.assert_allclose = measured


def ignore_removed_files(event: Any) -> None:
    """Say nothing of temporary files that are gone when coremltools' objects would remove them."""
    if not isinstance(event.exc_value, FileNotFoundError):
        sys.__unraisablehook__(event)


class Conformance:
    """Chooses the tests, keeps the disk clean, and writes the records."""

    def __init__(self, config: pytest.Config, folder: Path) -> None:
        self.config = config
        self.folder = folder
        self.file = Path(config.getoption("records")).resolve() if config.getoption("records") else None
        self.current: records.Record | None = None
        self.counts: Counter[str] = Counter()
        self.predictions = 0

    def _use(self, name: str) -> Path:
        place = self.folder / name
        place.mkdir(parents=True, exist_ok=True)
        tempfile.tempdir = str(place)
        return place

    @pytest.hookimpl(wrapper=True)
    def pytest_pycollect_makemodule(self, module_path: Path, parent: Any) -> Generator[None, Any, Any]:
        """Import a module of tests, whose parameters may be random, with a fixed seed."""
        seed(module_path.name)
        return (yield)

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave only the tests that were asked for."""
        chosen = of_precision(items, config.getoption("precision"))
        chosen = sampled(chosen, config.getoption("per_function"))
        chosen = of_shard(chosen, config.getoption("shard"))
        if config.getoption("go_on") and self.file:
            known = {record.node for record in records.read(self.file)}
            chosen = [item for item in chosen if item.nodeid not in known]
        if self.file:
            self.file.with_suffix(".size").write_text(f"{len(items)}")
        left = {id(item) for item in chosen}
        config.hook.pytest_deselected(items=[item for item in items if id(item) not in left])
        items[:] = chosen

    def pytest_collection_finish(self) -> None:
        """Spare the imported modules the garbage collection that coremltools asks for in every conversion."""
        gc.collect()
        gc.freeze()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Give the test a seed and a folder for temporary files of its own, and write its record."""
        native.LEDGER.clear()
        self.current = records.Record(item.nodeid)
        if self.file:
            self.file.with_suffix(".running").write_text(item.nodeid)
        seed(item.nodeid)
        place, start = self._use("test"), time.monotonic()
        try:
            return (yield)
        finally:
            self.current.seconds = round(time.monotonic() - start, 3)
            self._finish(self.current)
            native.LEDGER.clear()
            shutil.rmtree(place, ignore_errors=True)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Generator[None, Any, Any]:
        """Give what outlives the test a folder that outlives it too."""
        if fixturedef.scope == "function":
            return (yield)
        self._use("shared")
        try:
            return (yield)
        finally:
            self._use("test")

    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """Remove what a module's tests shared."""
        if nextitem is None or nextitem.path != item.path:
            shutil.rmtree(self.folder / "shared", ignore_errors=True)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Stop a test that takes too long."""
        limit = item.config.getoption("time_limit")

        def stop(*_: Any) -> None:
            raise records.TestTakesTooLongError(f"stopped after {limit} seconds")

        before = signal.signal(signal.SIGALRM, stop)
        signal.alarm(limit)
        try:
            return (yield)
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
        """Note the outcome of one phase of a test."""
        report = yield
        record = self.current
        if record is None or record.node != item.nodeid or record.outcome == "failed":
            return report
        if report.failed and call.excinfo is not None:
            records.fail(record, call.excinfo.value, native.LEDGER)
        elif report.failed:
            record.outcome, record.kind, record.message = "failed", "elsewhere", records.one_line(str(report.longrepr))
        elif report.skipped:
            record.outcome = "expected-failure" if hasattr(report, "wasxfail") else "skipped"
            record.message = records.one_line(str(call.excinfo.value if call.excinfo else report.longrepr))
        return report

    def pytest_collectreport(self, report: Any) -> None:
        """Note a module that can't be imported."""
        if report.failed and self.file:
            text = str(report.longrepr).strip().splitlines()[-1]
            failed = records.Record(report.nodeid, "failed", "elsewhere", message=records.one_line(text))
            records.write(failed, self.file)

    def _finish(self, record: records.Record) -> None:
        record.predictions, record.errors = native.LEDGER.predictions, len(native.LEDGER.errors)
        record.float16 = any(native.computes_in_float16(proxy) for proxy in native.LEDGER.proxies)
        self.predictions += record.predictions
        self.counts[record.category] += 1
        if record.kind:
            self.counts[f"failed: {record.kind}"] += 1
        if self.file:
            records.write(record, self.file)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the counts."""
        terminalreporter.section("conformance")
        terminalreporter.write_line(f"{self.predictions} predictions by requant.runtime")
        for name, count in sorted(self.counts.items()):
            terminalreporter.write_line(f"{count:6} {name}")

    def pytest_unconfigure(self) -> None:
        """Remove all temporary files."""
        tempfile.tempdir = None
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.file:
            self.file.with_suffix(".running").unlink(missing_ok=True)
