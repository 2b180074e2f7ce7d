"""An example of a lookup table of one's own, for the mode `custom_lut`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 256


def panter_dite(bits: int, weights: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Spread the entries of the table as the cube root of the density of the weights.

    That is the best spread for the squared error where there are many entries (Panter and Dite 1951, "Quantization
    distortion in pulse-count modulation with nonuniform spacing of levels"). The function is called once for each
    tensor.

    Args:
        bits: the bit width of the indices, 1 to 8.
        weights: float32, in the shape of the tensor.

    Returns:
        The table, 2**bits numbers, and the index of the nearest entry for each weight.
    """
    counts, edges = np.histogram(weights, BINS)
    share = np.concatenate([[0.0], np.cumsum(np.cbrt(counts))])
    wanted = (np.arange(1 << bits) + 0.5) / (1 << bits) * share[-1]
    table = np.interp(wanted, share, edges).astype(np.float32)
    borders = (table[1:] + table[:-1]) / 2
    return table, np.searchsorted(borders, weights).astype(np.uint8)
