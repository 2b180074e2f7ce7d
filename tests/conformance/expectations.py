"""Known failures of Apple's tests, each with the reason why it is no defect of requant's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from tests.conformance.record import Record

FILE = Path(__file__).with_name("expectations.yaml")


@dataclass(frozen=True)
class Expectation:
    """A known failure.

    Attributes:
        test: a pattern (as of file names) of test functions: `test_file.py::Class::test_function`.
        reason: one sentence.
        suite: a pattern of the suites' names.
        parameters: a regular expression that the test's parameters have to contain.
        message: a regular expression that the message has to contain.
        kinds: the kinds of failure, see `Record`; any if empty.
        roundings: how many roundings to float16 the values may be apart, of a model that computes in float16.
    """

    test: str
    reason: str
    suite: str = "*"
    parameters: str = ""
    message: str = ""
    kinds: tuple[str, ...] = ()
    roundings: float | None = None

    def covers(self, suite: str, record: Record) -> bool:
        """Tell whether this is about a failure."""
        function = record.short_name.partition("[")[0]
        return (
            fnmatchcase(
                suite.replace("sample-operations", "mil-fp32").replace("sample-layers", "neural-network"), self.suite
            )
            and fnmatchcase(function, self.test)
            and (not self.kinds or record.kind in self.kinds)
            and (self.roundings is None or (record.roundings is not None and record.roundings <= self.roundings))
            and bool(re.search(self.parameters, record.node.partition("[")[2]))
            and bool(re.search(self.message, record.message))
        )


def load(path: Path = FILE) -> list[Expectation]:
    """Read the known failures."""
    entries: list[dict[str, Any]] = yaml.safe_load(path.read_text()) or []
    return [Expectation(**{**entry, "kinds": tuple(entry.get("kinds", ()))}) for entry in entries]


def reason_for(suite: str, record: Record, expectations: list[Expectation]) -> str:
    """Return the reason of a failure, or nothing if it is unexplained."""
    return next((known.reason for known in expectations if known.covers(suite, record)), "")
