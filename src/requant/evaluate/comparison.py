"""The evaluation of one variant: size, stored bits, systems, and fidelity of its outputs to the float model's."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from requant.convert import FLOAT
from requant.coreml.mapped import PIECE, Content, content_of
from requant.coreml.package import opened, read_zip
from requant.evaluate.intervals import Statistic, intervals, mcnemar, mean_of
from requant.evaluate.metrics import (
    are_distributions,
    cosines,
    divergences,
    equal,
    flip,
    in_top,
    largest_error,
    powers,
    psnr_of,
    relative_error_of,
    snr_of,
    squared_errors,
    ssim,
)
from requant.evaluate.outputs import ModelOutputs
from requant.evaluate.user_metrics import measure

Figures = dict[str, Any]
Samples = dict[str, NDArray[Any]]

TOP = 5
DEFLATED_WHOLE = 64 << 20  # bytes; of a larger file, as many in pieces are deflated
FLIP_PIXELS = 20_000_000  # of all pictures together; about half a minute
# Figures by what they are made of: the numbers that an output has of each sample.
STATISTICS: dict[str, Statistic] = {
    "psnr_db": Statistic(("squared_error",), psnr_of),
    "ssim": Statistic(("ssim",), mean_of),
    "flip": Statistic(("flip",), mean_of),
    "snr_db": Statistic(("signal", "noise"), snr_of),
    "relative_error": Statistic(("signal", "noise"), relative_error_of),
    "cosine": Statistic(("cosine",), mean_of),
    "agreement": Statistic(("agrees",), mean_of, share=1),
    "accuracy": Statistic(("correct",), mean_of, share=1),
    "accuracy_drop": Statistic(("float_correct", "correct"), np.subtract, share=2),
    "top5_accuracy": Statistic(("top5_correct",), mean_of, share=1),
    "kl_divergence": Statistic(("kl_divergence",), mean_of),
}
ABSOLUTE = ("accuracy", "top5_accuracy")  # what is no comparison with the float model


def delivered_size(path: Path) -> int:
    """Return the bytes of what is delivered: the `.mlmodel`, or all files in the `.mlpackage`."""
    if path.suffix != ".zip":
        return path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        return sum(info.file_size for info in archive.infolist())


def zipped_size(path: Path) -> int:
    """Return the bytes of what is delivered, deflated: about what it adds to a download.

    Of a file beyond `DEFLATED_WHOLE`, pieces evenly spaced over it are deflated, and stand for the rest: deflating some
    gigabytes would take longer than quantizing them.

    Raises:
        RequantError: if it can't be read.
    """
    counted = _Counted()
    estimated = 0
    with zipfile.ZipFile(counted, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target:
        for name, content in _delivered(path):
            if len(content) > DEFLATED_WHOLE:
                estimated += _estimated_deflated(content)
            else:
                target.writestr(name, content)
    return counted.size + estimated


def _delivered(path: Path) -> Iterator[tuple[str, Content]]:
    """Yield the names and the bytes of the files of what is delivered."""
    if path.suffix != ".zip":
        with opened(path) as stream:
            yield path.name, content_of(stream)
        return
    package = f"{path.name.removesuffix('.zip')}/"
    yield from ((package + name, content) for name, content in read_zip(path).items())


def _estimated_deflated(content: Content) -> int:
    """Return about how many bytes a large file takes deflated."""
    count = DEFLATED_WHOLE // PIECE
    places = [index * (len(content) - PIECE) // (count - 1) for index in range(count)]
    taken = sum(len(zlib.compress(content[place : place + PIECE], 9)) for place in places)
    return round(taken / (count * PIECE) * len(content))


class _Counted(io.RawIOBase):
    """A file of which nothing is kept but its size."""

    def __init__(self) -> None:
        self.size = self._place = 0

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        self._place = place + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self.size}[whence]
        return self._place

    def write(self, data: Any) -> int:
        count = memoryview(data).nbytes
        self._place += count
        self.size = max(self.size, self._place)
        return count


def evaluate(
    variant: Path,
    audit: Figures,
    original_bytes: int,
    outputs: ModelOutputs | None = None,
    reference: ModelOutputs | None = None,
    raised: Figures | None = None,
    conversion: Figures | None = None,
    metrics: Mapping[str, str] | None = None,
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
        metrics: the user's, as `file.py:function` by name.

    Returns:
        Sizes in bytes, the audit's figures, the data's size, for each output its figures (None for an infinite ratio:
        no difference at all) and the values of the user's metrics.

    Raises:
        RequantError: if one of the user's metrics fails.
    """
    size = delivered_size(variant)
    itself = audit["scheme"] == FLOAT
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
        "outputs": judge_outputs(outputs, reference, itself=itself) if outputs and reference else {},
        "metrics": measure(metrics or {}, outputs, reference, itself=itself) if outputs and reference else {},
        "tensors": audit["tensors"],
    }


def _data(outputs: ModelOutputs | None) -> Figures:
    """Return how many samples a model was run on, and what they are."""
    if outputs is None:
        return {"samples": 0, "synthetic": False, "labelled": False}
    return {"samples": len(outputs.names), "synthetic": outputs.synthetic, "labelled": bool(outputs.targets)}


def compare(outputs: ModelOutputs, reference: ModelOutputs) -> dict[str, Figures]:
    """Return for each output what kind it is and how it differs from the reference."""
    return {name: figures for name, figures, _ in _compared(outputs, reference)}


