"""Pruning: the weights of least magnitude become zero, and are not stored.

The thresholds are order statistics of float32 magnitudes: percentiles computed in float16 overflow (numpy gives NaN
for large tensors), and nothing would be pruned, in silence.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from requant.errors import RequantError
from requant.quantize.scheme import Pruning
from requant.quantize.selection import UnstorableError

CHUNK = 1 << 16  # windows of n of m pruning that are sorted at once


def kept(weights: NDArray[Any], pruning: Pruning, axes: tuple[int, int], vector: int = 1) -> NDArray[np.bool_]:
    """Return which weights are kept, bool in the shape of `weights`.

    Exact zeros are never kept. Of equal magnitudes at the border, those that come first are pruned, so that exactly
    the share asked for is reached.

    Args:
        weights: any float type and shape.
        pruning: which weights become zero.
        axes: of the output channels and of the input channels.
        vector: how many neighbouring output channels are kept or pruned together, by their Euclidean norm.

    Raises:
        UnstorableError: if there are fewer input channels than `m`.
    """
    magnitude = np.abs(weights.astype(np.float32))
    if vector > 1:
        magnitude = _norms(magnitude, axes[0], vector)
    if pruning.percent:
        mask = ~_smallest(magnitude.reshape(-1), _share(magnitude.size, pruning.percent)).reshape(magnitude.shape)
    elif pruning.m:
        mask = _n_of_m(magnitude, pruning, axes[1])
    else:
        mask = magnitude > np.float32(pruning.below)
    mask = mask & (magnitude > 0)
    return np.repeat(mask, vector, axes[0]) if vector > 1 else mask


def _norms(magnitude: NDArray[np.float32], axis: int, vector: int) -> NDArray[np.float32]:
    shape = list(magnitude.shape)
    shape[axis : axis + 1] = [shape[axis] // vector, vector]
    squares = np.square(magnitude, dtype=np.float64).reshape(shape)
    return np.asarray(np.sqrt(squares.sum(axis=axis + 1)), np.float32)


def _share(count: int, percent: int) -> int:
    return round(count * percent / 100)


def _smallest(magnitude: NDArray[np.float32], count: int) -> NDArray[np.bool_]:
    """Return which of some numbers, one axis, are the `count` smallest; the first of equal ones."""
    if not count:
        return np.zeros(magnitude.shape, np.bool_)
    border = np.partition(magnitude, count - 1)[count - 1]
    below: NDArray[np.bool_] = magnitude < border
    equal = np.flatnonzero(magnitude == border)[: count - int(below.sum())]
    below[equal] = True
    return below


def _n_of_m(magnitude: NDArray[np.float32], pruning: Pruning, axis: int) -> NDArray[np.bool_]:
    channels = magnitude.shape[axis]
    if pruning.m > channels:
        raise UnstorableError(f"it has {channels} input channels, fewer than {pruning.m}")
    rows = np.moveaxis(magnitude, axis, -1)
    padded = np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, -channels % pruning.m)])
    windows = padded.reshape(*padded.shape[:-1], -1, pruning.m)
    flat = windows.reshape(-1, pruning.m)
    mask = np.ones(flat.shape, np.bool_)
    for start in range(0, len(flat), CHUNK):
        order = np.argsort(flat[start : start + CHUNK], axis=-1, kind="stable")[:, : pruning.n]
        np.put_along_axis(mask[start : start + CHUNK], order, values=False, axis=-1)
    return np.asarray(np.moveaxis(mask.reshape(padded.shape)[..., :channels], -1, axis))


def least_zeros(shape: tuple[int, ...], pruning: Pruning, axes: tuple[int, int], vector: int = 1) -> int:
    """Return how many zeros pruning has to give, whatever the numbers are; arguments as for `kept`."""
    count = int(np.prod(shape))
    if pruning.percent:
        return _share(count // vector, pruning.percent) * vector
    if pruning.m:
        windows, rest = divmod(shape[axes[1]], pruning.m)
        of_the_rest = max(pruning.n - (pruning.m - rest), 0) if rest else 0
        return count // shape[axes[1]] * (windows * pruning.n + of_the_rest)
    return 0


def require_sparsity(mask: NDArray[np.bool_], pruning: Pruning, axes: tuple[int, int], vector: int = 1) -> None:
    """Make sure that pruning reached what it was asked for; arguments as for `kept`.

    Raises:
        RequantError: if fewer weights are zero than asked for.
    """
    zeros, wanted = int(mask.size - mask.sum()), least_zeros(mask.shape, pruning, axes, vector)
    if zeros < wanted:
        raise RequantError(f"pruning made {zeros:,} of {mask.size:,} weights zero, not {wanted:,}")
