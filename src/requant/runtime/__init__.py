"""Running a Core ML model from the very file that would be shipped, on any machine.

    model = load(Path("results/digits/variants/digits_kmeans_4.mlpackage.zip"))
    model.predict({"image": picture})

On a Mac this is Apple's framework. Everywhere, it is a translation of the model, compressed weights included, to ONNX,
run by ONNX Runtime. The translation computes in float32 what the model declares as float16. Models that are no networks
(trees, linear models, support vectors and the like) are computed by numpy, and pipelines model by model.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from requant.runtime.translation import ComputePrecision, ComputeUnits

if TYPE_CHECKING:  # the command line reads the choices above, and should not wait for coremltools
    from requant.coreml.description import Feature
    from requant.coreml.model import Model
    from requant.runtime.features import Inputs, Outputs

Engine = Literal["auto", "apple", "onnxruntime"]


class Runner(Protocol):
    """A loaded model."""

    inputs: list[Feature]
    outputs: list[Feature]

    def predict(self, inputs: Inputs, state: Any = None) -> Outputs:
        """Return the model's outputs by name.

        Args:
            inputs: by name: a PIL image or an array (height, width[, 3]) of 0 to 255 for a picture, an array for an
                array, a dictionary, a string or a number. An input that the model declares as optional may be left out.
            state: of a stateful model, from `make_state`; it is changed.

        Returns:
            A PIL image for a picture, an array for an array, a dictionary from labels to probabilities, a label, a
            number.

        Raises:
            RequantError: if an input is missing, unknown, or has another shape or type than the model declares.
        """
        ...

    def make_state(self) -> Any:
        """Return the state of a stateful model before its first prediction, with `read_state` and `write_state`."""
        ...


def load(
    path: Path,
    engine: Engine = "auto",
    *,
    function: str = "",
    compute_precision: ComputePrecision = "float32",
    compute_units: ComputeUnits = "cpu",
) -> Runner:
    """Load a model from a `.mlmodel`, an `.mlpackage` folder or an `.mlpackage.zip`.

    Args:
        path: the model's file.
        engine: Apple's framework (macOS only), ONNX Runtime, or whichever is better here.
        function: of an ML Program with several; by default the one that it names as its default.
        compute_precision: of ML Programs: `float32` computes everything in float32, `float16` rounds the result of each
            operation that the program types as float16, as a device may.
        compute_units: what Apple's framework may compute with.

    Raises:
        RequantError: if the file can't be read, or has a layer or an operation without a translation, naming it.
    """
    from requant.coreml.model import load as load_model

    return open_model(
        load_model(Path(path)),
        engine,
        function=function,
        compute_precision=compute_precision,
        compute_units=compute_units,
    )


def open_model(
    model: Model,
    engine: Engine = "auto",
    *,
    function: str = "",
    compute_precision: ComputePrecision = "float32",
    compute_units: ComputeUnits = "cpu",
) -> Runner:
    """Return a runner for a model that is in memory already; see `load`."""
    from requant.coreml.reading import reading

    with reading(model.path):
        return _opened(model, engine, function, compute_precision, compute_units)


def _opened(
    model: Model, engine: Engine, function: str, compute_precision: ComputePrecision, compute_units: ComputeUnits
) -> Runner:
    if engine == "apple" or (engine == "auto" and sys.platform == "darwin"):
        from requant.runtime.apple import AppleRunner

        return AppleRunner(model, function, compute_units)
    from requant.runtime.classical import FAMILIES, REFUSED, ClassicalRunner
    from requant.runtime.onnx_runner import OnnxRunner
    from requant.runtime.pipeline import PIPELINES, PipelineRunner

    body = model.spec.WhichOneof("Type")
    if body in PIPELINES:
        return PipelineRunner(model, lambda stage: open_model(stage, engine, compute_precision=compute_precision))
    if body in FAMILIES or body in REFUSED:
        return ClassicalRunner(model)
    return OnnxRunner(model, function, compute_precision)
