"""Linear quantization: numbers become evenly spaced codes, with a scale and an offset per channel, block or tensor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

CHUNK = 1 << 18  # numbers that are worked on at once in float64: keeps the memory small


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
    """Codes of a tensor: `(code - zero_point) * scale`, with the scale and zero point of its block.

    Attributes:
        codes: int8 or uint8, in the tensor's shape.
        scale: float16 or float32; as many axes as the tensor, along each the number of blocks.
        zero_point: of the type of the codes, in the shape of the scale; 0 throughout for signed symmetric codes.
    """

    codes: NDArray[Any]
    scale: NDArray[np.floating[Any]]
    zero_point: NDArray[Any]


def _chunks(rows: NDArray[Any]) -> Iterator[tuple[slice, slice]]:
    """Yield slices of rows and of their numbers that together hold about `CHUNK` numbers each."""
    step = max(1, CHUNK // max(rows.shape[1], 1))
    for start in range(0, len(rows), step):
        for first in range(0, rows.shape[1], CHUNK):
            yield slice(start, start + step), slice(first, first + CHUNK)


def _rows_of_channels(weights: NDArray[Any], axis: int) -> NDArray[Any]:
    moved = np.moveaxis(weights, axis, 0)
    return moved.reshape(moved.shape[0], -1)


def _channels_in_shape(rows: NDArray[Any], shape: tuple[int, ...], axis: int) -> NDArray[Any]:
    moved = (shape[axis], *(size for i, size in enumerate(shape) if i != axis % len(shape)))
    return np.ascontiguousarray(np.moveaxis(rows.reshape(moved), 0, axis))


def _column(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[:, np.newaxis]


def _divided(numbers: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rows of numbers in steps of each row's scale; zeros where that is 0."""
    steps = _column(scale)
    return np.divide(numbers, steps, out=np.zeros_like(numbers), where=steps > 0)


def quantize_linear(weights: NDArray[np.float32], bits: int, axis: int = 0) -> LinearCodes:
    """Quantize a tensor so that the codes of a channel reach from its least to its greatest number.

    `scale = (max - min) / (2**bits - 1)`, `bias = min`, `code = round((w - bias) / scale)`: the `linear` mode of
    coremltools' `quantize_weights`. A channel of equal numbers is stored exactly.

    Args:
        weights: float32, any shape with at least one axis.
        bits: 1 to 8.
        axis: of the output channels.
    """
    rows = _rows_of_channels(weights, axis)
    low, high = _range(rows)
    scale = (high - low) / ((1 << bits) - 1)
    codes = np.empty(rows.shape, np.uint8)
    for part in _chunks(rows):
        steps = _divided(rows[part].astype(np.float64) - _column(low[part[0]]), scale[part[0]])
        codes[part] = np.clip(np.round(steps), 0, (1 << bits) - 1)
    return LinearCodes(_channels_in_shape(codes, weights.shape, axis), scale.astype(np.float32), low.astype(np.float32))


def quantize_symmetric(weights: NDArray[np.float32], bits: int, axis: int = 0) -> LinearCodes:
    """Quantize a tensor so that zero has a code of its own and the range is the same on both sides of it.

    `scale = max|w| / (2**(bits-1) - 1)`, `bias = -2**(bits-1) * scale`: the `linear_symmetric` mode of coremltools'
    `quantize_weights`. Arguments as for `quantize_linear`; bits from 2 on.
    """
    rows = _rows_of_channels(weights, axis)
    half = 1 << (bits - 1)
    scale = _largest(rows) / (half - 1)
    codes = np.empty(rows.shape, np.uint8)
    for part in _chunks(rows):
        steps = _divided(rows[part].astype(np.float64), scale[part[0]])
        codes[part] = np.clip(np.round(steps + half), 0, (1 << bits) - 1)
    bias = -half * scale
    return LinearCodes(
        _channels_in_shape(codes, weights.shape, axis), scale.astype(np.float32), bias.astype(np.float32)
    )


