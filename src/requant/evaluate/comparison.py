"""The evaluation of one variant: size, stored bits, systems, and fidelity of its outputs to the float model's."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from requant.coreml.audit import signal_to_noise
from requant.evaluate.metrics import agreement, divergence, largest_error, psnr, ssim
from requant.evaluate.outputs import ModelOutputs

Figures = dict[str, Any]


def delivered_size(path: Path) -> int:
    """Return the bytes of what is delivered: the `.mlmodel`, or all files in the `.mlpackage`."""
    if path.suffix != ".zip":
        return path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        return sum(info.file_size for info in archive.infolist())


def zipped_size(path: Path) -> int:
    """Return the bytes of what is delivered, deflated: about what it adds to a download."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target:
        if path.suffix != ".zip":
            target.write(path, path.name)
        else:
            with zipfile.ZipFile(path) as source:
                for info in source.infolist():
                    target.writestr(info.filename, source.read(info))
    return len(buffer.getvalue())


def evaluate(
    variant: Path,
    audit: Figures,
    original_bytes: int,
    outputs: ModelOutputs | None = None,
    reference: ModelOutputs | None = None,
    raised: Figures | None = None,
    conversion: Figures | None = None,
) -> Figures:
    """Return all figures of a variant.

    Args:
        variant: the delivered file.
        audit: what it stores (`requant.coreml.audit`).
        original_bytes: the size of the preserved original.
        outputs: the variant's, on the evaluation data; None for a model that was not run.
        reference: the float model's, on the same data.
        raised: the proof that a newer operator set leaves the float model's outputs unchanged, where the variant needs
            one (`requant.evaluate.raised`).
        conversion: the check of the float model against its source (`requant.evaluate.source`), where there is one.

    Returns:
        Sizes in bytes, the audit's figures, the data's size, and for each output its figures (None for an infinite
        ratio: no difference at all).
    """
    size = delivered_size(variant)
    return {
        "file": variant.name,
        "bytes": size,
        "zip_bytes": zipped_size(variant),
        "original_bytes": original_bytes,
        "ratio": original_bytes / size,
        **{key: value for key, value in audit.items() if key != "tensors"},
        "data": _data(outputs),
        "raised": raised,
        "conversion": conversion,
        "outputs": compare(outputs, reference) if outputs and reference else {},
        "tensors": audit["tensors"],
    }


def _data(outputs: ModelOutputs | None) -> Figures:
    """Return how many samples a model was run on, and what they are."""
    if outputs is None:
        return {"samples": 0, "synthetic": False, "labelled": False}
    return {"samples": len(outputs.names), "synthetic": outputs.synthetic, "labelled": bool(outputs.targets)}


def compare(outputs: ModelOutputs, reference: ModelOutputs) -> dict[str, Figures]:
    """Return for each output what kind it is and how it differs from the reference."""
    figures: dict[str, Figures] = {}
    for name, pictures in outputs.pictures.items():
        figures[name] = {"type": "picture", **_pictures(reference.pictures[name], pictures)}
    for name, arrays in outputs.arrays.items():
        wanted = reference.arrays[name]
        error = largest_error(wanted, arrays)
        figures[name] = {"type": "array", "snr_db": finite(signal_to_noise(wanted, arrays)), "max_error": error}
    for name, labels in outputs.labels.items():
        figures[name] = {"type": "label", **_labels(reference.labels[name], labels, outputs.targets)}
    for name, probabilities in outputs.probabilities.items():
        wanted = reference.probabilities[name]
        figures[name] = {
            "type": "probabilities",
            "kl_divergence": divergence(wanted, probabilities),
            "max_error": largest_error(wanted, probabilities),
        }
    return figures


def _pictures(wanted: Any, found: Any) -> Figures:
    each = [psnr(a, b) for a, b in zip(wanted, found, strict=True)]
    similarity = [ssim(a, b) for a, b in zip(wanted, found, strict=True)]
    return {
        "psnr_db": finite(psnr(wanted, found)),
        "worst_psnr_db": finite(min(each)),
        "ssim": finite(float(np.mean(similarity))),
        "max_error": largest_error(wanted, found),
        "psnr_db_of_each": [finite(value) for value in each],
    }


def _labels(wanted: list[str], found: list[str], targets: list[str]) -> Figures:
    figures: Figures = {"agreement": agreement(wanted, found)}
    if targets:
        figures |= {"accuracy": agreement(targets, found), "float_accuracy": agreement(targets, wanted)}
    return figures


def finite(value: float) -> float | None:
    """Return a number for JSON: None where it is infinite or not a number."""
    return value if math.isfinite(value) else None
