"""Figures that compare a variant's outputs with the float model's, computed in float64.

What is said of many samples is made from one number per sample wherever that is possible, so that its uncertainty can
be told from the same numbers (`requant.evaluate.intervals`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    import flip_evaluator
except ImportError:  # Linux on ARM: there is no build of it
    flip_evaluator = None

Numbers = NDArray[np.float64]

PEAK = 255.0
SSIM_WINDOW = 11  # pixels, of the Gaussian weights below
LEAST_PROBABILITY = 1e-12  # a smaller one counts as this in a divergence, whose logarithm would be infinite
SUM_TOLERANCE = 0.01  # how far the sum of probabilities may be from 1: float16 leaves it 0.1 % off or so
LOWEST_DB = -999.0  # the ratio where there is noise and no signal at all
_BLOCK = 1 << 22  # numbers that are looked at at a time


def psnr(reference: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the peak signal-to-noise ratio in dB, `10 log10(255**2 / mean squared error)`; infinite if equal.

    Args:
        reference: numbers from 0 to 255, any shape.
        other: of the same shape.
    """
    return float(psnr_of(np.square(reference.astype(np.float64) - other.astype(np.float64)).mean()))


def psnr_of(squared_error: Any) -> Numbers:
    """Return the peak signal-to-noise ratio in dB of mean squared errors; infinite where there is none."""
    with np.errstate(divide="ignore"):
        ratio: Numbers = 10 * np.log10(PEAK**2 / np.asarray(squared_error, np.float64))
    return ratio


