"""What the page shows of a model's outputs sample by sample, as one record with all pictures in it.

Pictures: what went in, what the float model and the variants made of it, for a slider between any two. Classifiers: the
samples whose label a variant changed. Arrays: the float model's, the variants' and their differences as heat maps.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from requant.coreml.description import inputs_of
from requant.coreml.model import load
from requant.evaluate.data import EvaluationData, load_data
from requant.evaluate.outputs import ModelOutputs, load_outputs
from requant.records import read_record, write_record
from requant.report.colours import INK
from requant.report.sheet import input_picture, rendered

MOST_SAMPLES = 3
MOST_VARIANTS = 18
MOST_FLIPS = 12
MOST_HEAT_MAPS = 6
WHOLE_FAMILIES = ("linear", "kmeans")
QUALITY = 72  # of the WebP pictures on the page; the files beside it have every pixel
THUMBNAIL = 96


def make_viewer(
    float_model: Path,
    data: Any,
    evaluations: Sequence[Path],
    outputs: Sequence[Path],
    judgement: Path,
    output: Path,
) -> None:
    """Write the record of what the page shows sample by sample.

    Args:
        float_model: its file, which says what its inputs are.
        data: the evaluation data, as `requant.evaluate.data.load_data` takes it.
        evaluations: the records of the float model and of all variants.
        outputs: their outputs, in the same order.
        judgement: the record of the recommendation.
        output: where to write it.
    """
    records = [read_record(path) for path in evaluations]
    chosen = shown(records[1:], read_record(judgement)["recommended"])
    samples = load_data(data, inputs_of(load(float_model)))
    reference = load_outputs(outputs[0])
    pairs = zip(records[1:], outputs[1:], strict=True)
    variants = {record["scheme"]: load_outputs(path) for record, path in pairs if record["scheme"] in chosen}
    sizes = {record["scheme"]: record["bytes"] / 1e6 for record in records}
    write_record(output, view(samples, reference, variants, sizes))


def shown(records: Sequence[dict[str, Any]], recommended: str | None) -> set[str]:
    """Return which variants are shown: the recommended one, those of the plain families, and then the largest."""
    plain = [r["scheme"] for r in records if r["scheme"].rpartition("_")[0] in WHOLE_FAMILIES]
    by_size = [r["scheme"] for r in sorted(records, key=lambda record: -record["bytes"])]
    ordered = [*([recommended] if recommended else []), *plain, *by_size]
    return set(list(dict.fromkeys(ordered))[:MOST_VARIANTS])


def view(
    data: EvaluationData, reference: ModelOutputs, variants: dict[str, ModelOutputs], sizes: dict[str, float]
) -> dict[str, Any]:
    """Return the record for a model's kind of output.

    Args:
        data: the evaluation data.
        reference: the float model's outputs.
        variants: those of the variants that are shown, by scheme.
        sizes: in MB, by scheme.
    """
    if reference.pictures:
        return _pictures(data, reference, variants, sizes)
    if reference.labels:
        return _flips(data, reference, variants)
    return _heat_maps(reference, variants)


def _pictures(
    data: EvaluationData, reference: ModelOutputs, variants: dict[str, ModelOutputs], sizes: dict[str, float]
) -> dict[str, Any]:
    name = next(iter(reference.pictures))
    samples = []
    for index in range(min(MOST_SAMPLES, len(reference.names))):
        wanted = reference.pictures[name][index]
        layers = [{"name": "float model", "source": picture_uri(wanted), "note": f"{sizes['float']:.2f} MB"}]
        photograph = input_picture(data.inputs(index))
        if photograph is not None:
            layers.insert(0, {"name": "photograph", "source": picture_uri(photograph), "note": "what went in"})
        for scheme, outputs in variants.items():
            found = outputs.pictures[name][index]
            layers.append({"name": scheme, "source": picture_uri(found), "note": _note(wanted, found, sizes[scheme])})
        samples.append({"name": reference.names[index], "layers": layers})
    return {"kind": "pictures", "samples": samples}


def _note(wanted: NDArray[np.uint8], found: NDArray[np.uint8], megabytes: float) -> str:
    largest = int(np.abs(wanted.astype(np.int16) - found.astype(np.int16)).max())
    return f"{megabytes:.2f} MB, " + (f"differs by at most {largest} of 255" if largest else "equal")


def picture_uri(picture: Image.Image | NDArray[np.uint8], side: int | None = None) -> str:
    """Return a picture as a data URI, at most `side` pixels large if that is given; small ones without loss."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image = image.convert("RGB")
    if side and max(image.size) > side:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=max(image.size) <= THUMBNAIL, quality=QUALITY, method=6)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _flips(data: EvaluationData, reference: ModelOutputs, variants: dict[str, ModelOutputs]) -> dict[str, Any]:
    """Return for each variant the samples to which it gives another label than the float model."""
    name = next(iter(reference.labels))
    wanted = reference.labels[name]
    groups = []
    for scheme, outputs in variants.items():
        flipped = [i for i, (a, b) in enumerate(zip(wanted, outputs.labels[name], strict=True)) if a != b]
        samples = [
            {
                "name": reference.names[i],
                "source": _thumbnail(data, i),
                "float": wanted[i],
                "variant": outputs.labels[name][i],
                "target": reference.targets[i] if reference.targets else None,
            }
            for i in flipped[:MOST_FLIPS]
        ]
        groups.append({"name": scheme, "count": len(flipped), "of": len(wanted), "samples": samples})
    return {"kind": "labels", "groups": groups}


