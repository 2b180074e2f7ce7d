"""The page: one self-contained HTML file for all models."""

from __future__ import annotations

import base64
import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from PIL import Image

from requant import __version__
from requant.convert import FLOAT
from requant.coreml.kind import Kind
from requant.quantize.scheme import DESCRIPTIONS
from requant.records import read_record, write_whole
from requant.report.summary import Summary, fidelity_of, read_summary

JPEG_QUALITY = 88
SHA256_SHOWN = 12
# Columns of the table on the page: the summary's column, the title, how a number is written.
_COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("size_mb", "MB", "{:.2f}"),
    ("ratio", "smaller", "{:.1f}x"),
    ("zip_mb", "zipped MB", "{:.2f}"),
    ("bits_per_weight", "bits/weight", "{:.2f}"),
    ("weight_snr_db", "weight SNR dB", "{:.1f}"),
    ("psnr_db", "PSNR dB", "{:.1f}"),
    ("ssim", "SSIM", "{:.3f}"),
    ("accuracy", "accuracy", "{:.1%}"),
    ("agreement", "agreement", "{:.1%}"),
    ("snr_db", "SNR dB", "{:.1f}"),
    ("max_error", "max error", "{:.3g}"),
)


@dataclass(frozen=True)
class ModelSection:
    """What the page shows of one model.

    Attributes:
        summary: its table and the recommendation.
        kind: of the model.
        original: the path of the preserved original.
        digests: SHA-256 of each file of the original.
        original_bytes: its size.
        data: what the evaluation data is, in words.
        plot: the SVG of size against fidelity.
        sheet: the picture of all outputs side by side.
        folder: where the variants are, relative to the page.
    """

    summary: Summary
    kind: Kind
    original: str
    digests: dict[str, str]
    original_bytes: int
    data: str
    plot: Path
    sheet: Path
    folder: str


@dataclass(frozen=True)
class SectionFiles:
    """The files that a section of the page is made from, as the workflow has them."""

    kind: str
    original: Path
    data: Path
    table: Path
    judgement: Path
    plot: Path
    sheet: Path


def write_page(models: Sequence[SectionFiles], output: Path) -> None:
    """Write the page for some models."""
    page = render_page([_read_section(files, output) for files in models], __version__)
    write_whole(output, page.encode())


def _read_section(files: SectionFiles, output: Path) -> ModelSection:
    original = read_record(files.original)
    return ModelSection(
        read_summary(files.table, files.judgement),
        Kind(files.kind),
        original["original"],
        original["sha256"],
        original["bytes"],
        read_record(files.data)["description"],
        files.plot,
        files.sheet,
        Path(os.path.relpath(files.table.parent, output.parent)).as_posix(),
    )


def render_page(sections: Sequence[ModelSection], version: str) -> str:
    """Return the page as HTML with style, plots and pictures in it."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    here = files("requant.report")
    template = environment.from_string((here / "page.html.j2").read_text(encoding="utf-8"))
    return template.render(
        style=(here / "page.css").read_text(encoding="utf-8"),
        models=[_section(section) for section in sections],
        modes=DESCRIPTIONS,
        version=version,
    )


def _section(section: ModelSection) -> dict[str, Any]:
    summary = section.summary
    table = summary.table
    chosen = table[table["recommended"]].iloc[0]
    column, title = fidelity_of(table)
    columns = [entry for entry in _COLUMNS if table[entry[0]].notna().any()]
    firsts = set(table.drop_duplicates("mode")["scheme"])
    return {
        "name": summary.model,
        "kind": str(section.kind),
        "original": section.original,
        "digests": {name: digest[:SHA256_SHOWN] for name, digest in section.digests.items()},
        "original_mb": f"{section.original_bytes / 1e6:.2f}",
        "data": section.data,
        "synthetic": bool(table["synthetic"].iloc[0]),
        "reason": summary.recommendation.reason,
        "none": summary.recommendation.scheme is None,
        "chosen": str(chosen["scheme"]),
        "facts": _facts(chosen, column, title),
        "headings": [heading for _, heading, _ in columns],
        "rows": [_row(row, columns, firsts, section.folder) for _, row in table.iterrows()],
        "plot": _data_uri(section.plot.read_bytes(), "image/svg+xml"),
        "plot_alt": f"Size of every variant of {summary.model} against {title}. {summary.recommendation.reason}",
        "sheet": _data_uri(_as_jpeg(section.sheet), "image/jpeg"),
        "sheet_href": f"{section.folder}/{section.sheet.name}",
        "some_equal": bool(np.isinf(table.loc[table["scheme"] != FLOAT, column]).any()),
        "sheet_alt": f"The outputs of all variants of {summary.model} side by side; their figures are in the table.",
    }


def _facts(chosen: pd.Series, column: str, title: str) -> list[tuple[str, str]]:
    form = next(form for name, _, form in _COLUMNS if name == column)
    return [
        ("MB", f"{chosen['size_mb']:.2f}"),
        ("times smaller", f"{chosen['ratio']:.1f}"),
        ("bits per weight", f"{chosen['bits_per_weight']:.2f}"),
        (title, _number(chosen[column], form)),
        ("or newer", f"iOS {chosen['ios']}"),
    ]


def _row(row: pd.Series, columns: Sequence[tuple[str, str, str]], firsts: set[str], folder: str) -> dict[str, Any]:
    place = "float" if row["scheme"] == FLOAT else "variants"
    return {
        "scheme": row["scheme"],
        "href": f"{folder}/{place}/{row['file']}",
        "cells": [_number(row[name], form) for name, _, form in columns],
        "systems": f"{row['ios']} / {row['macos']}",
        "raised_from": row["raised_from_ios"],
        "meets": bool(row["meets_targets"]),
        "recommended": bool(row["recommended"]),
        "float": row["scheme"] == FLOAT,
        "first_of_mode": row["scheme"] in firsts,
    }


def _number(value: float, form: str) -> str:
    if math.isnan(value):
        return "–"
    return "equal" if math.isinf(value) else form.format(value)


def _as_jpeg(path: Path) -> bytes:
    buffer = io.BytesIO()
    with Image.open(path) as picture:
        picture.convert("RGB").save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return buffer.getvalue()


def _data_uri(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
