"""The sheet that shows the outputs of all variants side by side, of those that matter where there are very many.

Pictures are shown as they are. A classifier is shown as a map of its accuracy (or agreement with the float model) per
class, an array as the spread of its errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib import font_manager
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from requant.coreml.description import inputs_of
from requant.coreml.model import load
from requant.evaluate.data import Data, EvaluationData, load_data
from requant.evaluate.outputs import ModelOutputs, load_outputs
from requant.quantize.scheme import Scheme
from requant.records import read_record
from requant.report.colours import ACCENT, INK, MODE_STYLES
from requant.report.front import worth_showing
from requant.report.summary import read_summary

CELL = 128
LARGE = 256
GAP = 8
CAPTION = 42
HEADER = 26
LABEL = 136
MOST_PICTURES, MOST_ROWS = 3, 48
MOST_VARIANTS = 64  # with more, a sheet can't be looked at as a whole


@dataclass(frozen=True)
class VariantOutputs:
    """A variant's outputs with what stands under its pictures.

    Attributes:
        scheme: what was done to the weights.
        outputs: on the evaluation data.
        size_mb: of the delivered model.
        psnr_db_of_each: against the float model, a figure per picture; None where they are equal. Empty for outputs
            that are no pictures.
        recommended: whether it is the one to ship.
    """

    scheme: Scheme
    outputs: ModelOutputs
    size_mb: float
    psnr_db_of_each: Sequence[float | None]
    recommended: bool


def draw_sheet(
    model: str, data: EvaluationData, reference: ModelOutputs, float_mb: float, variants: Sequence[VariantOutputs]
) -> Image.Image:
    """Return the sheet of a model.

    Args:
        model: its name.
        data: the evaluation data, for the pictures that went in.
        reference: the float model's outputs.
        float_mb: the float model's size in MB.
        variants: all of them, in any order.
    """
    families = [v.scheme.family for v in variants]
    order = list(MODE_STYLES)
    ordered = sorted(
        variants,
        key=lambda v: (order.index(v.scheme.kind_of_mode), families.index(v.scheme.family), -v.scheme.bits),
    )
    if reference.pictures:
        return _picture_sheet(model, data, reference, float_mb, ordered)
    if reference.labels:
        return _class_map(model, reference, ordered)
    return _error_spread(model, reference, ordered)


def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    weight = "bold" if bold else "normal"
    return ImageFont.truetype(font_manager.findfont(font_manager.FontProperties("DejaVu Sans", weight=weight)), size)


def _picture_sheet(
    model: str, data: EvaluationData, reference: ModelOutputs, float_mb: float, variants: Sequence[VariantOutputs]
) -> Image.Image:
    output = next(iter(reference.pictures))
    families = {v.scheme.family for v in variants}
    count = max(1, min(MOST_PICTURES, len(reference.names), MOST_ROWS // len(families)))
    blocks = [
        _block(index, input_picture(data.inputs(index)), reference.pictures[output][index], float_mb, variants, output)
        for index in range(count)
    ]
    width = max(block.width for block in blocks)
    sheet = Image.new("RGB", (width, sum(block.height for block in blocks) + 50), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, 12), f"{model}: photograph, float model, and every variant", INK, _font(22, bold=True))
    top = 50
    for block in blocks:
        sheet.paste(block, (0, top))
        top += block.height
    return sheet


def input_picture(inputs: Mapping[str, Any]) -> Image.Image | None:
    """Return the first picture among a sample's inputs, None where there is none."""
    pictures = [value for value in inputs.values() if isinstance(value, Image.Image)]
    return pictures[0] if pictures else None


