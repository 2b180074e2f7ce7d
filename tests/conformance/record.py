"""One record per test: what became of it, how many predictions it made, and what kind of failure it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from requant.errors import RequantError
from tests.conformance.native import Ledger, NeedsAppleError, computes_in_float16, operation_types

MESSAGE_LENGTH = 400
_NAMED = (
    re.compile(r"\b(?:operation|layer) '[^']*' (?:is )?of type (\w+)"),
    re.compile(r"\bof type (\w+)"),
    re.compile(r"\b(?:operation|layer) '[^']*' \((\w+)\)"),
    re.compile(r"\b(?:operation|layer) (\w+)"),
)


class TestTakesTooLongError(BaseException):
    """A test was stopped at its time limit; not an `Exception`, so that no test swallows it."""

    __test__ = False


@dataclass
class Record:
    """What became of one test.

    Attributes:
        node: pytest's identifier of the test.
        outcome: passed, failed, skipped or expected-failure (pytest's xfail).
        kind: of a failure. `refused`: a RequantError; `defect`: another exception out of requant; `values`: an
            assertion after a prediction; `afterwards`: another error after a prediction; `apple`: needs Apple's
            compiler or framework; `elsewhere`: an error before any prediction, as in coremltools' conversion; `time`:
            stopped at the time limit; `crash`: the process ended.
        predictions: how many predictions were made.
        errors: how many exceptions requant raised, swallowed by the test or not.
        named: the operation or layer that the message names.
        operations: the types of the operations or layers of the model that was last asked for a prediction; kept for
            failures only.
        message: the failure or the reason for skipping, on one line.
        roundings: of a failed comparison of a model that computes in float16: the largest difference, divided by that
            which rounding the largest expected value to float16 makes at most.
        float16: whether the model that was last asked for a prediction computes in float16.
        seconds: how long the test took.
    """

    node: str
    outcome: str = "passed"
    kind: str = ""
    predictions: int = 0
    errors: int = 0
    named: str = ""
    operations: list[str] = field(default_factory=list)
    message: str = ""
    roundings: float | None = None
    float16: bool = False
    seconds: float = 0.0

    @property
    def function(self) -> str:
        """The test function, without its parameters."""
        return self.node.partition("[")[0]

    @property
    def short_name(self) -> str:
        """The test without the folders that its file is in."""
        return self.function.rpartition("/")[2] + self.node[len(self.function) :]

    @property
    def category(self) -> str:
        """The outcome, with passed tests told apart by whether they predicted."""
        if self.outcome == "passed":
            return "passed-with-prediction" if self.predictions else "passed-without-prediction"
        return self.outcome


def one_line(text: str) -> str:
    """Return a text on one line, cut to a readable length."""
    line = " ".join(text.split())
    return line if len(line) <= MESSAGE_LENGTH else f"{line[:MESSAGE_LENGTH]}…"


def roundings_apart(actual: Any, desired: Any) -> float | None:
    """Return the largest difference of two arrays in units of what rounding the largest value to float16 can make.

    Returns:
        None where that is no number: of other shapes, of other values than numbers, or not finite.
    """
    try:
        first, second = np.asarray(actual, np.float64), np.asarray(desired, np.float64)
    except (TypeError, ValueError):
        return None
    if first.shape != second.shape or not first.size or not np.isfinite([first, second]).all():
        return None
    unit = float(np.abs(second).max()) * 2.0**-11
    return round(float(np.abs(first - second).max()) / unit, 3) if unit else None


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those that led to it."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        link = waiting.pop(0)
        if link is None or any(link is other for other in seen):
            continue
        seen.append(link)
        yield link
        waiting += [link.__cause__, link.__context__]


def kind_of_failure(error: BaseException, ledger: Ledger) -> tuple[str, BaseException]:
    """Return the kind of a failure, see `Record`, and the exception that tells why."""
    for link in chain(error):
        if isinstance(link, TestTakesTooLongError):
            return "time", link
        if isinstance(link, NeedsAppleError):
            return "apple", link
        if isinstance(link, RequantError):
            return "refused", link
        if any(link is other for other in ledger.errors) and not isinstance(link.__cause__, RequantError):
            return "defect", link
    if not ledger.predictions:
        return "elsewhere", error
    return ("values" if isinstance(error, AssertionError) else "afterwards"), error


def named_in(message: str) -> str:
    """Return the type of operation or layer that a message of requant names, or nothing."""
    found = next((match for pattern in _NAMED if (match := pattern.search(message))), None)
    return found.group(1) if found else ""


def fail(record: Record, error: BaseException, ledger: Ledger) -> None:
    """Note a failure in a record."""
    record.outcome = "failed"
    record.kind, cause = kind_of_failure(error, ledger)
    record.message = one_line(f"{type(cause).__name__}: {cause}")
    record.named = named_in(str(cause)) if record.kind in ("refused", "defect") else ""
    if ledger.proxies:
        record.operations = operation_types(ledger.proxies[-1])
        if record.kind == "values" and computes_in_float16(ledger.proxies[-1]):
            record.roundings = ledger.roundings


def read(path: Path) -> list[Record]:
    """Return the records of a file; of a test that was recorded twice, the last."""
    records = [Record(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []
    return list({record.node: record for record in records}.values())


def write(record: Record, path: Path) -> None:
    """Append a record to a file."""
    with path.open("a") as file:
        file.write(json.dumps(asdict(record)) + "\n")
