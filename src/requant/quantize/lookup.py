"""Lookup tables: every number becomes an index into a table of 2**bits numbers (Apple's word: palettization)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from requant.quantize.kmeans import Distribution, kmeans
from requant.quantize.linear import quantize_linear
from requant.quantize.selection import UnstorableError


@dataclass(frozen=True)
class LookupTable:
    """A table and the indices into it.

    Attributes:
        table: float32, (2**bits,).
        indices: uint8, in the tensor's shape.
    """

    table: NDArray[np.float32]
    indices: NDArray[np.uint8]


TableFunction = Callable[[int, NDArray[Any]], LookupTable]


def evenly_spaced(bits: int, weights: NDArray[Any]) -> LookupTable:
    """Return a table that reaches in even steps from the least to the greatest number of a tensor.

    The `linear_lut` mode of coremltools' `quantize_weights`.
    """
    codes = quantize_linear(weights.reshape(1, -1), bits)
    steps = np.arange(1 << bits) * codes.scale[0].astype(np.float64) + codes.bias[0]
    return LookupTable(steps.astype(np.float32), codes.codes.reshape(weights.shape))


def clustered(bits: int, weights: NDArray[Any]) -> LookupTable:
    """Return the table whose sum of squared errors over a tensor is least, found by k-means."""
    return LookupTable(*kmeans(weights, 1 << bits))


def distinct(bits: int, weights: NDArray[Any]) -> LookupTable:
    """Return the distinct numbers of a tensor in ascending order, the last repeated to fill the table.

    Raises:
        UnstorableError: if they are more than the table has room for.
    """
    values, indices = np.unique(weights.astype(np.float32), return_inverse=True)
    if len(values) > 1 << bits:
        raise UnstorableError(f"it has {len(values):,} distinct numbers, a table of {bits} bits holds {1 << bits}")
    table = np.concatenate([values, np.repeat(values[-1:], (1 << bits) - len(values))])
    return LookupTable(table.astype(np.float32), indices.astype(np.uint8).reshape(weights.shape))


def count_distinct(weights: NDArray[Any]) -> int:
    """Return how many distinct numbers there are."""
    return len(Distribution.of(weights).values)


def distinct_bits(count: int, bits: int, available: tuple[int, ...]) -> int:
    """Return the fewest available bits, at most `bits`, whose table holds `count` numbers; `bits` if none does."""
    return min((b for b in available if b <= bits and count <= 1 << b), default=bits)
