"""Linear quantization: numbers become evenly spaced codes, with a scale and an offset per channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


@dataclass(frozen=True)
class LinearCodes:
    """Codes of a tensor: `code * scale + bias` is the number, with the scale and bias of its channel.

    Attributes:
        codes: uint8, in the tensor's shape.
        scale: float32, (channels,).
        bias: float32, (channels,).
    """

    codes: NDArray[np.uint8]
    scale: NDArray[np.float32]
    bias: NDArray[np.float32]


@dataclass(frozen=True)
class AffineCodes:
    """Codes of a tensor: `(code - zero_point) * scale`, with the scale and zero point of its channel.

    Attributes:
        codes: uint8, in the tensor's shape.
        scale: float16 or float32, (channels,).
        zero_point: uint8, (channels,).
    """

    codes: NDArray[np.uint8]
    scale: NDArray[np.floating[Any]]
    zero_point: NDArray[np.uint8]


def by_channel(weights: NDArray[np.float32], axis: int) -> NDArray[np.float64]:
    """Return weights as float64 (channels, elements of a channel)."""
    moved = np.moveaxis(weights, axis, 0)
    return moved.reshape(moved.shape[0], -1).astype(np.float64)


def _in_shape(codes: NDArray[np.float64], weights: NDArray[np.float32], axis: int, bits: int) -> NDArray[np.uint8]:
    moved = np.moveaxis(weights, axis, 0).shape
    whole = np.clip(np.round(codes), 0, (1 << bits) - 1).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(whole.reshape(moved), 0, axis))


def _column(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[:, np.newaxis]


def quantize_linear(weights: NDArray[np.float32], bits: int, axis: int = 0) -> LinearCodes:
    """Quantize a tensor so that the codes of a channel reach from its least to its greatest number.

    `scale = (max - min) / (2**bits - 1)`, `bias = min`, `code = round((w - bias) / scale)`: the `linear` mode of
    coremltools' `quantize_weights`. A channel of equal numbers is stored exactly.

    Args:
        weights: float32, any shape with at least one axis.
        bits: 1 to 8.
        axis: of the output channels.
    """
    channels = by_channel(weights, axis)
    low, high = channels.min(axis=1), channels.max(axis=1)
    scale = (high - low) / ((1 << bits) - 1)
    codes = np.divide(channels - _column(low), _column(scale), out=np.zeros_like(channels), where=_column(scale) > 0)
    return LinearCodes(_in_shape(codes, weights, axis, bits), scale.astype(np.float32), low.astype(np.float32))


def quantize_symmetric(weights: NDArray[np.float32], bits: int, axis: int = 0) -> LinearCodes:
    """Quantize a tensor so that zero has a code of its own and the range is the same on both sides of it.

    `scale = max|w| / (2**(bits-1) - 1)`, `bias = -2**(bits-1) * scale`: the `linear_symmetric` mode of coremltools'
    `quantize_weights`. Arguments as for `quantize_linear`; bits from 2 on.
    """
    channels = by_channel(weights, axis)
    half = 1 << (bits - 1)
    scale = np.abs(channels).max(axis=1) / (half - 1)
    ratio = np.divide(channels, _column(scale), out=np.zeros_like(channels), where=_column(scale) > 0)
    bias = -half * scale
    return LinearCodes(_in_shape(ratio + half, weights, axis, bits), scale.astype(np.float32), bias.astype(np.float32))


def quantize_affine(
    weights: NDArray[np.float32], bits: int, axis: int = 0, dtype: DTypeLike = np.float32
) -> AffineCodes:
    """Quantize a tensor with a whole-numbered zero point, as an ML Program stores it.

    The range of a channel is widened to hold zero, which is then stored exactly (Jacob et al. 2018,
    arXiv:1712.05877, section 2.1): `scale = (max - min) / (2**bits - 1)`, `zero_point = round(-min / scale)`.
    The scale is rounded up to a number of the type in which it is stored, and the codes are made for that.
    Arguments as for `quantize_linear`, and `dtype`, the type of the scale.
    """
    channels = by_channel(weights, axis)
    low, high = np.minimum(channels.min(axis=1), 0), np.maximum(channels.max(axis=1), 0)
    scale = (high - low) / ((1 << bits) - 1)
    stored = _rounded_up(np.where(scale > 0, scale, 1.0), dtype)
    scale = stored.astype(np.float64)
    zero_point = np.clip(np.round(-low / scale), 0, (1 << bits) - 1)
    codes = channels / _column(scale) + _column(zero_point)
    return AffineCodes(_in_shape(codes, weights, axis, bits), stored, zero_point.astype(np.uint8))


def _rounded_up(values: NDArray[np.float64], dtype: DTypeLike) -> NDArray[np.floating[Any]]:
    nearest = values.astype(dtype)
    above: NDArray[np.floating[Any]] = np.nextafter(nearest, np.array(np.inf, dtype))
    return np.where(nearest < values, above, nearest)
