"""Running a pipeline: models one after another, which pass features on by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from requant.coreml.description import Feature, inputs_of, outputs_of
from requant.coreml.kind import PIPELINES
from requant.coreml.model import Model
from requant.coreml.pipeline import stages_of
from requant.errors import RequantError
from requant.runtime.features import Inputs, Outputs, require_inputs

__all__ = ["PIPELINES", "PipelineRunner", "stages_of"]


class Stage(Protocol):
    """What runs one model of a pipeline; see `requant.runtime.Runner`."""

    inputs: list[Feature]
    outputs: list[Feature]

    def predict(self, inputs: Inputs, state: Any = None) -> Outputs:
        """Return the outputs by name."""
        ...

    def make_state(self) -> Any:
        """Return the state before the first prediction."""
        ...


class PipelineRunner:
    """A pipeline of any models, pipelines among them."""

    def __init__(self, model: Model, open_stage: Callable[[Model], Stage]) -> None:
        """Open all models of a pipeline.

        Args:
            model: the pipeline.
            open_stage: opens one of its models.

        Raises:
            RequantError: if a model can't be opened, or reads what neither the pipeline's inputs nor a model before it
                give, naming it.
        """
        self.inputs, self.outputs = inputs_of(model), outputs_of(model)
        self._names: list[str] = []
        self._stages: list[Stage] = []
        known = {feature.name for feature in self.inputs}
        for name, stage in stages_of(model):
            try:
                runner = open_stage(stage)
            except RequantError as error:
                raise RequantError(f"the model {name!r} of a pipeline can't be run. {error}") from error
            for feature in runner.inputs:
                if feature.name not in known and not feature.optional:
                    raise RequantError(
                        f"{model.path}: the model {name!r} of the pipeline reads {feature.name!r}, which nothing makes."
                    )
            known |= {feature.name for feature in runner.outputs}
            self._names.append(name)
            self._stages.append(runner)
        for feature in self.outputs:
            if feature.name not in known:
                raise RequantError(
                    f"{model.path} declares the output {feature.name!r}, which none of its models makes."
                )

    def make_state(self) -> list[Any]:
        """Return the states of all models before the first prediction, in their order."""
        return [stage.make_state() for stage in self._stages]

    def predict(self, inputs: Inputs, state: Sequence[Any] | None = None) -> Outputs:
        """Return the pipeline's outputs by name; see `requant.runtime.Runner`."""
        require_inputs(inputs, self.inputs)
        features: Outputs = dict(inputs)
        states = state if state is not None else [None] * len(self._stages)
        for name, stage, held in zip(self._names, self._stages, states, strict=True):
            given = {feature.name: features[feature.name] for feature in stage.inputs if feature.name in features}
            try:
                features |= stage.predict(given, held)
            except RequantError as error:
                raise RequantError(f"in the model {name!r} of the pipeline: {error}") from error
        return {feature.name: features[feature.name] for feature in self.outputs if feature.name in features}
