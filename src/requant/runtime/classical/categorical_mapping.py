"""Categorical mappings (`CategoricalMapping.proto`) between strings and integers."""

from __future__ import annotations

from typing import Any

from requant.coreml.description import inputs_of, outputs_of
from requant.coreml.model import Model
from requant.errors import RequantError
from requant.runtime.classical.registry import Predict, body_of, family
from requant.runtime.classical.values import one_input, required
from requant.runtime.features import Inputs, Outputs


@family("categoricalMapping")
def mapping(model: Model) -> Predict:
    """Open a categorical mapping of one value, or of each value of a sequence."""
    body, source, (output,) = body_of(model), one_input(model, inputs_of(model)), outputs_of(model)
    kind, unknown = body.WhichOneof("MappingType"), body.WhichOneof("ValueOnUnknown")
    table: dict[Any, Any] = dict(getattr(body, kind).map) if kind else {}

    def mapped(value: Any) -> Any:
        if value not in table and unknown is None:
            raise RequantError(f"the input {source.name!r} is {value!r}, which is not in the model's mapping.")
        return table[value] if value in table else getattr(body, unknown)

    def predict(inputs: Inputs) -> Outputs:
        value = required(inputs, source.name)
        return {output.name: [mapped(item) for item in value] if isinstance(value, list) else mapped(value)}

    return predict
