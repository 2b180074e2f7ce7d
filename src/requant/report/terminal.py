"""The short table that is printed when the workflow is done."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from requant.convert import FLOAT
from requant.errors import RequantError
from requant.report.summary import ABSOLUTE, Summary, fidelity_of, read_summary

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
        print(short_table(read_summary(table, table.with_name("judgement.json"))))
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
    lines = [
        f"{summary.model}: {_title(summary)}",
        *([f"  {summary.conversion}"] if summary.conversion else []),
        f"  {'variant':<{width}}{'MB':>8}{'smaller':>10}{f'{_SHOWN[shown]:>12}' if shown else ''}  runs on",
        *(
            _line(row, width, shown) + (SHIP if row["recommended"] and len(variants) else "")
            for _, row in rows.iterrows()
        ),
    ]
    return "\n".join([*lines, f"  {summary.recommendation.reason}", ""])


def _title(summary: Summary) -> str:
    if summary.variants.empty:
        return f"{summary.type}, no variants"
    made_up = ", judged on inputs that are made up" if summary.table["synthetic"].any() else ""
    return f"the best variant at each bit width{made_up}"


def _line(row: pd.Series, width: int, column: str | None) -> str:
    figure = f"{_figure(row[column], column):>12}" if column else ""
    systems = f"iOS {row['ios']}, macOS {row['macos']}"
    return f"  {row['scheme']:<{width}}{row['size_mb']:>8.2f}{row['ratio']:>9.1f}x{figure}  {systems}"


def _figure(value: float, column: str) -> str:
    if math.isinf(value):
        return "equal"
    return f"{100 * value:.1f} %" if column in ("accuracy", "agreement") else f"{value:.1f}"
