"""Lookup tables: every number becomes an index into a table of 2**bits numbers (Apple's word: palettization)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from requant.quantize.kmeans import kmeans
from requant.quantize.linear import quantize_linear


@dataclass(frozen=True)
class LookupTable:
    """A table and the indices into it.

    Attributes:
        table: float32, (2**bits,).
        indices: uint8, in the tensor's shape.
    """

    table: NDArray[np.float32]
    indices: NDArray[np.uint8]


TableFunction = Callable[[int, NDArray[np.float32]], LookupTable]


def evenly_spaced(bits: int, weights: NDArray[np.float32]) -> LookupTable:
    """Return a table that reaches in even steps from the least to the greatest number of a tensor.

    The `linear_lut` mode of coremltools' `quantize_weights`.
    """
    codes = quantize_linear(weights.reshape(1, -1), bits)
    steps = np.arange(1 << bits) * codes.scale[0].astype(np.float64) + codes.bias[0]
    return LookupTable(steps.astype(np.float32), codes.codes.reshape(weights.shape))


def clustered(bits: int, weights: NDArray[np.float32]) -> LookupTable:
    """Return the table whose sum of squared errors over a tensor is least, found by k-means."""
    table, indices = kmeans(weights, 1 << bits)
    return LookupTable(table, indices)