def _thumbnail(data: EvaluationData, index: int) -> str | None:
    inputs = data.inputs(index)
    picture = input_picture(inputs)
    if picture is None:
        arrays = [np.asarray(value) for value in inputs.values() if not isinstance(value, str)]
        grey = [array for array in arrays if array.ndim == 2 and min(array.shape) > 1 and array.dtype == np.uint8]
        picture = Image.fromarray(grey[0]) if grey else None
    return None if picture is None else picture_uri(picture, THUMBNAIL)


def _heat_maps(reference: ModelOutputs, variants: dict[str, ModelOutputs]) -> dict[str, Any]:
    """Return a picture with the first sample's array of the float model, of variants, and their differences."""
    name = next(iter(reference.arrays), None)
    if name is None or not variants:
        return {"kind": "none"}
    wanted = _as_map(reference.arrays[name][0])
    chosen = list(variants)[:MOST_HEAT_MAPS]
    found = [_as_map(variants[scheme].arrays[name][0]) for scheme in chosen]
    return {"kind": "arrays", "output": name, "sample": reference.names[0], "source": _drawn(wanted, found, chosen)}


def _as_map(array: NDArray[Any]) -> NDArray[np.float64]:
    """Return an array as rows and columns: its last two axes that are longer than 1, the first of all others."""
    squeezed = np.asarray(array, np.float64).squeeze()
    while squeezed.ndim > 2:
        squeezed = squeezed[0]
    return np.atleast_2d(squeezed)


def _drawn(wanted: NDArray[Any], found: Sequence[NDArray[Any]], names: Sequence[str]) -> str:
    lowest, highest = float(wanted.min()), float(wanted.max())
    width = max(float(np.abs(each - wanted).max()) for each in found) or 1.0
    figure, axes = plt.subplots(
        len(found) + 1, 2, figsize=(9, 1.5 * (len(found) + 1)), layout="constrained", squeeze=False
    )
    look = {"aspect": "auto", "interpolation": "nearest"}
    for row, (title, values) in enumerate([("float model", wanted), *zip(names, found, strict=True)]):
        axes[row, 0].imshow(values, cmap="cividis", vmin=lowest, vmax=highest, **look)
        axes[row, 0].set_title(title, fontsize=9, color=INK)
        axes[row, 1].imshow(values - wanted, cmap="PuOr", vmin=-width, vmax=width, **look)
        axes[row, 1].set_title(f"difference, at most {np.abs(values - wanted).max():.2g}", fontsize=9, color=INK)
    for each in axes.flat:
        each.set_xticks([])
        each.set_yticks([])
    return picture_uri(rendered(figure))
