"""One-hot encoders (`OneHotEncoder.proto`)."""

from __future__ import annotations

import numpy as np

from requant.coreml.description import inputs_of, outputs_of
from requant.coreml.model import Model
from requant.errors import RequantError
from requant.runtime.classical.registry import Predict, body_of, family
from requant.runtime.classical.values import declared_value, one_input, required
from requant.runtime.features import Inputs, Outputs


@family("oneHotEncoder")
def encoder(model: Model) -> Predict:
    """Open a one-hot encoder; its result is an array, or a dictionary with the one index that is set."""
    body, source, (output,) = body_of(model), one_input(model, inputs_of(model)), outputs_of(model)
    kind = body.WhichOneof("CategoryType")
    categories = list(getattr(body, kind).vector) if kind else []
    positions = {category: index for index, category in enumerate(categories)}

    def predict(inputs: Inputs) -> Outputs:
        value = required(inputs, source.name)
        position = positions.get(value)
        if position is None and body.handleUnknown == body.ErrorOnUnknown:
            raise RequantError(f"the input {source.name!r} is {value!r}, which is none of the categories.")
        if body.outputSparse:
            return {output.name: {} if position is None else {position: 1.0}}
        array = np.zeros(len(categories))
        array[[] if position is None else [position]] = 1
        return {output.name: declared_value(array, output)}

    return predict
