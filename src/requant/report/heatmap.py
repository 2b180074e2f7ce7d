"""The heat map of a model's layers: what the outputs lose when one tensor alone is quantized."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from requant.evaluate.sensitivity_table import effect_of, harm, most_sensitive, read_table
from requant.records import write_whole
from requant.report.colours import INK

MOST_ROWS = 60
LONGEST_NAMES = (40, 52, 64)  # letters: the first that tells the shortened names apart, or the last
COLOURS = "YlOrBr"  # of ColorBrewer, which colour-blind readers and grey keep in order; from light to dark
TITLES = {
    "psnr_db": "In the cells: PSNR against the float model (dB); lower is worse.",
    "kl_divergence": "In the cells: divergence from the float model (nats); higher is worse.",
    "snr_db": "In the cells: SNR against the float model (dB); lower is worse.",
    "agreement": "In the cells: agreement with the float model; lower is worse.",
}
# What is as light, and as dark, as can be: the same for all models and families, so that figures can be compared.
SCALES = {"psnr_db": (60, 10), "kl_divergence": (1e-6, 1), "snr_db": (60, 10), "agreement": (1, 0.5)}
_ROW, _COLUMN, _MARGIN_TOP, _MARGIN_BOTTOM = 0.25, 0.72, 1.0, 0.6  # inches
_LETTER, _DIGIT, _EDGE = 0.082, 0.075, 0.2  # inches: a letter of a name, one of a size, space left and right
_SHADES = 0.8  # of the colour map: its darkest end leaves numbers hard to read
_DARK = 0.18  # relative luminance below which white has more contrast than black (WCAG 2)
# No date and no random identifiers, so that the same table gives the same file.
_SVG: dict[Any, Any] = {"svg.hashsalt": "requant", "svg.fonttype": "path"}


def draw_sensitivity(model: str, family: str, table: Path, output: Path) -> None:
    """Draw the table of a model's tensors as an SVG file: tensors in the model's order down, bits across.

    Args:
        model: its name.
        family: of the schemes in the table.
        table: what `requant.evaluate.sensitivity_table.write_table` wrote.
        output: where to write the file.

    Raises:
        RequantError: if another version of this library wrote the table.
    """
    rows = read_table(table)
    count = rows["tensor"].nunique()
    shown = rows[rows["tensor"].isin(most_sensitive(rows, MOST_ROWS))]
    with mpl.rc_context({**_SVG, "font.size": 9, "text.color": INK, "axes.labelcolor": INK}):
        figure = _drawn(shown, f"{model}, {family}: which layers hurt", _explained(shown, count))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
        plt.close(figure)
    write_whole(output, buffer.getvalue())


def _explained(shown: pd.DataFrame, count: int) -> str:
    first = shown.iloc[0]
    kind = "made-up sample" if first["synthetic"] else "sample"
    text = f"One tensor is quantized, all others stay float; {first['samples']} {kind}"
    text += "." if first["samples"] == 1 else "s."
    if (shown["reason"] != "").any():
        text += " –: can't be stored so."
    if shown["tensor"].nunique() < count:
        text += f"\nShown are the {MOST_ROWS} most sensitive of {count} tensors."
    return text


def _drawn(shown: pd.DataFrame, title: str, explained: str) -> Figure:
    column = effect_of(shown)
    cells = shown.pivot_table(index="position", columns="bits", values=column or "bytes", dropna=False, sort=True)
    cells = cells[cells.columns[::-1]]
    tensors = shown.drop_duplicates("position").set_index("position").loc[cells.index]
    names = shortened(tensors["tensor"])
    sizes = [_kilobytes(size) for size in tensors["float_bytes"]]
    beside = _DIGIT * max(map(len, sizes)) + _EDGE  # from the cells to the names
    left = beside + _LETTER * max(map(len, names)) + _EDGE
    inside = _COLUMN * cells.shape[1], _ROW * cells.shape[0]
    # The title has to fit too, which stands over the cells and the names.
    meaning = TITLES[column] if column else "No tensor can be stored so."
    lines = [_LETTER * 1.4 * len(title), *(_LETTER * len(line) for line in [meaning, *explained.splitlines()])]
    width = max(left + inside[0], *lines) + _EDGE
    height = _MARGIN_TOP + inside[1] + _MARGIN_BOTTOM
    figure = plt.figure(figsize=(width, height))
    axes = figure.add_axes((left / width, _MARGIN_BOTTOM / height, inside[0] / width, inside[1] / height))
    figure.text(0.1 / width, 1 - 0.2 / height, title, fontsize=12, fontweight="bold", va="top")
    figure.text(0.1 / width, 1 - 0.45 / height, explained, va="top")
    _draw_cells(axes, cells.to_numpy(np.float64) if column else np.full(cells.shape, np.nan), column)
    _label(axes, names, sizes, list(cells.columns), beside)
    figure.text(0.1 / width, 0.3 / height, meaning)
    return figure


def _draw_cells(axes: Axes, values: NDArray[np.float64], column: str) -> None:
    shades = _shades(column, values)
    colours: Colormap = mpl.colormaps[COLOURS].with_extremes(bad="#EEEEEE")
    axes.imshow(shades, cmap=colours, vmin=0, vmax=1, aspect="auto")
    for (row, place), value in np.ndenumerate(values):
        dark = not np.isnan(value) and _luminance(colours([shades[row, place]])[0]) < _DARK
        colour = "white" if dark else "black"
        axes.text(place, row, in_cell(column, value), ha="center", va="center_baseline", color=colour)
    axes.set_xticks(np.arange(values.shape[1] - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(values.shape[0] - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


def _shades(column: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how dark each cell is, 0 to `_SHADES`; what can't be stored stays no number."""
    if not column:
        return values
    low, high = (float(harm(column, end)) for end in SCALES[column])
    shades: NDArray[np.float64] = np.clip((harm(column, values) - low) / (high - low), 0, 1) * _SHADES
    return shades


