"""Running a Core ML model from the very file that would be shipped, on any machine.

    model = load(Path("results/digits/variants/digits_kmeans_4.mlpackage.zip"))
    model.predict({"image": picture})

On a Mac this is Apple's framework. Everywhere, it is a translation of the model, compressed weights included, to ONNX,
run by ONNX Runtime. The translation computes in float32 what the model declares as float16.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal, Protocol

from requant.coreml.description import Feature
from requant.coreml.model import load as load_model
from requant.runtime.features import Inputs, Outputs

Engine = Literal["auto", "apple", "onnxruntime"]


class Runner(Protocol):
    """A loaded model."""

    inputs: list[Feature]
    outputs: list[Feature]

    def predict(self, inputs: Inputs) -> Outputs:
        """Return the model's outputs by name.

        Args:
            inputs: by name: a PIL image or an array (height, width[, 3]) of 0 to 255 for a picture, an array for an
                array.

        Returns:
            A PIL image for a picture, an array for an array, a dictionary from labels to probabilities, a label.

        Raises:
            RequantError: if an input is missing, unknown, or has another shape or type than the model declares.
        """
        ...


def load(path: Path, engine: Engine = "auto") -> Runner:
    """Load a model from a `.mlmodel`, an `.mlpackage` folder or an `.mlpackage.zip`.

    Args:
        path: the model's file.
        engine: Apple's framework (macOS only), ONNX Runtime, or whichever is better here.

    Raises:
        RequantError: if the file can't be read, or has a layer or an operation without a translation, naming it.
    """
    model = load_model(path)
    if engine == "apple" or (engine == "auto" and sys.platform == "darwin"):
        from requant.runtime.apple import AppleRunner

        return AppleRunner(model)
    from requant.runtime.onnx_runner import OnnxRunner

    return OnnxRunner(model)