def judge_outputs(outputs: ModelOutputs, reference: ModelOutputs, *, itself: bool = False) -> dict[str, Figures]:
    """Return what `compare` does, and for each figure how sure it is.

    Args:
        outputs: a variant's.
        reference: the float model's.
        itself: whether both are the float model's; of a comparison with itself nothing is unsure.

    Returns:
        For each output its figures; as FIGURE_low and FIGURE_high their 95 % confidence intervals, where there are
        any; `accuracy_p`, the p value of McNemar's test against the float model; and per sample what two variants can
        be compared by: text of one digit per sample (1: yes), or numbers with spaces between them.
    """
    judged = {}
    for name, figures, samples in _compared(outputs, reference):
        wanted = {key: STATISTICS[key] for key in figures if key in STATISTICS and (not itself or key in ABSOLUTE)}
        for key, ends in _intervals(samples, wanted).items():
            figures |= {f"{key}_{end}": finite(value) for end, value in zip(("low", "high"), ends, strict=True)}
        if "correct" in samples and not itself:
            figures["accuracy_p"] = mcnemar(samples["float_correct"], samples["correct"])
        judged[name] = figures | _records(samples)
    return judged


def _intervals(samples: Samples, wanted: Mapping[str, Statistic]) -> dict[str, tuple[float, float]]:
    """Return the intervals of all figures; one made of fewer samples than the others is drawn by itself."""
    counts = {key: len(samples[each.of[0]]) for key, each in wanted.items()}
    parts = [{key: wanted[key] for key in wanted if counts[key] == count} for count in dict.fromkeys(counts.values())]
    return {key: ends for part in parts for key, ends in intervals(samples, part).items()}


def _compared(outputs: ModelOutputs, reference: ModelOutputs) -> Iterator[tuple[str, Figures, Samples]]:
    """Yield the name of each output, its figures, and the numbers of each sample that they are made of."""
    for name, pictures in outputs.pictures.items():
        yield name, *_pictures(reference.pictures[name], pictures)
    for name, arrays in outputs.arrays.items():
        yield name, *_arrays(reference.arrays[name], arrays)
    for name, labels in outputs.labels.items():
        yield name, *_labels(reference.labels[name], labels, outputs.targets)
    for name in outputs.probabilities:
        yield name, *_probabilities(name, outputs, reference)


def _pictures(wanted: NDArray[np.uint8], found: NDArray[np.uint8]) -> tuple[Figures, Samples]:
    similarity = np.array([ssim(a, b) for a, b in zip(wanted, found, strict=True)])
    samples = {"squared_error": squared_errors(wanted, found)}
    if not np.isnan(similarity).any():  # pictures smaller than the window of 11 pixels have none
        samples["ssim"] = similarity
    seen = np.array([flip(wanted[index], found[index]) for index in _shown(wanted)])
    if not np.isnan(seen).any():
        samples["flip"] = seen
    each = [finite(value) for value in psnr_of(samples["squared_error"]).tolist()]
    figures = {"worst_psnr_db": finite(float(psnr_of(samples["squared_error"].max()))), "psnr_db_of_each": each}
    return _figures("picture", samples, figures | {"max_error": largest_error(wanted, found)}), samples


def _shown(pictures: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return which pictures, evenly spaced, a figure as slow as FLIP is made of: all, unless they are very many."""
    count = int(np.clip(FLIP_PIXELS // (pictures.shape[1] * pictures.shape[2]), 1, len(pictures)))
    return np.linspace(0, len(pictures) - 1, count).round().astype(np.int64)


def _arrays(wanted: NDArray[Any], found: NDArray[Any]) -> tuple[Figures, Samples]:
    samples = {"signal": powers(wanted), "noise": squared_errors(wanted, found)}
    if wanted[0].size > 1:  # a single number has no direction
        samples["cosine"] = cosines(wanted, found)
    return _figures("array", samples, {"max_error": largest_error(wanted, found)}), samples


def _labels(wanted: list[str], found: list[str], targets: list[str]) -> tuple[Figures, Samples]:
    samples: Samples = {"agrees": equal(wanted, found)}
    if targets:
        samples |= {"correct": equal(targets, found), "float_correct": equal(targets, wanted)}
    return _figures(
        "label", samples, {"float_accuracy": float(equal(targets, wanted).mean())} if targets else {}
    ), samples


def _probabilities(name: str, outputs: ModelOutputs, reference: ModelOutputs) -> tuple[Figures, Samples]:
    wanted, found = reference.probabilities[name], outputs.probabilities[name]
    samples: Samples = {}
    if are_distributions(wanted):
        samples["kl_divergence"] = divergences(wanted, found)
    if outputs.targets and found.shape[1] == len(outputs.classes) > TOP:
        samples["top5_correct"] = in_top(found, outputs.classes, outputs.targets, TOP)
    return _figures("probabilities", samples, {"max_error": largest_error(wanted, found)}), samples


def _figures(kind: str, samples: Samples, more: Figures) -> Figures:
    """Return the figures that can be made of what is known of each sample, and some more."""
    made = {key: finite(each.value(samples)) for key, each in STATISTICS.items() if set(each.of) <= set(samples)}
    return {"type": kind, **made, **more}


def _records(samples: Samples) -> Figures:
    """Return per sample what two variants can be compared by, as text."""
    records: Figures = {key: _digits(samples[key]) for key in ("correct", "agrees", "top5_correct") if key in samples}
    if "noise" in samples:
        records["snr_db_of_each"] = _numbers(snr_of(samples["signal"], samples["noise"]))
    more = ("ssim", "flip", "cosine", "kl_divergence")
    return records | {f"{key}_of_each": _numbers(samples[key]) for key in more if key in samples}


def _digits(values: NDArray[np.bool_]) -> str:
    return "".join("1" if value else "0" for value in values)


def _numbers(values: NDArray[np.float64]) -> str:
    return " ".join(f"{value:.6g}" for value in values.tolist())


def finite(value: float) -> float | None:
    """Return a number for JSON: None where it is infinite or not a number."""
    return value if math.isfinite(value) else None