def _block(
    index: int,
    photograph: Image.Image | None,
    float_picture: NDArray[np.uint8],
    float_mb: float,
    variants: Sequence[VariantOutputs],
    output: str,
) -> Image.Image:
    """Return one photograph with all that became of it: left the large pictures, right a grid of families and bits."""
    bits = sorted({v.scheme.bits for v in variants}, reverse=True)
    families = {v.scheme.family: v.scheme.kind_of_mode for v in variants}
    label = max(LABEL, *(int(_font(14, bold=True).getlength(family)) + 2 * GAP for family in families))
    left = LARGE + 3 * GAP
    width = left + label + len(bits) * (CELL + GAP)
    height = max(HEADER + len(families) * (CELL + CAPTION), 2 * (LARGE + CAPTION)) + 2 * GAP
    block = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(block)
    if photograph is not None:
        _place(block, photograph, (GAP, HEADER), LARGE, "photograph", INK)
    float_top = HEADER + (LARGE + CAPTION if photograph is not None else 0)
    _place(block, Image.fromarray(float_picture), (GAP, float_top), LARGE, f"float model\n{float_mb:.2f} MB", INK)
    for column, number in enumerate(bits):
        text = f"{number} bit" + ("s" if number > 1 else "") if number else "pruned"
        draw.text((left + label + column * (CELL + GAP), 2), text, INK, _font(16, bold=True))
    for row, (family, mode) in enumerate(families.items()):
        place = (left, HEADER + row * (CELL + CAPTION) + CELL // 2)
        draw.text(place, family, MODE_STYLES[mode][0], _font(14, bold=True))
    for variant in variants:
        place = (
            left + label + bits.index(variant.scheme.bits) * (CELL + GAP),
            HEADER + list(families).index(variant.scheme.family) * (CELL + CAPTION),
        )
        picture = Image.fromarray(variant.outputs.pictures[output][index])
        colour = ACCENT if variant.recommended else INK
        _place(block, picture, place, CELL, _caption(variant, index), colour)
        if variant.recommended:
            x, y = place
            draw.rectangle((x - 3, y - 3, x + CELL + 2, y + CELL + 2), outline=ACCENT, width=3)
    return block


def _caption(variant: VariantOutputs, index: int) -> str:
    decibels = variant.psnr_db_of_each[index]
    quality = "equal" if decibels is None else f"{decibels:.1f} dB"
    return f"{variant.size_mb:.2f} MB\n{quality}"


def _place(
    block: Image.Image, picture: Image.Image, place: tuple[int, int], side: int, caption: str, colour: str
) -> None:
    shown = picture.convert("RGB")
    shown.thumbnail((side, side), Image.Resampling.LANCZOS)
    block.paste(shown, place)
    ImageDraw.Draw(block).multiline_text((place[0], place[1] + side + 2), caption, colour, _font(14), spacing=1)


def _class_map(model: str, reference: ModelOutputs, variants: Sequence[VariantOutputs]) -> Image.Image:
    """Return a map of the share of right labels per class and variant."""
    output = next(iter(reference.labels))
    wanted = reference.targets or reference.labels[output]
    classes = sorted(set(wanted), key=_natural)
    rows = [("float", reference), *((str(v.scheme), v.outputs) for v in variants)]
    shares = np.array([[_share(outputs.labels[output], wanted, label) for label in classes] for _, outputs in rows])
    height = 1.6 + 0.3 * len(rows)
    figure, axes = plt.subplots(figsize=(max(6.0, 2.5 + 0.62 * len(classes)), height), layout="constrained")
    image = axes.imshow(shares, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(classes)), classes)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.set_xlabel("class")
    for (y, x), share in np.ndenumerate(shares):
        axes.text(x, y, f"{100 * share:.0f}", ha="center", va="center", fontsize=8,
                  color="black" if share > 0.55 else "white")  # fmt: skip
    what = "right labels" if reference.targets else "labels equal to the float model's"
    axes.set_title(f"{model}: {what} per class (%)")
    figure.colorbar(image, ax=axes, format=mpl.ticker.PercentFormatter(1.0))
    return rendered(figure)


def _natural(label: str) -> tuple[int, str]:
    return (int(label), "") if label.isdigit() else (0, label)


def _share(found: list[str], wanted: list[str], label: str) -> float:
    chosen = [a == b for a, b in zip(found, wanted, strict=True) if b == label]
    return float(np.mean(chosen))


def _error_spread(model: str, reference: ModelOutputs, variants: Sequence[VariantOutputs]) -> Image.Image:
    """Return the spread of absolute errors of each variant's first array: quartiles, 5th and 95th percentile."""
    output = next(iter(reference.arrays))
    wanted = reference.arrays[output].astype(np.float64)
    figure, axes = plt.subplots(figsize=(8, 1.6 + 0.3 * len(variants)), layout="constrained")
    for row, variant in enumerate(variants):
        errors = np.abs(variant.outputs.arrays[output].astype(np.float64) - wanted)
        low, first, middle, third, high = np.percentile(errors, [5, 25, 50, 75, 95])
        colour, marker = MODE_STYLES[variant.scheme.kind_of_mode]
        axes.plot([low, high], [row, row], color=colour, linewidth=1)
        axes.plot([first, third], [row, row], color=colour, linewidth=4)
        axes.plot(middle, row, marker, color=INK, markersize=4)
    axes.set_yticks(range(len(variants)), [str(v.scheme) for v in variants])
    axes.invert_yaxis()
    axes.set_xscale("symlog", linthresh=max(float(np.abs(wanted).max()) * 1e-6, 1e-12))
    axes.set_xlabel("absolute error (5th, 25th, 50th, 75th and 95th percentile)")
    axes.set_title(f"{model}: errors of the output {output} against the float model")
    return rendered(figure)


def rendered(figure: Any) -> Image.Image:
    """Return a figure as a picture, and close it."""
    figure.set_dpi(120)
    figure.canvas.draw()
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
    plt.close(figure)
    return picture


def make_sheet(
    name: str,
    float_model: Path,
    data: Data,
    table: Path,
    judgement: Path,
    evaluations: Sequence[Path],
    outputs: Sequence[Path],
    output: Path,
) -> None:
    """Write the sheet of a model as a PNG file.

    Args:
        name: of the model.
        float_model: its file, which says what its inputs are.
        data: the evaluation data, None for made-up inputs.
        table: of all variants.
        judgement: the record of the recommendation.
        evaluations: the records of the float model and of all variants.
        outputs: their outputs, in the same order.
        output: where to write the sheet.
    """
    summary = read_summary(table, judgement)
    chosen = set(worth_showing(summary, MOST_VARIANTS))
    records = [read_record(path) for path in evaluations]
    variants = [
        VariantOutputs(
            Scheme.parse(record["scheme"]),
            load_outputs(path),
            record["bytes"] / 1e6,
            _psnr_of_each(record),
            record["scheme"] == summary.recommendation.scheme,
        )
        for record, path in zip(records[1:], outputs[1:], strict=True)
        if record["scheme"] in chosen
    ]
    samples = load_data(data, inputs_of(load(float_model)))
    sheet = draw_sheet(name, samples, load_outputs(outputs[0]), records[0]["bytes"] / 1e6, variants)
    sheet.save(output, format="PNG", optimize=True)


def _psnr_of_each(record: dict[str, Any]) -> list[float | None]:
    pictures = [figures for figures in record["outputs"].values() if figures["type"] == "picture"]
    return list(pictures[0]["psnr_db_of_each"]) if pictures else []
