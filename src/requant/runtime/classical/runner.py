"""Running a model that is no network."""

from __future__ import annotations

from typing import Any

from requant.coreml.description import inputs_of, outputs_of
from requant.coreml.model import Model
from requant.errors import RequantError
from requant.runtime.classical.registry import FAMILIES, REFUSED
from requant.runtime.classical.values import plain_value
from requant.runtime.features import Inputs, Outputs, require_inputs
from requant.runtime.refusal import naming


class ClassicalRunner:
    """A linear model, a tree ensemble, a scaler: any model that is neither a network nor a pipeline."""

    def __init__(self, model: Model) -> None:
        """Open a model.

        Raises:
            RequantError: if it is damaged, or can't be run anywhere but by Apple's framework.
        """
        body = model.spec.WhichOneof("Type") or "none"
        if body not in FAMILIES:
            reason = REFUSED.get(body, "requant does not know this type")
            raise RequantError(f"{model.path}: a model of type {body} can't be run here: {reason}.")
        with naming(model.path, f"a model of type {body}"):
            self.inputs, self.outputs = inputs_of(model), outputs_of(model)
            self._predict = FAMILIES[body](model)

    def make_state(self) -> Any:
        """Return None: these models have no states."""
        return None

    def predict(self, inputs: Inputs, state: Any = None) -> Outputs:
        """Return the model's outputs by name; see `requant.runtime.Runner`."""
        del state
        require_inputs(inputs, self.inputs)
        given = {f.name: plain_value(inputs[f.name], f) for f in self.inputs if f.name in inputs}
        return self._predict(given)
