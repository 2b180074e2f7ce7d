"""Running a model by Apple's own framework, on a Mac."""

from __future__ import annotations

import platform
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from requant.coreml.description import inputs_of, outputs_of
from requant.coreml.kind import Kind
from requant.coreml.model import Model, unpack_package
from requant.errors import RequantError
from requant.records import write_whole
from requant.runtime.features import Inputs, Outputs, array_to_tensor, require_inputs


class AppleRunner:
    """A model loaded by Core ML, computed on the CPU in float32 where the model allows it."""

    def __init__(self, model: Model) -> None:
        """Load a model.

        Raises:
            RequantError: on any other system than macOS.
        """
        if platform.system() != "Darwin":
            raise RequantError("Apple's framework runs on macOS only; use the engine onnxruntime.")
        import coremltools

        self.inputs, self.outputs = inputs_of(model), outputs_of(model)
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name) / ("model.mlmodel" if model.kind is Kind.NEURAL_NETWORK else "model.mlpackage")
        if model.kind is Kind.NEURAL_NETWORK:
            write_whole(path, model.spec.SerializeToString(deterministic=True))
        else:
            unpack_package(model, path)
        self._model = coremltools.models.MLModel(str(path), compute_units=coremltools.ComputeUnit.CPU_ONLY)

    def predict(self, inputs: Inputs) -> Outputs:
        """Return the model's outputs by name; see `requant.runtime.Runner`."""
        require_inputs(inputs, self.inputs)
        values = {}
        for feature in self.inputs:
            if feature.name in inputs:
                value = inputs[feature.name]
                if feature.type == "picture" and not isinstance(value, Image.Image):
                    value = Image.fromarray(np.asarray(value, np.uint8))
                if feature.type == "picture":
                    value = value.convert("L" if feature.colour.startswith("GRAYSCALE") else "RGB")
                values[feature.name] = array_to_tensor(value, feature) if feature.type == "array" else value
        return dict(self._model.predict(values))
