"""Which variants matter where not all can be shown: those that no other beats, and the best of each bit width."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from requant.report.summary import Summary, fidelity_of


def pareto_front(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the rows that no other row beats: none is at most as large and better, the smallest first.

    Args:
        table: with `size_mb` and a column of fidelity.
        column: more is better.
    """
    ordered = table.sort_values(["size_mb", column], ascending=[True, False])
    best = ordered[column].cummax().shift(fill_value=-math.inf)
    return ordered[ordered[column] > best]


def worth_showing(summary: Summary, most: int) -> list[str]:
    """Return the schemes to show where there is room for so many, in the order of the table: all, if they fit.

    Otherwise the recommended one, the best of each bit width, and those on the front; if there is room for more,
    others; if there is too little, fewer of the front, spread evenly over the sizes.

    Args:
        summary: of a model.
        most: how many; the recommended one and those of the bit widths are shown in any case.
    """
    rows = summary.variants
    if len(rows) <= most:
        return list(rows["scheme"])
    column, _ = fidelity_of(summary.table)
    best = rows.sort_values(column, ascending=False, na_position="last", kind="stable").drop_duplicates("bits")
    chosen = dict.fromkeys([*rows.loc[rows["recommended"], "scheme"], *best["scheme"]])
    for others in (pareto_front(rows, column), rows.sort_values("size_mb", kind="stable")):
        names = [name for name in others["scheme"] if name not in chosen]
        chosen |= dict.fromkeys(_spread(names, most - len(chosen)))
    return [name for name in rows["scheme"] if name in chosen]


def _spread(names: list[str], count: int) -> list[str]:
    """Return at most so many of some names, evenly spread, with the first and the last."""
    if len(names) <= count:
        return names
    return [names[index] for index in np.linspace(0, len(names) - 1, max(count, 0)).round().astype(int)]
