"""Feature vectorizers (`FeatureVectorizer.proto`), which line features up in one array."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from requant.coreml.description import outputs_of
from requant.coreml.model import Model
from requant.errors import RequantError
from requant.runtime.classical.registry import Predict, body_of, family
from requant.runtime.classical.values import declared_value, required
from requant.runtime.features import Inputs, Outputs


@family("featureVectorizer")
def vectorizer(model: Model) -> Predict:
    """Open a feature vectorizer of numbers, arrays and dictionaries from indices to numbers."""
    columns = [(column.inputColumn, int(column.inputDimensions)) for column in body_of(model).inputList]
    (output,) = outputs_of(model)

    def predict(inputs: Inputs) -> Outputs:
        parts = [_part(inputs, name, size) for name, size in columns]
        return {output.name: declared_value(np.concatenate(parts), output)}

    return predict


def _part(inputs: Inputs, name: str, size: int) -> NDArray[np.float64]:
    value = required(inputs, name)
    if not isinstance(value, dict):
        part = np.asarray(value, np.float64).reshape(-1)
        if part.size != size:
            raise RequantError(f"the input {name!r} takes {size} numbers, but got {part.size}.")
        return part
    part = np.zeros(size)
    for index, number in value.items():
        if isinstance(index, str) or not 0 <= index < size:
            raise RequantError(f"the input {name!r} is a dictionary of indices below {size}; {index!r} is none.")
        part[index] = number
    return part
