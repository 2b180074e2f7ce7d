"""An ML Program as ONNX.

Every operation is translated by a function of `requant.runtime.operations`; here are the values that they pass on,
the operations that hold blocks (`cond`, `while_loop`), the states, and the classifier's end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from requant.coreml.description import inputs_of, outputs_of, predicted_names
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
    walk_operations,
)
from requant.errors import RequantError
from requant.runtime.graph import Graph, Shape, Tensor, computed_in
from requant.runtime.operations import OPERATIONS, Operation
from requant.runtime.refusal import naming
from requant.runtime.translation import ComputePrecision, GraphInput, Translation

MAIN = "main"


def translate_program(model: Model, function: str = "", precision: ComputePrecision = "float32") -> Translation:
    """Return one function of an ML Program as ONNX.

    Args:
        model: the model.
        function: its name; by default the one that the model names as its default, or `main`.
        precision: `float32` computes everything in float32; `float16` rounds the result of each operation that the
            program types as float16.

    Raises:
        RequantError: if there is no such function, or it has an operation without a translation, naming it and its
            type.
    """
    body = _function(model, function)
    translator = _Translator(model, block_of(body), precision)
    inputs, states = translator.declare_inputs(body.inputs)
    for feature in inputs_of(model, function):
        if feature.name not in inputs:
            raise RequantError(f"{model.path} declares the input {feature.name!r}, which its program does not have.")
    translator.block(block_of(body))
    return translator.finish(list(block_of(body).outputs), inputs, states, function)


def _function(model: Model, function: str) -> Any:
    known = functions(model.spec)
    name = function or model.spec.description.defaultFunctionName or MAIN
    if name not in known:
        raise RequantError(f"{model.path} has no function {name}; it has {', '.join(sorted(known))}.")
    return known[name]


class _Translator:
    """Translates the operations of a function in their order; keeps what is known of each of its values."""

    def __init__(self, model: Model, block: Any, precision: ComputePrecision) -> None:
        self.model = model
        self.graph = Graph()
        self.constants = constant_values(block, model)
        self.tensors: dict[str, Tensor] = {}
        self.states: dict[str, Tensor] = {}
        self.rounds = precision == "float16"
        self.scores: Tensor | None = None
        self.labels: tuple[str | int, ...] = ()

    def declare_inputs(self, values: Any) -> tuple[dict[str, GraphInput], dict[str, GraphInput]]:
        """Declare the function's inputs in the graph; return those of the model and the states."""
        inputs, states = {}, {}
        for value in values:
            is_state = value.type.WhichOneof("type") == "stateType"
            dtype, shape = _type_of(value.type)
            if shape is None:
                raise RequantError(f"{self.model.path}: the input {value.name!r} has no fixed number of axes.")
            tensor = self.graph.input(value.name, computed_in(dtype), shape)
            if is_state:
                states[value.name] = GraphInput(tensor.dtype, shape)
                self.states[value.name] = tensor
            else:
                inputs[value.name] = GraphInput(tensor.dtype, shape)
                self.tensors[value.name] = self._typed(tensor, value.type)
        return inputs, states

    def block(self, block: Any) -> list[Tensor]:
        """Add the operations of a block to the graph and return the block's results."""
        for operation in block.operations:
            if not is_constant(operation):
                with naming(self.model.path, _part(operation)):
                    self._operation(operation)
        return [self._named(name) for name in block.outputs if self._is_tensor(name)]

    def _is_tensor(self, name: str) -> bool:
        return name in self.tensors or name in self.constants

    def finish(
        self, results: list[str], inputs: dict[str, GraphInput], states: dict[str, GraphInput], function: str
    ) -> Translation:
        """Declare the graph's outputs and return the whole."""
        names, labels = [], predicted_names(self.model, function)
        for feature in outputs_of(self.model, function):
            if feature.name in results and self._is_tensor(feature.name):
                self.graph.output(self._named(feature.name))
                names.append(feature.name)
            elif feature.name not in labels:
                raise RequantError(
                    f"{self.model.path} declares the output {feature.name!r}, which its program does not return."
                )
        scores = ""
        if self.scores:
            scores = "(probabilities)"
            self.graph.output(self.scores)
            names.append(scores)
        for name in states:
            self.graph.output(self.states[name])
            names.append(name)
        return Translation(*self.graph.finished(), inputs, names, scores, self.labels, states=states)

    def _operation(self, operation: Any) -> None:
        if operation.type in _SPECIAL:
            getattr(self, f"_{operation.type}")(operation)
            return
        if operation.type not in OPERATIONS:
            raise RequantError(f"{self.model.path}: {_part(operation)} has no translation: requant can't run it yet.")
        translator = OPERATIONS[operation.type]
        results = translator.translate(self.graph, self._parameters(operation, translator))
        self._keep(operation, results)

    def _keep(self, operation: Any, results: list[Tensor]) -> None:
        for output, tensor in zip(operation.outputs, results, strict=True):
            self.tensors[output.name] = self._typed(tensor, output.type)

    def _typed(self, tensor: Tensor, value_type: Any) -> Tensor:
        """Return a tensor in the type that the program declares for it."""
        dtype, shape = _type_of(value_type)
        tensor = self.graph.cast(tensor, computed_in(dtype))
        if shape is not None:
            tensor = self.graph.declare(tensor, shape)
        return self.graph.round_to(tensor, dtype) if self.rounds and dtype == "float16" else tensor

    def _parameters(self, operation: Any, translator: Operation) -> dict[str, Any]:
        parameters: dict[str, Any] = {}
        for key, argument in operation.inputs.items():
            if key not in translator.parameters:
                raise RequantError(f"it has the parameter {key}, which requant can't run yet.")
            wants = translator.parameters[key]
            if wants == "tensors":
                parameters[key] = [self._bound(binding) for binding in argument.arguments]
            elif wants == "tensor":
                parameters[key] = self._bound(argument.arguments[0])
            else:
                parameters[key] = self._constant(argument.arguments[0], key)
        return parameters

    def _bound(self, binding: Any) -> Tensor:
        if binding.WhichOneof("binding") == "value":
            return self._as_tensor(value_of(binding.value, self.model))
        return self._named(binding.name)

    def _named(self, name: str) -> Tensor:
        if name not in self.tensors:
            if name not in self.constants:
                raise RequantError(f"it reads {name!r}, which no operation before it makes.")
            self.tensors[name] = self._as_tensor(self.constants[name])
        return self.tensors[name]

    def _as_tensor(self, value: Any) -> Tensor:
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":  # the name of a size that the program leaves open
            return self.graph.constant(np.full(array.shape, -1, np.int32))
        return self.graph.constant(array.astype(computed_in(array.dtype.name)))

    def _constant(self, binding: Any, key: str) -> Any:
        if binding.WhichOneof("binding") == "value":
            value = value_of(binding.value, self.model)
        elif binding.name in self.constants:
            value = self.constants[binding.name]
        else:
            known = self.tensors[binding.name].value if binding.name in self.tensors else None
            if known is None:
                raise RequantError(f"it computes its parameter {key} while it runs, which requant can't follow.")
            value = known
        array = np.asarray(value)
        return array.item() if array.ndim == 0 else tuple(array.reshape(-1).tolist())

    # The operations that are more than a function of tensors. `_SPECIAL` lists them.

    def _classify(self, operation: Any) -> None:
        self.scores = self._bound(operation.inputs["probabilities"].arguments[0])
        classes = operation.inputs["classes"].arguments[0]
        bound = classes.WhichOneof("binding") == "value"
        values = value_of(classes.value, self.model) if bound else self.constants[classes.name]
        self.labels = tuple(np.asarray(value).item() for value in values)

    def _read_state(self, operation: Any) -> None:
        self._keep(operation, [self.states[operation.inputs["input"].arguments[0].name]])

    def _write_state(self, operation: Any) -> None:
        name = operation.inputs["input"].arguments[0].name
        value = self._bound(operation.inputs["data"].arguments[0])
        self.states[name] = self.graph.cast(value, self.states[name].dtype)

    def _cond(self, operation: Any) -> None:
        """Add an `If`; the states that a branch writes are results of it too."""
        graphs, results, states = [], [], []
        for block in operation.blocks:
            with self._nested() as nested:
                results.append(self.block(block))
                graphs.append(nested)
                states.append(self.states)
        written = [name for name in self.states if any(end[name] is not self.states[name] for end in states)]
        for graph, tensors, end in zip(graphs, results, states, strict=True):
            for tensor in [*tensors, *(end[name] for name in written)]:
                graph.output(tensor)
        types: list[tuple[str, Shape | None]] = [(tensor.dtype, None) for tensor in results[0]]
        types += [(self.states[name].dtype, self.states[name].known_shape) for name in written]
        condition = self.graph.reshape(self._bound(operation.inputs["pred"].arguments[0]))
        branches = [graph.proto() for graph in graphs]
        held = self.graph.holder("If", [condition], types, then_branch=branches[0], else_branch=branches[1])
        self._keep(operation, held[: len(results[0])])
        self.states.update(zip(written, held[len(results[0]) :], strict=True))

    def _while_loop(self, operation: Any) -> None:
        """Add a `Loop`; the states that it writes are variables of it too."""
        condition, body = operation.blocks
        start = [self._bound(binding) for binding in operation.inputs["loop_vars"].arguments]
        first = self._inlined(condition, start)[0]
        written = _written_states(condition, body)
        start += [self.states[name] for name in written]
        with self._nested() as nested:
            nested.variable("int64", ())
            nested.variable("bool", ())
            variables = [nested.variable(*_type_of(value.type, graph=True)) for value in body.inputs]
            kept = [nested.variable(self.states[name].dtype, self.states[name].known_shape) for name in written]
            self.states.update(zip(written, kept, strict=True))
            results = self._inlined(body, variables)
            results = [nested.cast(a, b.dtype) for a, b in zip(results, variables, strict=True)]
            nested.output(nested.reshape(self._inlined(condition, results)[0]))
            for tensor in [*results, *(self.states[name] for name in written)]:
                nested.output(tensor)
        types = [(tensor.dtype, tensor.known_shape) for tensor in [*variables, *kept]]
        inputs = [None, self.graph.reshape(first), *start]
        held = self.graph.holder("Loop", inputs, types, body=nested.proto())
        self._keep(operation, held[: len(variables)])
        self.states.update(zip(written, held[len(variables) :], strict=True))

    def _inlined(self, block: Any, arguments: list[Tensor]) -> list[Tensor]:
        """Add the operations of a block with inputs to the graph and return the block's results."""
        for value, tensor in zip(block.inputs, arguments, strict=True):
            self.tensors[value.name] = tensor
        return self.block(block)

    @contextmanager
    def _nested(self) -> Iterator[Graph]:
        outer = self.graph, self.tensors, self.states
        self.graph, self.tensors, self.states = self.graph.nested(), dict(self.tensors), dict(self.states)
        try:
            yield self.graph
        finally:
            self.graph, self.tensors, self.states = outer


