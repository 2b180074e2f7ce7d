"""The chart of size against fidelity that answers to the pointer, as a Vega-Lite specification made by Altair."""

from __future__ import annotations

import math
from typing import Any

import altair
import pandas as pd
import vl_convert

from requant.convert import FLOAT
from requant.report.colours import ACCENT, MODE_STYLES
from requant.report.front import pareto_front
from requant.report.plots import RATIOS, WORST_SHOWN_DB
from requant.report.summary import Summary, fidelity_of, interval_of, limit_of

_SHAPES = {
    "o": "circle",
    "D": "diamond",
    "s": "square",
    "^": "triangle-up",
    "v": "triangle-down",
    "P": "cross",
    "X": "M-.7,-1L0,-.3L.7,-1L1,-.7L.3,0L1,.7L.7,1L0,.3L-.7,1L-1,.7L-.3,0L-1,-.7Z",
}
_UP_TO_ALL = "datum.value > 1 ? '' : datum.label"  # the axis goes on above 100 %, for the markers' sake
_EMBED = "window.requantEmbed = vegaEmbed;"


def script() -> str:
    """Return the JavaScript that draws specifications, with all that it needs: nothing is fetched from anywhere."""
    return str(vl_convert.javascript_bundle(_EMBED))


def chart_spec(summary: Summary) -> dict[str, Any]:
    """Return the chart of a model: a point per variant, the front that none beats, the limit that the targets set."""
    column, title = fidelity_of(summary.table)
    points = _points(summary, column)
    ratio = column in RATIOS
    look: dict[str, Any] = {
        "title": title,
        "scale": altair.Scale(zero=False, padding=12),
        "axis": altair.Axis(format="%", labelExpr=_UP_TO_ALL) if ratio else altair.Axis(),
    }
    y = altair.Y("fidelity:Q", **look)
    x = altair.X("size_mb:Q", title="size of the delivered model (MB)", scale=altair.Scale(zero=True, nice=True))
    layers = [_front(points, x, y), _marks(points, x, y, title)]
    if points["low"].notna().any():
        layers.insert(0, _intervals(points, x, altair.Y("low:Q", **look)))
    limit = limit_of(column, summary)
    if limit is not None:
        layers.insert(0, _rule(limit, y))
    chart = altair.layer(*layers).properties(width="container", height=380)
    with altair.data_transformers.disable_max_rows():  # all of them are in the page, in any case
        found: dict[str, Any] = chart.to_dict()
    return found


def _points(summary: Summary, column: str) -> pd.DataFrame:
    rows = summary.table[summary.table["scheme"] != FLOAT].copy()
    finite = rows[column].replace([math.inf, -math.inf], math.nan)
    ceiling = float(finite.max()) * 1.08 if finite.notna().any() else 1.0
    floor = -math.inf if column in RATIOS else WORST_SHOWN_DB
    rows["fidelity"] = rows[column].replace(math.inf, ceiling).clip(lower=floor)
    for end in ("low", "high"):
        rows[end] = interval_of(rows, column, end).clip(lower=floor, upper=ceiling).where(rows[column] < math.inf)
    form = "{:.1%}" if column in RATIOS else "{:.1f}"
    rows["figure"] = ["equal" if math.isinf(value) else form.format(value) for value in rows[column]]
    rows["target"] = rows["meets_targets"].map({True: "met", False: "missed"})
    rows["ships"] = rows["recommended"].map({True: "recommended", False: ""})
    columns = ["scheme", "mode", "family", "bits", "size_mb", "zip_mb", "fidelity", "figure", "ios", "target", "ships"]
    return rows[[*columns, "low", "high"]]


def _marks(points: pd.DataFrame, x: Any, y: Any, title: str) -> Any:
    modes = [mode for mode in MODE_STYLES if mode in set(points["mode"])]
    picked = altair.selection_point(name="picked", fields=["mode"], bind="legend")
    return (
        altair.Chart(points)
        .mark_point(filled=True, size=70)
        .encode(
            x=x,
            y=y,
            color=altair.Color(
                "mode:N",
                title="mode (choose to highlight)",
                scale=altair.Scale(domain=modes, range=[MODE_STYLES[m][0] for m in modes]),
            ),
            shape=altair.Shape(
                "mode:N",
                title="mode (choose to highlight)",
                scale=altair.Scale(domain=modes, range=[_SHAPES[MODE_STYLES[m][1]] for m in modes]),
            ),
            opacity=altair.condition(picked, altair.value(1), altair.value(0.12)),
            stroke=altair.condition("datum.ships != ''", altair.value(ACCENT), altair.value("transparent")),
            strokeWidth=altair.condition("datum.ships != ''", altair.value(4), altair.value(0)),
            tooltip=[
                altair.Tooltip("scheme:N"),
                altair.Tooltip("figure:N", title=title),
                altair.Tooltip("size_mb:Q", title="MB", format=".2f"),
                altair.Tooltip("zip_mb:Q", title="MB zipped", format=".2f"),
                altair.Tooltip("ios:N", title="iOS or newer"),
                altair.Tooltip("target:N", title="targets"),
                altair.Tooltip("ships:N", title=" "),
            ],
        )
        .add_params(picked, altair.selection_interval(name="zoom", bind="scales"))
    )


def _intervals(points: pd.DataFrame, x: Any, low: Any) -> Any:
    """Draw the 95 % confidence intervals as faint lines up and down from the points."""
    known = points[points["low"].notna()][["size_mb", "low", "high"]]
    return altair.Chart(known).mark_rule(color="#888888", opacity=0.35, strokeWidth=3).encode(x=x, y=low, y2="high:Q")


def _front(points: pd.DataFrame, x: Any, y: Any) -> Any:
    front = pareto_front(points, "fidelity")[["size_mb", "fidelity"]]
    return altair.Chart(front).mark_line(interpolate="step-after", strokeDash=[2, 3], color="#888888").encode(x=x, y=y)


def _rule(limit: float, y: Any) -> Any:
    return (
        altair.Chart(pd.DataFrame({"fidelity": [limit]}))
        .mark_rule(color=ACCENT, strokeDash=[6, 4])
        .encode(y=y, tooltip=[altair.Tooltip("fidelity:Q", title="target", format=".3~f")])
    )
