"""Normalizers (`Normalizer.proto`): an array divided by its norm, in double precision."""

from __future__ import annotations

import numpy as np

from requant.coreml.description import inputs_of, outputs_of
from requant.coreml.model import Model
from requant.runtime.classical.registry import Predict, body_of, family
from requant.runtime.classical.values import declared_value, one_input, require_numeric, vector_of
from requant.runtime.features import Inputs, Outputs


@family("normalizer")
def normalizer(model: Model) -> Predict:
    """Open a normalizer; an array whose norm is zero stays as it is, as with scikit-learn's, which it is made from."""
    body, inputs, (output,) = body_of(model), inputs_of(model), outputs_of(model)
    one_input(model, inputs)
    require_numeric(model, inputs)

    def predict(given: Inputs) -> Outputs:
        vector = vector_of(given, inputs)
        if body.normType == body.LMax:
            norm = vector.max(initial=-np.inf)
        elif body.normType == body.L1:
            norm = np.abs(vector).sum()
        else:
            norm = np.sqrt(np.square(vector).sum())
        return {output.name: declared_value(vector / norm if norm else vector, output)}

    return predict
