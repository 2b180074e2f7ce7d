"""What is printed when the workflow is done: a short table per model, and what is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from requant.convert import FLOAT
from requant.errors import RequantError
from requant.records import read_record
from requant.report.summary import ABSOLUTE, Summary, fidelity_of, read_summary, spread_of
from requant.run.summary import place_in_words

SHIP = " <- ship this"
_SHOWN = {"psnr_db": "PSNR dB", "accuracy": "accuracy", "agreement": "agreement", "snr_db": "SNR dB"}


def print_summaries(results: Path) -> None:
    """Print a table per model, the path of the page, and whether the last run made all of it.

    Raises:
        RequantError: if there are no results.
    """
    tables = sorted(results.glob("*/summary.tsv"))
    last = last_run(results)
    if not tables:
        told = f" {_unfinished(last, results)}" if last else ""
        raise RequantError(f"there is no summary in {results}. Make them: snakemake --cores all.{told}")
    for table in tables:
        if last and last["models"].get(table.parent.name, {}).get("table_is_outdated"):
            print(f"{table.parent.name}: the table is of an earlier run, the last one did not come to it\n")
            continue
        try:
            print(short_table(read_summary(table, table.with_name("judgement.json"))))
        except RequantError as error:  # of a model that is not configured any more, or not made anew yet
            print(f"{table.parent.name}: {error}\n")
    page = results / "report" / "index.html"
    if page.exists():
        print(f"The report: {page}")
    if last:
        print(_unfinished(last, results))


def last_run(results: Path) -> dict[str, Any] | None:
    """Return the record of the last run, if it did not make all that was asked for."""
    path = results / "run.json"
    record: dict[str, Any] = read_record(path) if path.exists() else {"outcome": "succeeded"}
    return None if record["outcome"] == "succeeded" else record


def _unfinished(record: Mapping[str, Any], results: Path) -> str:
    what = ", ".join(place_in_words(failure) for failure in record["failures"])
    return (
        f"The last run {'was interrupted' if record['outcome'] == 'interrupted' else 'failed'}"
        + (f" ({what})" if what else "")
        + f"; {results / 'run.txt'} says why."
    )


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
