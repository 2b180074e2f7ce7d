"""An ML Program as ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np

from requant.coreml.description import inputs_of, outputs_of
from requant.coreml.model import Model
from requant.coreml.program import (
    DTYPES,
    block_of,
    constant_values,
    data_type,
    functions,
    is_constant,
    operation_name,
    shape_of,
    value_of,
)
from requant.errors import RequantError
from requant.runtime.graph import Graph
from requant.runtime.operations import OPERATIONS, Operation, Tensor
from requant.runtime.translation import GraphInput, Translation

MAIN = "main"


class _Translator:
    """Translates the operations of one block in their order; keeps what is known of each of its values."""

    def __init__(self, model: Model, block: Any) -> None:
        self.graph = Graph()
        self.model = model
        self.constants = constant_values(block, model)
        self.tensors: dict[str, Tensor] = {}
        self.scores = ""
        self.labels: tuple[str | int, ...] = ()

    def operation(self, operation: Any) -> None:
        """Add one operation to the graph."""
        if is_constant(operation):
            return
        if operation.type == "classify":
            self._classify(operation)
            return
        if operation.type not in OPERATIONS:
            raise RequantError(
                f"{self.model.path}: the operation {operation_name(operation)!r} is of type {operation.type}, which "
                "requant can't run yet."
            )
        translator = OPERATIONS[operation.type]
        results = translator.translate(self.graph, self._parameters(operation, translator))
        for output, name in zip(operation.outputs, results, strict=True):
            self.tensors[output.name] = Tensor(name, data_type(output.type).lower(), shape_of(output.type))

    def _parameters(self, operation: Any, translator: Operation) -> dict[str, Any]:
        parameters: dict[str, Any] = {}
        for key, argument in operation.inputs.items():
            if key not in translator.parameters:
                raise RequantError(
                    f"{self.model.path}: the operation {operation_name(operation)!r} of type {operation.type} has the "
                    f"parameter {key}, which requant can't run yet."
                )
            wants = translator.parameters[key]
            if wants == "tensors":
                parameters[key] = [self._tensor(binding) for binding in argument.arguments]
            elif wants == "tensor":
                parameters[key] = self._tensor(argument.arguments[0])
            else:
                parameters[key] = self._constant(argument.arguments[0], key, operation)
        return parameters

    def _tensor(self, binding: Any) -> Tensor:
        if binding.WhichOneof("binding") == "value":
            return self._as_tensor(value_of(binding.value, self.model))
        if binding.name not in self.tensors:
            self.tensors[binding.name] = self._as_tensor(self.constants[binding.name])
        return self.tensors[binding.name]

    def _as_tensor(self, value: Any) -> Tensor:
        array = np.asarray(value)
        name = next(name for name, dtype in DTYPES.items() if np.dtype(dtype) == array.dtype)
        return Tensor(self.graph.constant(array), name.lower(), array.shape)

    def _constant(self, binding: Any, key: str, operation: Any) -> Any:
        if binding.WhichOneof("binding") == "value":
            value = value_of(binding.value, self.model)
        elif binding.name in self.constants:
            value = self.constants[binding.name]
        else:
            raise RequantError(
                f"{self.model.path}: the operation {operation_name(operation)!r} of type {operation.type} computes its "
                f"parameter {key} while it runs, which requant can't follow yet."
            )
        array = np.asarray(value)
        return array.item() if array.ndim == 0 else tuple(array.reshape(-1).tolist())

    def _classify(self, operation: Any) -> None:
        self.scores = self._tensor(operation.inputs["probabilities"].arguments[0]).name
        classes = operation.inputs["classes"].arguments[0]
        bound = classes.WhichOneof("binding") == "value"
        values = value_of(classes.value, self.model) if bound else self.constants[classes.name]
        self.labels = tuple(np.asarray(value).item() for value in values)


def translate_program(model: Model) -> Translation:
    """Return the main function of an ML Program as ONNX, computed in float32.

    Raises:
        RequantError: if it has an operation without a translation, naming it and its type.
    """
    function = functions(model.spec).get(MAIN)
    if function is None:
        raise RequantError(f"{model.path} has no function {MAIN}.")
    block = block_of(function)
    translator = _Translator(model, block)
    inputs = {}
    for value in function.inputs:
        dtype, shape = data_type(value.type).lower(), shape_of(value.type)
        inputs[value.name] = GraphInput("float32" if dtype == "float16" else dtype, shape)
        tensor = translator.graph.input(value.name, dtype, shape)
        translator.tensors[value.name] = Tensor(tensor, dtype, shape)
    _require_declared(model, inputs)
    for operation in block.operations:
        translator.operation(operation)
    return _finish(model, block, translator, inputs)


def _require_declared(model: Model, inputs: dict[str, GraphInput]) -> None:
    for feature in inputs_of(model):
        if feature.name not in inputs:
            raise RequantError(f"{model.path} declares the input {feature.name!r}, which its program does not have.")


def _finish(model: Model, block: Any, translator: _Translator, inputs: dict[str, GraphInput]) -> Translation:
    results = []
    for feature in outputs_of(model):
        if feature.name in block.outputs and feature.name in translator.tensors:
            translator.graph.output(translator.graph.node("Identity", translator.tensors[feature.name].name))
            results.append(feature.name)
    scores = ""
    if translator.scores:
        scores = "(probabilities)"
        translator.graph.output(translator.graph.node("Identity", translator.scores))
        results.append(scores)
    return Translation(translator.graph.to_bytes(), inputs, results, scores, translator.labels)
