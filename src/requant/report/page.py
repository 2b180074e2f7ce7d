"""The page: one self-contained HTML file for all models."""

from __future__ import annotations

import base64
import io
import math
import os
import platform
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from PIL import Image

from requant import __version__
from requant.convert import FLOAT
from requant.evaluate.hazards import HAZARDS, SEPARATOR, Hazard
from requant.evaluate.judgement import METRIC
from requant.progress import amount
from requant.quantize.scheme import DESCRIPTIONS
from requant.records import read_record, write_whole
from requant.report.chart import chart_spec, script
from requant.report.sheet import MOST_VARIANTS
from requant.report.summary import (
    ABSOLUTE,
    FIDELITY,
    Summary,
    fidelity_of,
    interval_of,
    metrics_of,
    read_summary,
    spread_of,
)

JPEG_QUALITY = 82
LIBRARIES = ("coremltools", "onnxruntime", "numpy", "snakemake")  # whose versions the page tells
# Columns of the table on the page: the summary's column, the title, how a number is written.
_COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("size_mb", "MB", "{:.2f}"),
    ("ratio", "smaller", "{:.1f}x"),
    ("zip_mb", "zipped MB", "{:.2f}"),
    ("bits_per_weight", "bits/weight", "{:.2f}"),
    ("weight_snr_db", "weight SNR dB", "{:.1f}"),
    ("psnr_db", "PSNR dB", "{:.1f}"),
    ("ssim", "SSIM", "{:.3f}"),
    ("flip", "FLIP", "{:.3f}"),
    ("accuracy", "accuracy", "{:.1%}"),
    ("accuracy_p", "p", "{:.2g}"),
    ("top5_accuracy", "top-5 accuracy", "{:.1%}"),
    ("agreement", "agreement", "{:.1%}"),
    ("kl_divergence", "divergence", "{:.2g}"),
    ("snr_db", "SNR dB", "{:.1f}"),
    ("cosine", "cosine", "{:.4f}"),
    ("relative_error", "relative error", "{:.2g}"),
    ("max_error", "max error", "{:.3g}"),
)


@dataclass(frozen=True)
class ModelSection:
    """What the page shows of one model.

    Attributes:
        summary: its table and the recommendation.
        original: the path of the preserved original.
        digests: SHA-256 of each file of the original.
        original_bytes: its size.
        folder: where the variants are, relative to the page.
        data: what the evaluation data is, in words; empty for a model that was not run.
        plot: the SVG of size against fidelity; None for a model without variants.
        sheet: the picture of all outputs side by side; None likewise.
        viewer: the record of what is shown sample by sample; None likewise.
        maps: heat maps of what each tensor does to the outputs, one per family of schemes that is configured.
        delivered: names of the variants' files that lie in `folder`, to which links lead; None for all of them.
    """

    summary: Summary
    original: str
    digests: dict[str, str]
    original_bytes: int
    folder: str
    data: str = ""
    plot: Path | None = None
    sheet: Path | None = None
    viewer: Path | None = None
    maps: Sequence[Path] = ()
    delivered: Collection[str] | None = None


@dataclass(frozen=True)
class Failure:
    """A job that failed: in which model (empty: of all of them), which job, why, and where its log is."""

    model: str
    job: str
    message: str
    logs: Sequence[str]


@dataclass(frozen=True)
class Troubles:
    """What failed in the run that made the page, and the models of which there is nothing to show yet."""

    failures: Sequence[Failure]
    absent: Sequence[str]


@dataclass(frozen=True)
class SectionFiles:
    """The files that a section of the page is made from, as the workflow has them; some models lack the later ones.

    `delivered` are the names of the variants' files that are there to be linked; None for all of them.
    """

    original: Path
    table: Path
    judgement: Path
    data: Path | None = None
    plot: Path | None = None
    sheet: Path | None = None
    viewer: Path | None = None
    maps: Sequence[Path] = ()
    delivered: Collection[str] | None = None


def write_page(models: Sequence[SectionFiles], output: Path) -> None:
    """Write the page for some models."""
    page = render_page([read_section(files, output) for files in models], __version__)
    write_whole(output, page.encode())


def read_section(files: SectionFiles, output: Path) -> ModelSection:
    """Return what the page `output` shows of a model, from its files."""
    return section_of(read_summary(files.table, files.judgement), files, output)


