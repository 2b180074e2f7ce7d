"""Scalers (`Scaler.proto`): `scale * (x + shift)`, in double precision."""

from __future__ import annotations

import numpy as np

from requant.coreml.description import inputs_of, outputs_of
from requant.coreml.model import Model
from requant.errors import RequantError
from requant.runtime.classical.registry import Predict, body_of, family
from requant.runtime.classical.values import declared_value, one_input, require_numeric, vector_of
from requant.runtime.features import Inputs, Outputs


@family("scaler")
def scaler(model: Model) -> Predict:
    """Open a scaler of a number or an array."""
    body, inputs, (output,) = body_of(model), inputs_of(model), outputs_of(model)
    one_input(model, inputs)
    require_numeric(model, inputs)
    shift = np.array(body.shiftValue or [0.0], np.float64)
    scale = np.array(body.scaleValue or [1.0], np.float64)

    def predict(given: Inputs) -> Outputs:
        vector = vector_of(given, inputs)
        if shift.size not in (1, vector.size) or scale.size not in (1, vector.size):
            raise RequantError(
                f"{model.path} shifts {shift.size} numbers and scales {scale.size}, but its input holds {vector.size}."
            )
        return {output.name: declared_value(scale * (vector + shift), output)}

    return predict
