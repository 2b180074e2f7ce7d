"""Dictionary vectorizers (`DictVectorizer.proto`), which put the values of a dictionary at the indices of its keys."""

from __future__ import annotations

import numpy as np

from requant.coreml.description import inputs_of, outputs_of
from requant.coreml.model import Model
from requant.runtime.classical.registry import Predict, body_of, family
from requant.runtime.classical.values import declared_value, one_input, required
from requant.runtime.features import Inputs, Outputs


@family("dictVectorizer")
def vectorizer(model: Model) -> Predict:
    """Open a dictionary vectorizer; its result is an array, or a dictionary from indices to values.

    Keys that it does not know are left out: coremltools' tests of the converter of scikit-learn's `DictVectorizer` hold
    it to that.
    """
    body, source, (output,) = body_of(model), one_input(model, inputs_of(model)), outputs_of(model)
    kind = body.WhichOneof("Map")
    keys = list(getattr(body, kind).vector) if kind else []
    positions = {key: index for index, key in enumerate(keys)}

    def predict(inputs: Inputs) -> Outputs:
        found = {positions[key]: value for key, value in required(inputs, source.name).items() if key in positions}
        if output.type == "dictionary":
            return {output.name: found}
        array = np.zeros(len(keys))
        array[list(found)] = list(found.values())
        return {output.name: declared_value(array, output)}

    return predict
