"""The identity (`Identity.proto`), which returns its inputs."""

from __future__ import annotations

from requant.coreml.description import inputs_of, outputs_of
from requant.coreml.model import Model
from requant.errors import RequantError
from requant.runtime.classical.registry import Predict, family


@family("identity")
def identity(model: Model) -> Predict:
    """Open an identity.

    Raises:
        RequantError: if an output has not the name of an input.
    """
    names = [output.name for output in outputs_of(model)]
    strange = sorted(set(names) - {source.name for source in inputs_of(model)})
    if strange:
        raise RequantError(f"{model.path} is an identity; its output {strange[0]!r} has not the name of an input.")
    return lambda inputs: {name: inputs[name] for name in names if name in inputs}
