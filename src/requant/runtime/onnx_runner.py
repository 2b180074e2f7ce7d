"""Running a model by ONNX Runtime, on any machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from requant.coreml.description import Feature, inputs_of, outputs_of, predicted_names
from requant.coreml.kind import Kind
from requant.coreml.model import Model
from requant.errors import RequantError
from requant.runtime.features import (
    Inputs,
    Outputs,
    array_as_declared,
    array_to_tensor,
    require_inputs,
    tensor_to_picture,
    to_tensor,
)
from requant.runtime.network import translate_network
from requant.runtime.program import translate_program
from requant.runtime.refusal import naming
from requant.runtime.translation import ComputePrecision, GraphInput, Translation

QUIET = 3


def translate(model: Model, function: str = "", precision: ComputePrecision = "float32") -> Translation:
    """Return a model as ONNX; see `requant.runtime.load`.

    Raises:
        RequantError: if it has a layer or an operation without a translation, naming it.
    """
    if model.kind is Kind.ML_PROGRAM:
        return translate_program(model, function, precision)
    if function:
        raise RequantError(f"{model.path} is a NeuralNetwork, which has no functions to choose from.")
    return translate_network(model)


class State:
    """What a stateful model remembers from one prediction to the next."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Start with these arrays, by the names of the model's states."""
        self._arrays = dict(arrays)  # a runner replaces them by its results, and changes none of them

    @property
    def names(self) -> list[str]:
        """The names of the states."""
        return list(self._arrays)

    def read_state(self, name: str) -> NDArray[Any]:
        """Return the array of a state.

        Raises:
            RequantError: if there is no such state.
        """
        return self.held(name).copy()

    def held(self, name: str) -> NDArray[Any]:
        """Return the array of a state itself, which is not to be changed.

        Raises:
            RequantError: if there is no such state.
        """
        if name not in self._arrays:
            raise RequantError(f"there is no state {name!r}; the model has {', '.join(self._arrays)}.")
        return self._arrays[name]

    def replace(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take arrays that a prediction made for the states, as they are."""
        self._arrays.update(arrays)

    def write_state(self, name: str, value: NDArray[Any]) -> None:
        """Replace the array of a state.

        Raises:
            RequantError: if there is no such state, or it has another shape.
        """
        held = self.held(name)
        if held.shape != np.shape(value):
            raise RequantError(f"the state {name!r} has the shape {held.shape}, not {np.shape(value)}.")
        self._arrays[name] = np.array(value, held.dtype)


class OnnxRunner:
    """A model translated to ONNX and loaded by ONNX Runtime, on one thread so that its results do not vary."""

    def __init__(self, model: Model, function: str = "", precision: ComputePrecision = "float32") -> None:
        """Translate and load a model.

        Raises:
            RequantError: if it has a layer or an operation without a translation, naming it.
        """
        with naming(model.path, f"the {model.kind}"):
            self.inputs, self.outputs = inputs_of(model, function), outputs_of(model, function)
            self._label, self._probabilities = predicted_names(model, function)
            self._translation = translate(model, function, precision)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = QUIET
        weights = self._translation.weights
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
        options.add_external_initializers(list(weights), values)
        try:
            self._session = onnxruntime.InferenceSession(
                self._translation.onnx_bytes, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime has no common class for its errors
            raise RequantError(f"{model.path} was translated, but ONNX Runtime refuses it: {error}") from error

    def make_state(self) -> State:
        """Return the states of a stateful model before its first prediction: zeros."""
        states = self._translation.states
        return State({name: np.zeros(state.shape, state.dtype) for name, state in states.items()})

    def predict(self, inputs: Inputs, state: State | None = None) -> Outputs:
        """Return the model's outputs by name; see `requant.runtime.Runner`."""
        require_inputs(inputs, self.inputs)
        feeds = {
            feature.name: self._in_graph(inputs.get(feature.name), feature)
            for feature in self.inputs
            if feature.name in self._translation.inputs
        }
        if self._translation.states and state is None:
            raise RequantError("the model has states: give predict the state that make_state returns.")
        feeds |= {name: state.held(name) for name in self._translation.states} if state else {}
        try:
            results = self._session.run(None, feeds)
        except Exception as error:  # ONNX Runtime has no common class for its errors
            raise RequantError(f"the model could not be run. ONNX Runtime says: {error}") from error
        tensors = dict(zip(self._translation.results, results, strict=True))
        if state:
            state.replace({name: tensors[name] for name in self._translation.states})
        return self._in_features(tensors, self._leading_sizes(inputs))

    def _leading_sizes(self, inputs: Inputs) -> tuple[int, int]:
        """Return the sizes of the axes (sequence, batch) with which arrays were given; 1 where they were not."""
        for feature in self.inputs:
            wanted, value = self._translation.inputs.get(feature.name), inputs.get(feature.name)
            if value is None or wanted is None or not wanted.sequence_axes:
                continue
            shape = np.shape(value)
            leading = shape[: max(len(shape) - (1 if len(feature.shape) == 1 else 3), 0)]
            if leading:
                return (1, leading[0]) if len(leading) == 1 else (leading[0], leading[1])
        return 1, 1

    def _in_graph(self, value: Any, feature: Feature) -> NDArray[Any]:
        wanted = self._translation.inputs[feature.name]
        if value is None and feature.optional:
            if feature.type == "picture":
                raise RequantError(f"the picture {feature.name!r} is optional, but there is none to take instead.")
            value = np.full(feature.shape, feature.default, feature.dtype)
        if feature.type != "array":
            return to_tensor(value, feature).astype(wanted.dtype)
        return _with_axes(array_to_tensor(value, feature, wanted.sequence_axes).astype(wanted.dtype), feature, wanted)

    def _in_features(self, tensors: dict[str, NDArray[Any]], leading: tuple[int, int]) -> Outputs:
        outputs: Outputs = {}
        for feature in self.outputs:
            if feature.name in tensors:
                tensor = tensors[feature.name]
                if self._translation.sequence_axes and feature.type == "array":
                    tensor = _without_axes(tensor, feature, leading)
                outputs[feature.name] = _in_feature(tensor, feature)
        if self._translation.scores:
            outputs.update(self._classes(tensors[self._translation.scores].reshape(-1)))
        return outputs

    def _classes(self, scores: NDArray[Any]) -> Outputs:
        labels = self._translation.labels
        if len(labels) != scores.size:
            raise RequantError(f"the classifier has {len(labels)} labels, but computes {scores.size} probabilities.")
        outputs: Outputs = {self._label: labels[int(scores.argmax())]}
        if self._probabilities:
            outputs[self._probabilities] = dict(zip(labels, scores.tolist(), strict=True))
        return outputs


def _with_axes(tensor: NDArray[Any], feature: Feature, wanted: GraphInput) -> NDArray[Any]:
    """Return an array with the axes that the graph wants.

    The arrays of a network with sequence axes are (sequence, batch, channel, height, width), of which the first two may
    be left out, or given, and the last two do not belong to a declared shape of one axis.
    """
    if not wanted.sequence_axes:
        return tensor if len(wanted.shape) == tensor.ndim else tensor.reshape(wanted.shape)
    last = 1 if len(feature.shape) == 1 else 3
    leading = (1,) * (2 + last - tensor.ndim) + tensor.shape[: max(tensor.ndim - last, 0)]
    channels = tensor.shape[tensor.ndim - last :] + (1,) * (3 - last)
    return tensor.reshape((*leading, *channels) if len(wanted.shape) == 5 else (-1, *channels))


def _without_axes(tensor: NDArray[Any], feature: Feature, leading: tuple[int, int]) -> NDArray[Any]:
    """Return an array (sequence, batch, channel, height, width) without the axes of size 1 that are not declared.

    A network that does not look at sequences has them in the batch, from which they are taken again.
    """
    shape = tensor.shape
    if shape[:2] == (1, leading[0] * leading[1]):
        shape = (*leading, *shape[2:])
    shape = shape[2:] if shape[:2] == (1, 1) else shape
    return tensor.reshape(shape[:-2]) if len(feature.shape) == 1 and shape[-2:] == (1, 1) else tensor.reshape(shape)


def _in_feature(tensor: NDArray[Any], feature: Feature) -> Any:
    if feature.type == "picture":
        return tensor_to_picture(tensor, feature)
    if feature.type == "array":
        return np.atleast_1d(array_as_declared(tensor, feature))  # Core ML has no arrays without axes
    return tensor.reshape(-1)[0].item()