def _luminance(colour: Any) -> float:
    """Return the relative luminance of a colour, 0 to 1 (WCAG 2, `relative luminance`)."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3])
    return float(0.2126 * red + 0.7152 * green + 0.0722 * blue)


def _label(axes: Axes, names: list[str], sizes: list[str], bits: list[int], beside: float) -> None:
    axes.xaxis.tick_top()
    axes.set_xticks(range(len(bits)), [f"{number} bit{'s' if number > 1 else ''}" for number in bits])
    axes.set_yticks([])
    for row, texts in enumerate(zip(names, sizes, strict=True)):
        for text, inches in zip(texts, (beside, 0.08), strict=True):
            axes.annotate(
                text, (0, row), (-72 * inches, 0), axes.get_yaxis_transform(), "offset points", ha="right",
                va="center_baseline", annotation_clip=False,
            )  # fmt: skip


def shortened(names: Iterable[str]) -> list[str]:
    """Return names of which long ones lack their middle: both of its ends tell a name from others."""
    whole = list(names)
    made = whole
    for most in LONGEST_NAMES:
        made = [_shortened(name, most) for name in whole]
        if len(set(made)) == len(set(whole)):
            break
    return made


def _shortened(name: str, most: int) -> str:
    end = (most - 1) // 2
    return name if len(name) <= most else f"{name[: most - 1 - end]}…{name[-end:]}"


def in_cell(column: str, value: float) -> str:
    """Return a figure as short as it says something: whole decibels from 100 on, two digits of a divergence."""
    if np.isnan(value):
        return "–"
    if column == "agreement":
        return f"{100 * value:.0f} %"
    if column != "kl_divergence":
        return "equal" if np.isinf(value) else f"{value:.0f}" if value >= 100 else f"{value:.1f}"
    if value < 5e-10:
        return "0"
    if value < 9.95e-4:
        mantissa, exponent = f"{value:.0e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{value:#.2g}".rstrip(".")


def _kilobytes(size: int) -> str:
    kilobytes = size / 1000
    return f"{kilobytes:,.0f} kB" if kilobytes >= 10 else f"{kilobytes:.1f} kB"