def _largest(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Return the largest magnitude of each row."""
    low, high = _range(rows)
    return np.maximum(-low, high)


def _range(rows: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the least and the greatest number of each row; numpy compares float16 slowly, so not as float16."""
    low, high = np.full(len(rows), np.inf), np.full(len(rows), -np.inf)
    for part in _chunks(rows):
        numbers = rows[part].astype(np.float32, copy=False)
        low[part[0]] = np.minimum(low[part[0]], numbers.min(axis=1))
        high[part[0]] = np.maximum(high[part[0]], numbers.max(axis=1))
    return low, high


def quantize_affine(
    weights: NDArray[Any],
    bits: int,
    blocks: tuple[int, ...],
    dtype: DTypeLike = np.float32,
    *,
    signed: bool = False,
    symmetric: bool = False,
) -> AffineCodes:
    """Quantize a tensor with a whole-numbered zero point per block, as an ML Program stores it.

    Asymmetric: the range of a block is widened to hold zero, which is then stored exactly (Jacob et al. 2018,
    arXiv:1712.05877, section 2.1): `scale = (max - min) / (2**bits - 1)`, `zero_point = round(-min / scale)`.
    Symmetric: `scale = max|w| / (2**(bits-1) - 1)`, and the zero point is 0, or in the middle of unsigned codes; one
    code at the end is not used, as in coremltools' `linear_symmetric`. The scale is rounded up to a number of the type
    in which it is stored, and the codes are made for that: the error is at most half a step.

    Args:
        weights: float16 or float32, any shape.
        bits: 8 or 4.
        blocks: how many blocks there are along each axis; each divides the size.
        dtype: of the scale.
        signed: whether codes are int8 instead of uint8.
        symmetric: whether the range is the same on both sides of zero.

    Raises:
        ValueError: if a number of blocks does not divide the size of its axis.
    """
    rows = _rows_of_blocks(weights, blocks)
    half, top = 1 << (bits - 1), (1 << bits) - 1
    if symmetric:
        stored = rounded_up(_largest(rows) / (half - 1), dtype)
        zero = np.full(len(rows), half - 1, np.float64)
        top -= 1
    else:
        least, greatest = _range(rows)
        low, high = np.minimum(least, 0), np.maximum(greatest, 0)
        stored = rounded_up((high - low) / top, dtype)
        zero = np.clip(np.round(-low / stored.astype(np.float64)), 0, top)
    scale, shift = stored.astype(np.float64), 0
    if signed:
        shift = half - 1 if symmetric else half
    codes = np.empty(rows.shape, np.int8 if signed else np.uint8)
    for part in _chunks(rows):
        steps = rows[part].astype(np.float64) / _column(scale[part[0]]) + _column(zero[part[0]])
        codes[part] = np.clip(np.round(steps), 0, top) - shift
    zero_point = (zero - shift).astype(codes.dtype)
    return AffineCodes(
        _blocks_in_shape(codes, weights.shape, blocks), stored.reshape(blocks), zero_point.reshape(blocks)
    )


def _split(shape: tuple[int, ...], blocks: tuple[int, ...]) -> list[int]:
    """Return a shape with two axes for each: the blocks, and the size of one."""
    if len(blocks) != len(shape) or any(size % count for size, count in zip(shape, blocks, strict=True)):
        raise ValueError(f"blocks {blocks} for a tensor of shape {shape}")
    return [part for size, count in zip(shape, blocks, strict=True) for part in (count, size // count)]


def _rows_of_blocks(weights: NDArray[Any], blocks: tuple[int, ...]) -> NDArray[Any]:
    """Return weights as (blocks, numbers of a block)."""
    split = weights.reshape(_split(weights.shape, blocks))
    order = [*range(0, split.ndim, 2), *range(1, split.ndim, 2)]
    return split.transpose(order).reshape(int(np.prod(blocks)), -1)


def _blocks_in_shape(rows: NDArray[Any], shape: tuple[int, ...], blocks: tuple[int, ...]) -> NDArray[Any]:
    """Return what `_rows_of_blocks` made in the shape of the tensor again."""
    split = _split(shape, blocks)
    apart = rows.reshape([*split[::2], *split[1::2]])
    order = [axis for pair in zip(range(len(shape)), range(len(shape), 2 * len(shape)), strict=True) for axis in pair]
    return np.ascontiguousarray(apart.transpose(order).reshape(shape))


def rounded_up(scale: NDArray[np.float64], dtype: DTypeLike) -> NDArray[np.floating[Any]]:
    """Return scales as numbers of a type that are not below them; 1 for 0."""
    wanted = np.where(scale > 0, scale, 1.0)
    nearest = wanted.astype(dtype)
    above: NDArray[np.floating[Any]] = np.nextafter(nearest, np.array(np.inf, dtype))
    return np.where(nearest < wanted, above, nearest)
