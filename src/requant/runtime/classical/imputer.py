"""Imputers (`Imputer.proto`), which put something in the place of missing values.

Missing is what equals the model's `ReplaceValue`, and an input that is left out; where no `ReplaceValue` is set, NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from requant.coreml.description import inputs_of, outputs_of
from requant.coreml.model import Model
from requant.errors import RequantError
from requant.runtime.classical.registry import Predict, body_of, family
from requant.runtime.classical.values import declared_value, one_input
from requant.runtime.features import Inputs, Outputs


@family("imputer")
def imputer(model: Model) -> Predict:
    """Open an imputer of a number, a string or an array.

    Raises:
        RequantError: if it is one of dictionaries, for which Apple does not say what is missing.
    """
    body, source, (output,) = body_of(model), one_input(model, inputs_of(model)), outputs_of(model)
    kind = body.WhichOneof("ImputedValue") or "none"
    if kind.endswith("Dictionary") or kind == "none":
        raise RequantError(
            f"{model.path} is an imputer with {kind}; Apple's description leaves open which values of it are missing."
        )
    imputed = getattr(body, kind)
    imputed = np.array(imputed.vector) if kind.endswith("Array") else imputed
    replaced = body.WhichOneof("ReplaceValue")
    marker = getattr(body, replaced) if replaced else np.nan

    def predict(inputs: Inputs) -> Outputs:
        value = inputs.get(source.name)
        if source.type == "array":
            array = np.full(source.shape, np.nan) if value is None else value
            gaps = np.ones(array.shape, bool) if value is None else _missing(array, marker)
            return {output.name: declared_value(np.where(gaps, imputed, array), output)}
        if value is None or _is_missing(value, marker):
            value = imputed
        return {output.name: declared_value(value, output)}

    return predict


def _missing(array: NDArray[Any], marker: float) -> NDArray[np.bool_]:
    return np.asarray(np.isnan(array) if np.isnan(marker) else array == marker)


def _is_missing(value: Any, marker: Any) -> bool:
    if isinstance(marker, float) and np.isnan(marker):
        return isinstance(value, float) and bool(np.isnan(value))
    return bool(value == marker)
