"""Class confidence thresholds (`ClassConfidenceThresholding.proto`): confidences, and a row that says which count.

The format describes that all classes count, whatever the curves of precision and recall are.
"""

from __future__ import annotations

import numpy as np

from requant.coreml.description import inputs_of, outputs_of
from requant.coreml.model import Model
from requant.runtime.classical.registry import Predict, family
from requant.runtime.classical.values import declared_value, one_input, required
from requant.runtime.features import Inputs, Outputs


@family("classConfidenceThresholding")
def thresholding(model: Model) -> Predict:
    """Open a model of class confidence thresholds; its result is (2, classes)."""
    source, (output,) = one_input(model, inputs_of(model)), outputs_of(model)

    def predict(inputs: Inputs) -> Outputs:
        confidences = np.asarray(required(inputs, source.name)).reshape(-1)
        return {output.name: declared_value(np.stack([confidences, np.ones_like(confidences)]), output)}

    return predict
