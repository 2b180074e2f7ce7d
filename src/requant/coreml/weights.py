"""A stored weight of a model, whatever the kind of the model, and how it is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Form = Literal[
    "float32", "float16", "linear", "lookup table", "sparse",
    "linear lookup table", "sparse linear", "sparse lookup table", "sparse linear lookup table",
]  # fmt: skip
LARGEST_FLOAT16 = float(np.finfo(np.float16).max)
COMPRESSED: frozenset[Form] = frozenset(get_args(Form)) - {"float32", "float16"}


@dataclass(frozen=True)
class StoredWeight:
    """One weight tensor as it is found in a model.

    Attributes:
        name: the layer's name and the field (NeuralNetwork), or the name of the operation (ML Program).
        values: what the model computes with, float32, in the tensor's shape.
        form: how it is stored.
        bits: bits of one stored element: 32, 16, or those of a code; 0 where there is no single figure.
        stored_bytes: bytes that it takes in the file: codes, tables, scales and offsets together.
        quantizable: whether Core ML can store this tensor in fewer bits than 16.
    """

    name: str
    values: NDArray[np.float32]
    form: Form
    bits: int
    stored_bytes: int
    quantizable: bool


def bits_per_weight(weights: Sequence[StoredWeight]) -> float:
    """Return the bits that a weight takes on average, tables and scales counted in; NaN without weights."""
    count = sum(weight.values.size for weight in weights)
    return 8 * sum(weight.stored_bytes for weight in weights) / count if count else float("nan")