def section_of(summary: Summary, files: SectionFiles, output: Path) -> ModelSection:
    """Return what the page `output` shows of a model, with a table that need not be in the files yet."""
    original = read_record(files.original)
    return ModelSection(
        summary,
        original["original"],
        original["sha256"],
        original["bytes"],
        Path(os.path.relpath(files.table.parent, output.parent)).as_posix(),
        read_record(files.data)["description"] if files.data else "",
        files.plot,
        files.sheet,
        files.viewer,
        files.maps,
        files.delivered,
    )


def render_page(sections: Sequence[ModelSection], release: str, troubles: Troubles | None = None) -> str:
    """Return the page as HTML with style, plots and pictures in it.

    Args:
        sections: of each model.
        release: of this library.
        troubles: what failed; None if nothing did.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    here = files("requant.report")
    template = environment.from_string((here / "page.html.j2").read_text(encoding="utf-8"))
    return template.render(
        style=(here / "page.css").read_text(encoding="utf-8"),
        scripts=_scripts() if any(section.plot for section in sections) else [],
        models=[_section(section) for section in sections],
        troubles=troubles,
        modes=DESCRIPTIONS,
        version=release,
        libraries={library: version(library) for library in LIBRARIES} | {"Python": platform.python_version()},
    )


def _scripts() -> list[str]:
    """Return what has charts and pictures answer: Vega, and the page's own."""
    return [script(), (files("requant.report") / "page.js").read_text(encoding="utf-8")]


def _section(section: ModelSection) -> dict[str, Any]:
    """Return what the template shows of a model."""
    summary = section.summary
    table = summary.table
    return {
        "name": summary.model,
        "type": summary.type,
        "original": section.original,
        "digests": section.digests,
        "original_size": " ".join(amount(section.original_bytes)),
        "data": section.data,
        "synthetic": bool(table["synthetic"].iloc[0]),
        "conversion": summary.conversion,
        "reason": summary.recommendation.reason,
        "none": len(summary.variants) > 0 and summary.recommendation.scheme is None,
        "facts": _facts(summary) if len(summary.variants) else _float_facts(table.iloc[0]),
        "file": {"name": table["file"].iloc[0], "href": f"{section.folder}/{FLOAT}/{table['file'].iloc[0]}"},
        "table": _table(section) if len(summary.variants) else None,
        "plot": _plot(section.plot, summary) if section.plot else None,
        "sheet": _sheet(section.sheet, section) if section.sheet else None,
        "chart": chart_spec(summary) if section.plot else None,
        "viewer": read_record(section.viewer) if section.viewer else None,
        "hazards": [{"name": each.name, "words": each.words, "source": each.source} for each in _hazards(summary)],
        "maps": [_map(path, summary.model) for path in section.maps],
        "chosen": summary.recommendation.scheme or "",
        "command": _command(summary),
    }


def _hazards(summary: Summary) -> list[Hazard]:
    """Return the hazards that some variant of a model has."""
    named = {name for names in summary.table["hazards"] for name in names.split(SEPARATOR)}
    return [hazard for hazard in HAZARDS if hazard.name in named]


def _map(path: Path, model: str) -> dict[str, str]:
    return {
        "src": _data_uri(path.read_bytes(), "image/svg+xml"),
        "family": path.stem,
        "alt": f"What each weight tensor of {model} does to the outputs when it alone is quantized by {path.stem}; the "
        f"figures are in sensitivity/{path.stem}.tsv.",
    }


def _command(summary: Summary) -> str:
    """Return the command that makes the file to ship, and nothing else; empty if none is recommended yet."""
    if not summary.table["recommended"].any():
        return ""
    row = summary.table[summary.table["recommended"]].iloc[0]
    place = FLOAT if row["scheme"] == FLOAT else "variants"
    return f"snakemake results/{summary.model}/{place}/{row['file']}"


def _facts(summary: Summary) -> list[tuple[str, str]]:
    """Return the figures of the model to ship, with what they are; none if none is recommended yet."""
    if not summary.table["recommended"].any():
        return []
    chosen = summary.table[summary.table["recommended"]].iloc[0]
    column, title = fidelity_of(summary.table)
    return [
        ("MB", f"{chosen['size_mb']:.2f}"),
        ("times smaller", f"{chosen['ratio']:.1f}"),
        ("bits per weight", f"{chosen['bits_per_weight']:.2f}"),
        (title, _figure(chosen, column)),
        ("or newer", f"iOS {chosen['ios']}"),
    ]


