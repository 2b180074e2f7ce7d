"""Running a model by ONNX Runtime, on any machine."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from requant.coreml.description import Feature, inputs_of, outputs_of
from requant.coreml.kind import Kind
from requant.coreml.model import Model
from requant.errors import RequantError
from requant.runtime.features import Inputs, Outputs, require_inputs, tensor_to_picture, to_tensor
from requant.runtime.network import translate_network
from requant.runtime.program import translate_program
from requant.runtime.translation import Translation

QUIET = 3


def translate(model: Model) -> Translation:
    """Return a model as ONNX.

    Raises:
        RequantError: if it has a layer or an operation without a translation, naming it.
    """
    return translate_network(model) if model.kind is Kind.NEURAL_NETWORK else translate_program(model)


class OnnxRunner:
    """A model translated to ONNX and loaded by ONNX Runtime, on one thread so that its results do not vary."""

    def __init__(self, model: Model) -> None:
        """Translate and load a model.

        Raises:
            RequantError: if it has a layer or an operation without a translation, naming it.
        """
        self.inputs, self.outputs = inputs_of(model), outputs_of(model)
        self._description = model.spec.description
        self._translation = translate(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = QUIET
        try:
            self._session = onnxruntime.InferenceSession(
                self._translation.onnx_bytes, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime has no common class for its errors
            raise RequantError(f"{model.path} was translated, but ONNX Runtime refuses it: {error}") from error

    def predict(self, inputs: Inputs) -> Outputs:
        """Return the model's outputs by name; see `requant.runtime.Runner`."""
        require_inputs(inputs, self.inputs)
        feeds = {
            feature.name: self._in_graph(to_tensor(inputs[feature.name], feature), feature.name)
            for feature in self.inputs
            if feature.name in inputs
        }
        try:
            results = self._session.run(None, feeds)
        except Exception as error:  # ONNX Runtime has no common class for its errors
            left_out = [feature.name for feature in self.inputs if feature.name not in feeds]
            hint = f" The inputs {', '.join(left_out)} were left out, which requant can't do yet." if left_out else ""
            raise RequantError(f"the model could not be run.{hint} ONNX Runtime says: {error}") from error
        return self._in_features(dict(zip(self._translation.results, results, strict=True)))

    def _in_graph(self, tensor: NDArray[Any], name: str) -> NDArray[Any]:
        wanted = self._translation.inputs[name]
        return tensor.astype(wanted.dtype).reshape(wanted.shape)

    def _in_features(self, tensors: dict[str, NDArray[Any]]) -> Outputs:
        outputs: Outputs = {}
        for feature in self.outputs:
            if feature.name in tensors:
                outputs[feature.name] = _in_feature(tensors[feature.name], feature)
        if self._translation.scores:
            outputs.update(self._classes(tensors[self._translation.scores].reshape(-1)))
        return outputs

    def _classes(self, scores: NDArray[Any]) -> Outputs:
        labels = self._translation.labels
        outputs: Outputs = {self._description.predictedFeatureName: labels[int(scores.argmax())]}
        if self._description.predictedProbabilitiesName:
            probabilities = dict(zip(labels, scores.tolist(), strict=True))
            outputs[self._description.predictedProbabilitiesName] = probabilities
        return outputs


def _in_feature(tensor: NDArray[Any], feature: Feature) -> Any:
    if feature.type == "picture":
        return tensor_to_picture(tensor, feature)
    if feature.type == "array":
        shape = feature.shape if int(np.prod(feature.shape)) == tensor.size and feature.shape else tensor.shape
        return tensor.astype(feature.dtype).reshape(shape)
    return tensor.reshape(-1)[0].item()
