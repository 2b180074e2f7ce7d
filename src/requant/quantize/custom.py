"""The user's own lookup table: a Python function in a file of theirs, and the checks of what it returns.

The function has the signature of coremltools' `lut_function`: `function(bits, weights) -> (table, indices)`.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from requant.errors import RequantError
from requant.quantize.lookup import LookupTable, TableFunction
from requant.user_function import load_function


def load_table_function(reference: str) -> TableFunction:
    """Return the user's function, wrapped so that what it returns is checked.

    Args:
        reference: `file.py:function`.

    Raises:
        RequantError: if the file or the function is not there, or the file can't be imported.
    """
    return checked(load_function(reference, "custom_lut"), reference)


def checked(function: Callable[[int, NDArray[np.float32]], Any], reference: str) -> TableFunction:
    """Return a function that calls the user's and checks the table and the indices that it returns.

    The user's function gets the bit width and a copy of the weights, float32 in their shape. It returns a table of
    2**bits finite numbers and one whole-numbered index per weight, in their shape or flat, below 2**bits.
    """

    def checked_function(bits: int, weights: NDArray[np.float32]) -> LookupTable:
        try:
            result = function(bits, weights.copy())
        except Exception as error:
            raise RequantError(f"{reference} failed at {bits} bits.\n{traceback.format_exc(limit=-1)}") from error
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise RequantError(f"{reference} has to return two arrays, table and indices, not {type(result).__name__}.")
        return LookupTable(_table(result[0], bits, reference), _indices(result[1], bits, weights.shape, reference))

    return checked_function


def _table(table: Any, bits: int, reference: str) -> NDArray[np.float32]:
    try:
        numbers = np.asarray(table, np.float32)
    except (TypeError, ValueError) as error:
        raise RequantError(f"{reference} returned a table that is not made of numbers.") from error
    if numbers.shape not in ((1 << bits,), (1 << bits, 1)):
        raise RequantError(
            f"{reference} returned a table of shape {numbers.shape}; at {bits} bits it has to be ({1 << bits},)."
        )
    if not np.isfinite(numbers).all():
        raise RequantError(f"{reference} returned a table with numbers that are not finite.")
    return numbers.reshape(-1)


def _indices(indices: Any, bits: int, shape: tuple[int, ...], reference: str) -> NDArray[np.uint8]:
    try:
        whole = np.asarray(indices)
    except ValueError as error:
        raise RequantError(f"{reference} returned indices that are not an array of whole numbers.") from error
    if whole.size != int(np.prod(shape)) or whole.shape not in (shape, (whole.size,)):
        raise RequantError(f"{reference} returned indices of shape {whole.shape} for weights of shape {shape}.")
    if whole.dtype.kind not in "iuf" or (whole != np.round(whole)).any():
        raise RequantError(f"{reference} returned indices that are not whole numbers.")
    if whole.min() < 0 or whole.max() >= 1 << bits:
        raise RequantError(
            f"{reference} returned indices from {whole.min()} to {whole.max()}; at {bits} bits they have to be from 0 "
            f"to {(1 << bits) - 1}."
        )
    return whole.astype(np.uint8).reshape(shape)