def _float_facts(row: pd.Series) -> list[tuple[str, str]]:
    """Return the figures of a float model that stands alone: those that compare it with nothing."""
    size, unit = amount(round(row["size_mb"] * 1e6))
    zipped, zipped_unit = amount(round(row["zip_mb"] * 1e6))
    accuracy = [] if math.isnan(row[ABSOLUTE]) else [(dict(FIDELITY)[ABSOLUTE], _figure(row, ABSOLUTE))]
    return [
        (unit, size),
        (f"{zipped_unit} zipped", zipped),
        *accuracy,
        ("or newer", f"iOS {row['ios']}, macOS {row['macos']}"),
    ]


def _plot(path: Path, summary: Summary) -> dict[str, Any]:
    column, title = fidelity_of(summary.table)
    return {
        "src": _data_uri(path.read_bytes(), "image/svg+xml"),
        "alt": f"Size of every variant of {summary.model} against {title}. {summary.recommendation.reason}",
        "intervals": bool(interval_of(summary.variants, column, "low").notna().any()),
        "some_equal": bool(np.isinf(summary.variants[column]).any()),
    }


def _sheet(path: Path, section: ModelSection) -> dict[str, Any]:
    part = len(section.summary.variants) > MOST_VARIANTS
    return {
        "src": _data_uri(_as_jpeg(path), "image/jpeg"),
        "href": f"{section.folder}/{path.name}",
        "part": part,
        "alt": f"The outputs of {'some' if part else 'all'} variants of {section.summary.model} side by side; their "
        "figures are in the table.",
    }


def _table(section: ModelSection) -> dict[str, Any]:
    summary = section.summary
    own = [(name, name.removeprefix(METRIC), "{:.4g}") for name in metrics_of(summary.table)]
    columns = [entry for entry in (*_COLUMNS, *own) if summary.table[entry[0]].notna().any()]
    firsts = set(summary.table.drop_duplicates("mode")["scheme"])
    return {
        "headings": [heading for _, heading, _ in columns],
        "rows": [_row(row, columns, firsts) | {"href": _link(row, section)} for _, row in summary.table.iterrows()],
    }


def _link(row: pd.Series, section: ModelSection) -> str:
    """Return where the file of a row is, relative to the page; empty if it is not there."""
    if row["scheme"] == FLOAT:
        return f"{section.folder}/{FLOAT}/{row['file']}"
    is_there = section.delivered is None or row["file"] in section.delivered
    return f"{section.folder}/variants/{row['file']}" if is_there else ""


def _row(row: pd.Series, columns: Sequence[tuple[str, str, str]], firsts: set[str]) -> dict[str, Any]:
    return {
        "scheme": row["scheme"],
        "cells": [
            {"value": _number(row[name], name, form), "spread": _spread(row, name, form), "key": _key(row[name])}
            for name, _, form in columns
        ],
        "systems": f"{row['ios']} / {row['macos']}",
        "raised_from": row["raised_from_ios"],
        "hazards": list(filter(None, row["hazards"].split(SEPARATOR))),
        "meets": bool(row["meets_targets"]),
        "recommended": bool(row["recommended"]),
        "float": row["scheme"] == FLOAT,
        "first_of_mode": row["scheme"] in firsts,
    }


def _key(value: float) -> str:
    """Return what a cell is sorted by: the number, in words that JavaScript reads; nothing where there is none."""
    return "" if math.isnan(value) else str(float(value)).replace("inf", "Infinity")


def _figure(row: pd.Series, column: str) -> str:
    form = next(form for name, _, form in _COLUMNS if name == column)
    return f"{_number(row[column], column, form)} {_spread(row, column, form)}".strip()


def _spread(row: pd.Series, column: str, form: str) -> str:
    """Return how far the confidence interval reaches from a figure, as `±0.9`; empty if there is none."""
    spread = spread_of(row, column)
    if math.isnan(spread) or math.isinf(row[column]):
        return ""
    return f"±{form.format(spread).removesuffix('%')}"


def _number(value: float, column: str, form: str) -> str:
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "equal" if column.endswith("_db") else "infinite"
    return form.format(value)


def _as_jpeg(path: Path) -> bytes:
    buffer = io.BytesIO()
    with Image.open(path) as picture:
        picture.convert("RGB").save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return buffer.getvalue()


def _data_uri(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
