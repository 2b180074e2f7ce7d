"""An example of a lookup table of one's own, for the mode `custom_lut`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def quantiles(bits: int, weights: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Put the entries of the table where the weights are dense: each entry serves about as many weights.

    The function is called once for each tensor.

    Args:
        bits: the bit width of the indices, 1 to 8.
        weights: float32, in the shape of the tensor.

    Returns:
        The table, 2**bits numbers, and the index of the nearest entry for each weight.
    """
    shares = (np.arange(1 << bits) + 0.5) / (1 << bits)
    table = np.quantile(weights, shares).astype(np.float32)
    borders = (table[1:] + table[:-1]) / 2
    return table, np.searchsorted(borders, weights).astype(np.uint8)
