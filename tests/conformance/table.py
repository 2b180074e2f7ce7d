"""Records as Markdown: one line per suite, and the list of failures with their reasons."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from tests.conformance.expectations import Expectation, reason_for
from tests.conformance.record import Record

NOT_COUNTED = ("apple", "elsewhere")
UNEXPLAINED = "unexplained"


@dataclass(frozen=True)
class Outcome:
    """What a suite came to.

    Attributes:
        name: the suite's.
        title: what it tests.
        collected: how many tests there are, of which `records` are a sample or all.
        records: of the tests that were run.
    """

    name: str
    title: str
    collected: int
    records: list[Record]

    @property
    def passed(self) -> list[Record]:
        """The tests that passed with predictions."""
        return [record for record in self.records if record.category == "passed-with-prediction"]

    @property
    def failed(self) -> list[Record]:
        """The tests that failed in or after a prediction."""
        return [record for record in self.records if record.outcome == "failed" and record.kind not in NOT_COUNTED]

    def not_counted(self, kind: str) -> list[Record]:
        """The tests that failed before any prediction, for one of the kinds in `NOT_COUNTED`."""
        return [record for record in self.records if record.outcome == "failed" and record.kind == kind]

    @property
    def share_in_float32(self) -> str:
        """The share of tests that passed, among those whose models compute in float32 throughout."""
        passed = sum(not record.float16 for record in self.passed)
        return _share(passed, sum(not record.float16 for record in self.failed))

    @property
    def predictions(self) -> int:
        """How many predictions were made in all."""
        return sum(record.predictions for record in self.records)


def unexplained(outcome: Outcome, expectations: list[Expectation]) -> list[Record]:
    """Return the failures without a known reason."""
    return [record for record in outcome.failed if not reason_for(outcome.name, record, expectations)]


def _share(passed: int, failed: int) -> str:
    return f"{passed / (passed + failed):.1%}" if passed + failed else "–"


def _row(cells: Iterable[object]) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def summary(outcomes: list[Outcome], expectations: list[Expectation]) -> str:
    """Return the table of suites."""
    lines = [
        _row(("suite", "tests", "of them run", "with predictions", "passed", "share", "in float32", "unexplained")),
        _row(("---", "---", "---:", "---:", "---:", "---:", "---:", "---:")),
    ]
    for outcome in outcomes:
        passed, failed = len(outcome.passed), len(outcome.failed)
        left = len(unexplained(outcome, expectations))
        lines.append(
            _row(
                (
                    f"`{outcome.name}`: {outcome.title}",
                    f"{outcome.collected:,}",
                    f"{len(outcome.records):,}",
                    passed + failed,
                    passed,
                    _share(passed, failed),
                    outcome.share_in_float32,
                    left,
                )
            )
        )
    return "\n".join(lines)


def not_counted(outcomes: list[Outcome]) -> str:
    """Return the table of tests that say nothing about predictions."""
    lines = [
        _row(
            (
                "suite",
                "pass without a prediction",
                "skipped by the test",
                "expected to fail by the test",
                "need Apple's compiler",
                "fail before a prediction",
            )
        ),
        _row(("---", "---:", "---:", "---:", "---:", "---:")),
    ]
    for outcome in outcomes:
        counts = [
            sum(record.category == category for record in outcome.records)
            for category in ("passed-without-prediction", "skipped", "expected-failure")
        ]
        lines.append(_row((f"`{outcome.name}`", *counts, *(len(outcome.not_counted(kind)) for kind in NOT_COUNTED))))
    return "\n".join(lines)


def failures(outcome: Outcome, expectations: list[Expectation]) -> str:
    """Return a suite's failures by test function and reason, the unexplained ones first."""
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in outcome.failed:
        reason = reason_for(outcome.name, record, expectations) or UNEXPLAINED
        groups[reason, record.short_name.partition("[")[0]].append(record)
    lines = []
    for (reason, function), group in sorted(groups.items(), key=lambda pair: (pair[0][0] != UNEXPLAINED, pair[0])):
        first = group[0]
        detail = f" ({first.kind}: {_plain(first.message)})" if reason == UNEXPLAINED else ""
        lines.append(f"- `{function}`, {len(group)}: {reason}{detail}")
    return "\n".join(lines)


def _plain(message: str) -> str:
    return message[:200].replace("`", "'").replace("|", "/").replace("<", "‹").replace(">", "›")


def markdown(outcomes: list[Outcome], expectations: list[Expectation]) -> str:
    """Return everything that is measured, for `docs/runtime.md`."""
    parts = [summary(outcomes, expectations), "### Tests that are not counted", not_counted(outcomes), "### Failures"]
    for outcome in outcomes:
        if outcome.failed:
            parts += [f"#### `{outcome.name}`", failures(outcome, expectations)]
    return "\n\n".join(parts) + "\n"
