"""Array feature extractors (`ArrayFeatureExtractor.proto`), which pick elements of an array."""

from __future__ import annotations

import numpy as np

from requant.coreml.description import inputs_of, outputs_of
from requant.coreml.model import Model
from requant.errors import RequantError
from requant.runtime.classical.registry import Predict, body_of, family
from requant.runtime.classical.values import declared_value, one_input, required
from requant.runtime.features import Inputs, Outputs


@family("arrayFeatureExtractor")
def extractor(model: Model) -> Predict:
    """Open an array feature extractor; its result is an array, or a number for one element."""
    source, (output,) = one_input(model, inputs_of(model)), outputs_of(model)
    indices = np.array(body_of(model).extractIndex, np.int64)

    def predict(inputs: Inputs) -> Outputs:
        array = np.asarray(required(inputs, source.name)).reshape(-1)
        if indices.max(initial=-1) >= array.size:
            raise RequantError(f"{model.path} takes the element {indices.max()} of {array.size} (counted from 0).")
        return {output.name: declared_value(array[indices], output)}

    return predict
