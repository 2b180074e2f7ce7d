"""Figures that compare a variant's outputs with the float model's, computed in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

PEAK = 255.0
SSIM_WINDOW = 11  # pixels, of the Gaussian weights below


def psnr(reference: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the peak signal-to-noise ratio in dB, `10 log10(255**2 / mean squared error)`; infinite if equal.

    Args:
        reference: numbers from 0 to 255, any shape.
        other: of the same shape.
    """
    error = float(np.square(reference.astype(np.float64) - other.astype(np.float64)).mean())
    return 10 * math.log10(PEAK**2 / error) if error else math.inf


def ssim(reference: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Return the structural similarity of two pictures, 1 if equal (Wang et al. 2004, with its Gaussian weights).

    Args:
        reference: uint8 (height, width) or (height, width, 3).
        other: of the same shape.

    Returns:
        NaN for pictures smaller than the window of 11 pixels.
    """
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


def largest_error(reference: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the largest absolute difference."""
    return float(np.abs(other.astype(np.float64) - reference.astype(np.float64)).max())


def agreement(first: list[str], second: list[str]) -> float:
    """Return the share, 0 to 1, of samples that have the same label in both lists."""
    return float(np.mean([a == b for a, b in zip(first, second, strict=True)]))


def divergence(reference: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the mean Kullback-Leibler divergence of `other` from `reference` over the samples, in nats.

    Args:
        reference: probabilities (samples, classes).
        other: of the same shape; probabilities below 1e-12 count as that.
    """
    p = np.clip(reference.astype(np.float64), 1e-12, None)
    q = np.clip(other.astype(np.float64), 1e-12, None)
    return float((p * np.log(p / q)).sum(axis=1).mean())
