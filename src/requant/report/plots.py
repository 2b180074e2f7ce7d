"""The plot of size against fidelity, with every mode in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from requant.convert import FLOAT
from requant.quantize.scheme import PRUNE
from requant.report.colours import ACCENT, INK, LINE_STYLES, MODE_STYLES
from requant.report.front import pareto_front
from requant.report.summary import Summary, fidelity_of, interval_of, limit_of

RATIOS = ("accuracy", "agreement")
WORST_SHOWN_DB = -10.0  # what is worse is noise, and would only flatten the rest
# No date and no random identifiers, so that the same table gives the same file.
_SVG: dict[Any, Any] = {"svg.hashsalt": "requant", "svg.fonttype": "path"}


MOST_LINES = 16  # of families; with more, lines and their legend hide what they show


def plot_fidelity(summary: Summary, path: Path) -> None:
    """Draw size against fidelity to an SVG file: a line per family, bits at its points, the limit, the choice.

    Of very many families, the points are drawn, and a line through those that no other beats.
    """
    column, title = fidelity_of(summary.table)
    with mpl.rc_context({**_SVG, "font.size": 10, "axes.edgecolor": INK, "axes.labelcolor": INK}):
        figure, axes = plt.subplots(figsize=(7.6, 4.6), layout="constrained")
        ceiling = _draw_families(axes, summary, column)
        _draw_limit(axes, summary, column)
        _draw_choice(axes, summary, column, ceiling)
        axes.set_xlabel("size of the delivered model (MB)")
        axes.set_ylabel(title)
        axes.set_xlim(left=0)
        if column not in RATIOS:
            axes.set_ylim(bottom=max(axes.get_ylim()[0], WORST_SHOWN_DB))
        if column in RATIOS:
            axes.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1.0))
        axes.grid(visible=True, color="#DDDDDD", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="best")
        figure.savefig(path, format="svg", metadata={"Date": None})
        plt.close(figure)


def _draw_families(axes: Axes, summary: Summary, column: str) -> float:
    """Draw a line per family; return the height at which variants equal to the float model are shown."""
    variants = summary.variants
    finite = variants[column].replace([np.inf, -np.inf], np.nan)
    ceiling = float(finite.max()) * 1.08 if finite.notna().any() else 1.0
    lines = variants["family"].where(variants["mode"] != PRUNE, PRUNE)  # schemes that only prune make one line
    if lines.nunique() > MOST_LINES:
        _draw_points(axes, variants.assign(height=variants[column].replace(np.inf, ceiling)))
        return ceiling
    for family, rows in variants.groupby(lines, sort=False):
        mode = str(rows["mode"].iloc[0])
        colour, marker = MODE_STYLES[mode]
        siblings = list(dict.fromkeys(lines[variants["mode"] == mode]))
        style = LINE_STYLES[siblings.index(family) % len(LINE_STYLES)]
        ordered = rows.sort_values("size_mb")
        heights = ordered[column].replace(np.inf, ceiling)
        look: dict[str, Any] = {"marker": marker, "color": colour, "linestyle": style}
        if str(family).startswith(f"{PRUNE}_"):
            look["markerfacecolor"] = "white"  # pruned, then quantized
        _draw_intervals(axes, ordered, column, ceiling, colour)
        axes.plot(ordered["size_mb"], heights, label=family, linewidth=1.4, markersize=5, **look)
        if family in ("linear", "kmeans"):
            offset = -13 if mode == "linear" else 7
            for size, height, bits in zip(ordered["size_mb"], heights, ordered["bits"], strict=True):
                axes.annotate(
                    str(bits), (size, height), (0, offset), textcoords="offset points", ha="center", fontsize=8,
                    color=colour,
                )  # fmt: skip
    return ceiling


def _draw_points(axes: Axes, variants: pd.DataFrame) -> None:
    """Draw a point per variant, by mode, and a line through those that no other beats."""
    for mode, rows in variants.groupby("mode", sort=False):
        colour, marker = MODE_STYLES[str(mode)]
        axes.plot(rows["size_mb"], rows["height"], marker, color=colour, label=mode, markersize=3, alpha=0.6)
    front = pareto_front(variants, "height")
    axes.step(front["size_mb"], front["height"], where="post", color=INK, linewidth=1, label="no other is better")


def _draw_intervals(axes: Axes, rows: pd.DataFrame, column: str, ceiling: float, colour: str) -> None:
    """Draw the 95 % confidence intervals as faint lines up and down from the points."""
    known = rows[interval_of(rows, column, "low").notna() & np.isfinite(rows[column])]
    ends = [interval_of(known, column, end).clip(upper=ceiling) for end in ("low", "high")]
    axes.vlines(known["size_mb"], *ends, color=colour, linewidth=2.5, alpha=0.22, zorder=1)


def _draw_limit(axes: Axes, summary: Summary, column: str) -> None:
    limit = limit_of(column, summary)
    if limit is not None:
        axes.axhline(limit, color=ACCENT, linewidth=1, linestyle="--", label="target")


def _draw_choice(axes: Axes, summary: Summary, column: str, ceiling: float) -> None:
    chosen = summary.table[summary.table["recommended"] & (summary.table["scheme"] != FLOAT)]
    for _, row in chosen.iterrows():
        height = min(row[column], ceiling)
        axes.plot(row["size_mb"], height, "o", markersize=15, markerfacecolor="none", color=ACCENT, label="recommended")
