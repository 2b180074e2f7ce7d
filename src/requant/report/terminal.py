"""The short table that is printed when the workflow is done."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from requant.convert import FLOAT
from requant.errors import RequantError
from requant.report.summary import ABSOLUTE, Summary, fidelity_of, read_summary, spread_of

SHIP = " <- ship this"
_SHOWN = {"psnr_db": "PSNR dB", "accuracy": "accuracy", "agreement": "agreement", "snr_db": "SNR dB"}


def print_summaries(results: Path) -> None:
    """Print a table per model, and the path of the page.

    Raises:
        RequantError: if there are no results.
    """
    tables = sorted(results.glob("*/summary.tsv"))
    if not tables:
        raise RequantError(f"there is no summary in {results}. Make them: snakemake --cores all")
    for table in tables:
        try:
            print(short_table(read_summary(table, table.with_name("judgement.json"))))
        except RequantError as error:  # of a model that is not configured any more, or not made anew yet
            print(f"{table.parent.name}: {error}\n")
    page = results / "report" / "index.html"
    if page.exists():
        print(f"The report: {page}")


def short_table(summary: Summary) -> str:
    """Return a model's table for a terminal: the float model, the best variant of each bit width, and the advice.

    The best variant of a bit width is the recommended one, if it has that width, else the one of greatest fidelity. Of
    a model without variants, just the float model is shown, without any comparison with itself.
    """
    variants = summary.variants
    column = fidelity_of(summary.table)[0] if len(variants) else ABSOLUTE
    order = variants.sort_values(["bits", "recommended", column, "size_mb"], ascending=[False, False, False, True])
    rows = pd.concat([summary.table[summary.table["scheme"] == FLOAT], order.drop_duplicates("bits")])
    width = max(20, 2 + int(rows["scheme"].str.len().max()))
    shown = column if rows[column].notna().any() else None
    figures = [_figure(row, column) if shown else "" for _, row in rows.iterrows()]
    wide = max(12, 2 + max(map(len, figures))) if shown else 0
    lines = [
        f"{summary.model}: {_title(summary)}",
        *([f"  {summary.conversion}"] if summary.conversion else []),
        f"  {'variant':<{width}}{'MB':>8}{'smaller':>10}{_SHOWN[column] if shown else '':>{wide}}  runs on",
        *(
            _line(row, width, f"{figure:>{wide}}") + (SHIP if row["recommended"] and len(variants) else "")
            for figure, (_, row) in zip(figures, rows.iterrows(), strict=True)
        ),
    ]
    return "\n".join([*lines, f"  {summary.recommendation.reason}", ""])


def _title(summary: Summary) -> str:
    if summary.variants.empty:
        return f"{summary.type}, no variants"
    made_up = ", judged on inputs that are made up" if summary.table["synthetic"].any() else ""
    return f"the best variant at each bit width{made_up}"


def _line(row: pd.Series, width: int, figure: str) -> str:
    systems = f"iOS {row['ios']}, macOS {row['macos']}"
    return f"  {row['scheme']:<{width}}{row['size_mb']:>8.2f}{row['ratio']:>9.1f}x{figure}  {systems}"


def _figure(row: pd.Series, column: str) -> str:
    """Return a figure for people, with its confidence interval if there is one, as `98.9 % ±0.9`."""
    value, spread = row[column], spread_of(row, column)
    if math.isinf(value):
        return "equal"
    scale, unit = (100, " %") if column in ("accuracy", "agreement") else (1, "")
    return f"{scale * value:.1f}{unit}" + ("" if math.isnan(spread) else f" ±{scale * spread:.1f}")