def ssim(reference: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Return the structural similarity of two pictures, 1 if equal (Wang et al. 2004, with its Gaussian weights).

    Args:
        reference: uint8 (height, width) or (height, width, 3).
        other: of the same shape.

    Returns:
        NaN for pictures smaller than the window of 11 pixels.
    """
    from skimage.metrics import structural_similarity  # takes half a second to import, and only pictures need it

    if min(reference.shape[:2]) < SSIM_WINDOW:
        return math.nan
    return float(
        structural_similarity(
            reference,
            other,
            data_range=PEAK,
            channel_axis=-1 if reference.ndim == 3 else None,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def flip(reference: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Return the mean FLIP error of two pictures: how much a viewer sees who flips between them, from 0 (nothing) to 1.

    Andersson et al., FLIP: A Difference Evaluator for Alternating Images, 2020, by its authors' own library, for a
    viewer with 67 pixels per degree (a screen of 3840 pixels and 0.7 m, seen from 0.7 m).

    Args:
        reference: uint8 (height, width) or (height, width, 3), sRGB.
        other: of the same shape.

    Returns:
        NaN where the library does not exist for the machine.
    """
    if flip_evaluator is None:
        return math.nan
    colours = (np.broadcast_to(np.atleast_3d(each), (*each.shape[:2], 3)) for each in (reference, other))
    pair = [np.divide(each, PEAK, dtype=np.float32, order="C") for each in colours]
    errors, *_ = flip_evaluator.evaluate(*pair, "LDR", applyMagma=False, computeMeanError=False)
    return float(np.asarray(errors, np.float64).mean())


def squared_errors(reference: NDArray[Any], other: NDArray[Any]) -> Numbers:
    """Return the mean squared difference of each sample, the samples along the first axis."""
    return _of_each(lambda a, b: np.square(b - a).mean(axis=1), reference, other)


def powers(reference: NDArray[Any]) -> Numbers:
    """Return the mean square of each sample's numbers, the samples along the first axis."""
    return _of_each(lambda a, _: np.square(a).mean(axis=1), reference, reference)


def snr_of(signal: Any, noise: Any) -> Numbers:
    """Return the signal-to-noise ratio `10 log10(signal / noise)` of powers in dB.

    It is infinite where there is no noise, and `LOWEST_DB` where there is noise but no signal.
    """
    signals, noises = np.asarray(signal, np.float64), np.asarray(noise, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = 10 * np.log10(signals / noises)
    return np.where(noises == 0, np.inf, np.maximum(ratio, LOWEST_DB))


def relative_error_of(signal: Any, noise: Any) -> Numbers:
    """Return the root mean square of a difference divided by that of the reference, from their mean squares.

    It is 0 where there is no difference, and infinite where there is one but the reference is all zeros.
    """
    signals, noises = np.asarray(signal, np.float64), np.asarray(noise, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.sqrt(noises / signals)
    return np.where(noises == 0, 0.0, ratio)


def cosines(reference: NDArray[Any], other: NDArray[Any]) -> Numbers:
    """Return the cosine similarity of each sample's numbers, taken as one vector: 1 where they have one direction.

    Two vectors of zeros are equal, 1; one of zeros has no direction in common with any other, 0.
    """
    return _of_each(_cosine, reference, other)


def _cosine(first: Numbers, second: Numbers) -> Numbers:
    lengths = np.sqrt(np.square(first).sum(axis=1)), np.sqrt(np.square(second).sum(axis=1))
    product = lengths[0] * lengths[1]
    cosine = np.divide((first * second).sum(axis=1), product, out=np.zeros_like(product), where=product > 0)
    return np.where((lengths[0] == 0) & (lengths[1] == 0), 1.0, np.clip(cosine, -1, 1))


def largest_error(reference: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the largest absolute difference."""
    return float(_of_each(lambda a, b: np.abs(b - a).max(axis=1), reference, other).max())


def equal(first: Sequence[str], second: Sequence[str]) -> NDArray[np.bool_]:
    """Return for each sample whether it has the same label in both lists."""
    return np.array([a == b for a, b in zip(first, second, strict=True)], bool)


def agreement(first: Sequence[str], second: Sequence[str]) -> float:
    """Return the share, 0 to 1, of samples that have the same label in both lists."""
    return float(equal(first, second).mean())


def in_top(
    probabilities: NDArray[Any], classes: Sequence[str], targets: Sequence[str], count: int
) -> NDArray[np.bool_]:
    """Return for each sample whether its right class is among the `count` most probable.

    Of classes with the same probability the first counts as the more probable, as it does for the label itself. A right
    class that the model does not know is never among them.

    Args:
        probabilities: (samples, classes).
        classes: the labels of the columns.
        targets: the right label of each sample.
        count: how many classes are looked at.
    """
    columns = {name: column for column, name in reversed(list(enumerate(classes)))}
    places = np.array([columns.get(target, -1) for target in targets])[:, None]
    own = np.take_along_axis(probabilities, np.maximum(places, 0), axis=1)
    before = (probabilities > own) | ((probabilities == own) & (np.arange(len(classes)) < places))
    found: NDArray[np.bool_] = (places[:, 0] >= 0) & (before.sum(axis=1) < count)
    return found


def are_distributions(probabilities: NDArray[Any]) -> bool:
    """Return whether every row is a distribution: no number below 0, and a sum of 1 but for rounding."""
    sums = probabilities.astype(np.float64).sum(axis=1)
    return bool((probabilities >= 0).all() and (np.abs(sums - 1) <= SUM_TOLERANCE).all())


def divergences(reference: NDArray[Any], other: NDArray[Any]) -> Numbers:
    """Return each sample's Kullback-Leibler divergence of `other` from `reference`, `sum p log(p / q)`, in nats.

    Kullback & Leibler, On information and sufficiency, 1951. It is 0 for equal distributions, and never less.

    Args:
        reference: distributions (samples, classes).
        other: of the same shape; probabilities below 1e-12 count as that.
    """
    p, q = (np.clip(each.astype(np.float64), LEAST_PROBABILITY, None) for each in (reference, other))
    p, q = (each / each.sum(axis=1, keepdims=True) for each in (p, q))
    divergence: Numbers = np.maximum((p * np.log(p / q)).sum(axis=1), 0.0)  # rounding may leave -1e-17
    return divergence


def divergence(reference: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the mean Kullback-Leibler divergence over the samples, in nats; see `divergences`."""
    return float(divergences(reference, other).mean())


def _of_each(function: Callable[[Numbers, Numbers], Numbers], first: NDArray[Any], second: NDArray[Any]) -> Numbers:
    """Return what a function of two arrays (samples, numbers) gives for all samples, in little memory."""
    return np.concatenate([function(a, b) for a, b in _blocks(first, second)])


def _blocks(*arrays: NDArray[Any]) -> Iterator[tuple[Numbers, ...]]:
    samples = len(arrays[0])
    step = max(1, _BLOCK * samples // max(1, arrays[0].size))
    for start in range(0, samples, step):
        parts = [array[start : start + step] for array in arrays]
        yield tuple(part.reshape(len(part), -1).astype(np.float64) for part in parts)
