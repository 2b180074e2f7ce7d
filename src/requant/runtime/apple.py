"""Running a model by Apple's own framework, on a Mac."""

from __future__ import annotations

import platform
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from requant.coreml.description import Feature, inputs_of, outputs_of
from requant.coreml.model import Model, write_package
from requant.errors import RequantError
from requant.runtime.features import Inputs, Outputs, array_to_tensor, as_picture, require_inputs
from requant.runtime.translation import ComputeUnits

COMPUTE_UNITS: dict[ComputeUnits, str] = {
    "all": "ALL", "cpu": "CPU_ONLY", "cpu-and-gpu": "CPU_AND_GPU", "cpu-and-neural-engine": "CPU_AND_NE",
}  # fmt: skip


def _lay_out(model: Model, folder: Path) -> Path:
    """Write a model of any type as Core ML loads it: as a package if files belong to it, else as one file."""
    if not model.files and model.spec.WhichOneof("Type") != "mlProgram":
        path = folder / "model.mlmodel"
        path.write_bytes(model.spec.SerializeToString(deterministic=True))
        return path
    path = folder / "model.mlpackage"
    path.mkdir()
    write_package(model, path)
    return path


class AppleRunner:
    """A model loaded by Core ML."""

    def __init__(
        self,
        model: Model,
        function: str = "",
        compute_units: ComputeUnits = "cpu",
    ) -> None:
        """Load a model.

        Args:
            model: the model.
            function: of an ML Program with several.
            compute_units: what may compute.

        Raises:
            RequantError: on any other system than macOS.
        """
        if platform.system() != "Darwin":
            raise RequantError("Apple's framework runs on macOS only; use the engine onnxruntime.")
        import coremltools

        self.inputs, self.outputs = inputs_of(model, function), outputs_of(model, function)
        self._folder = tempfile.TemporaryDirectory()
        path = _lay_out(model, Path(self._folder.name))
        self._stateful = len(model.spec.description.state) > 0
        units = coremltools.ComputeUnit[COMPUTE_UNITS[compute_units]]
        named = {"function_name": function} if function else {}
        self._model = coremltools.models.MLModel(str(path), compute_units=units, **named)

    def make_state(self) -> Any:
        """Return the states of a stateful model before its first prediction; None for any other model."""
        return self._model.make_state() if self._stateful else None

    def predict(self, inputs: Inputs, state: Any = None) -> Outputs:
        """Return the model's outputs by name; see `requant.runtime.Runner`."""
        require_inputs(inputs, self.inputs)
        values = {
            feature.name: _value(inputs[feature.name], feature)
            for feature in self.inputs
            if not (feature.optional and inputs.get(feature.name) is None)
        }
        outputs = self._model.predict(values, state=state) if state else self._model.predict(values)
        return {name: _without_alpha(value) for name, value in outputs.items()}


def _value(value: Any, feature: Feature) -> Any:
    if feature.type == "picture":
        return as_picture(value, feature)
    return array_to_tensor(value, feature) if feature.type == "array" else value


def _without_alpha(value: Any) -> Any:
    """Return a picture without the fourth channel that coremltools adds to colours; anything else as it is."""
    return value.convert("RGB") if isinstance(value, Image.Image) and value.mode == "RGBA" else value
