"""Whether what a model would ship now is worse than what its last release shipped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from requant.archive.contents import entries, read_release
from requant.archive.record import Made, Release
from requant.archive.store import Store
from requant.evaluate.judgement import TARGETS, Target, target_of
from requant.report.summary import Summary, read_summary

LARGER = 0.01  # of the size: less is no regression
_ROUNDING = 1e-5  # of any figure: tables have six digits


def regressions_of(archive: Path, models: Iterable[tuple[Path, Path]]) -> list[str]:
    """Return in what models are worse than their last releases, a sentence for each.

    Args:
        archive: the folder of the archive; there need not be one.
        models: the table and the judgement of each.

    Raises:
        RequantError: if the record of a release is damaged, or not to be trusted.
    """
    store = Store(archive)
    found = []
    for table, judgement in models:
        summary = read_summary(table, judgement)
        releases = entries(store, summary.model)
        found += regressions(summary, read_release(store, releases[-1])) if releases else []
    return found


def regressions(summary: Summary, release: Release) -> list[str]:
    """Return in what the recommended variant is worse than the one that a release recommended, a sentence for each.

    A figure is worse that lies beyond the 95 % confidence interval which it had then, or is worse at all where it had
    none; a size, if it is more than 1 % larger. Only the figures count that targets are set for, and the size.

    Args:
        summary: of the model now.
        release: of the same model.

    Returns:
        Nothing where there is no variant to compare, now or then.
    """
    before = next((made for made in release.variants if made.scheme == release.recommended), None)
    chosen = summary.table[summary.table["scheme"] == summary.recommendation.scheme]
    if before is None or chosen.empty:
        return []
    now = chosen.iloc[0]
    targets = {target.figure: target for target in (TARGETS["max_size"], *map(target_of, summary.targets))}
    return [
        f"{summary.model}: {now['scheme']} would ship with {_of(target, now[figure])}; release {release.name} shipped "
        f"{before.scheme} with {_of(target, number(before, figure))}{_interval(target, before)}."
        for figure, target in targets.items()
        if is_worse(target, now, before)
    ]


def is_worse(target: Target, now: Mapping[str, Any], before: Made) -> bool:
    """Return whether a figure is worse than it was; one that was not known then, or is not now, is not."""
    then, found = number(before, target.figure), float(now[target.figure])
    if math.isnan(then) or math.isnan(found):
        return False
    if target.figure == TARGETS["max_size"].figure:
        return found > then * (1 + LARGER)
    end = number(before, f"{target.figure}_{'low' if target.at_least else 'high'}")
    bound = then if math.isnan(end) else end
    margin = 0.0 if math.isinf(bound) else abs(bound) * _ROUNDING
    return found < bound - margin if target.at_least else found > bound + margin


def number(made: Made, figure: str) -> float:
    """Return a figure of a release; NaN for one that it does not have."""
    value = made.figures.get(figure, math.nan)
    return value if isinstance(value, float | int) else math.nan


def _of(target: Target, value: float) -> str:
    return f"{target.title} {target.shown(float(value), 1)}"


def _interval(target: Target, before: Made) -> str:
    low, high = (number(before, f"{target.figure}_{end}") for end in ("low", "high"))
    return "" if math.isnan(low + high) else f" (95 % interval {target.shown(low, 1)} to {target.shown(high, 1)})"