_SPECIAL = frozenset({"classify", "read_state", "write_state", "cond", "while_loop"})


def _part(operation: Any) -> str:
    if operation.outputs:
        name = operation_name(operation)
    else:
        name = operation.attributes["name"].immediateValue.tensor.strings.values[0]
    return f"the operation {name!r} of type {operation.type}"


def _written_states(*blocks: Any) -> list[str]:
    """Return the names of the states that operations in these blocks write, in the order of the file."""
    operations = [operation for block in blocks for operation in walk_operations(block)]
    written = [held.inputs["input"].arguments[0].name for held in operations if held.type == "write_state"]
    return list(dict.fromkeys(written))


def _type_of(value_type: Any, graph: bool = False) -> tuple[str, Shape | None]:
    """Return the element type (numpy's name; in the graph, if asked) and the shape of a value's type.

    The shape is None where the program leaves the number of axes open. A list is one tensor, its first axis the list.
    """
    kind = value_type.WhichOneof("type")
    if kind == "stateType":
        return _type_of(value_type.stateType.wrappedType, graph)
    if kind == "listType":
        dtype, shape = _type_of(value_type.listType.type, graph)
        return dtype, None if shape is None else (-1, *shape)
    dtype = np.dtype(DTYPES.get(data_type(value_type), "<i4")).name
    dimensions = value_type.tensorType.dimensions
    open_rank = value_type.tensorType.rank != len(dimensions) or any(d.unknown.variadic for d in dimensions)
    return computed_in(dtype) if graph else dtype, None if open_rank else shape_of(value_type)
