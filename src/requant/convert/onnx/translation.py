"""The way through an ONNX graph: each node's function from the table adds operations to a MIL program.

What is known already is computed at once, by ONNX Runtime itself; so is what of it computes shapes, as far as the
configuration fixes them. What is left is translated in the graph's order.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
import onnx
import onnxruntime
from coremltools.converters.mil import converter
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import Function, Program, get_new_symbol, types
from onnx import numpy_helper
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NotComputed

from requant.convert.onnx.operators import OPERATORS, Node
from requant.convert.onnx.preparing import Prepared, is_open, needed_nodes, opset_of
from requant.convert.onnx.reading import graphs_in, is_standard, label
from requant.convert.onnx.symbols import follow, symbols_of
from requant.convert.onnx.values import Array, Kind, Value, cast, is_known, is_variable, mil_array, settled, variable
from requant.convert.settings import ConversionSettings
from requant.convert.source import ResolvedInput
from requant.convert.through_coremltools import element_type, legal_name
from requant.errors import RequantError

_HOLDERS = ("If", "Loop", "Scan")  # nodes with graphs in them are never computed at once
_TYPES = {"float16": types.fp16, "float32": types.fp32, "int32": types.int32}
_OLDEST_SYSTEM = 15


def translate(prepared: Prepared, original: Path, settings: ConversionSettings) -> tuple[Any, list[ResolvedInput]]:
    """Return the MIL program of a model, and its inputs under the names that they have in it.

    Raises:
        RequantError: if the model has operators without a translation, or a node that has none as it is used.
    """
    # The builder counts the names that it makes up; they would depend on what was converted before.
    converter._reset_conversion_state()
    target = settings.minimum_deployment_target
    system: int = max(int(target.ios), _OLDEST_SYSTEM) if target else _OLDEST_SYSTEM
    inputs = [_under_legal_name(each) for each in prepared.resolved]
    whole = _Whole(original, opset_of(prepared.model), system)
    placeholders = {each.name: _placeholder(each) for each in inputs}
    with Function(placeholders, opset_version=ct.target[f"iOS{system}"]) as function:
        scope = Scope(whole, prepared.model.graph)
        for each in inputs:
            whole.used.add(each.name)
            scope.values[each.source.name] = cast(function.inputs[each.name], _kind_in_source(each))
        scope.values.update(prepared.constants)
        scope.translate()
        function.set_outputs(_outputs(scope, [function.inputs[each.name] for each in inputs]))
    program = Program()
    program.add_function("main", function)
    return program, inputs


def _under_legal_name(each: ResolvedInput) -> ResolvedInput:
    return dataclasses.replace(each, settings=dataclasses.replace(each.settings, name=legal_name(each.name)))


def _placeholder(each: ResolvedInput) -> Any:
    shape = [get_new_symbol() if is_open(each, axis) else size for axis, size in enumerate(each.default_shape)]
    return mb.placeholder(shape, dtype=_TYPES[element_type(each)])


def _kind_in_source(each: ResolvedInput) -> Kind:
    dtype = np.dtype(each.source.dtype)
    return "bool" if dtype == np.bool_ else "float" if dtype.kind == "f" else "int"


def _outputs(scope: Scope, inputs: Sequence[Any]) -> list[Any]:
    """Return the graph's outputs as variables, each of its own."""
    found: list[Any] = []
    for value in scope.graph.output:
        result = scope.lookup(value.name)
        taken = is_known(result) or any(result is other for other in [*found, *inputs])
        name = scope.unique(value.name)
        found.append(mb.identity(x=variable(result), name=name) if taken else result)
    return found


@dataclass
class _Whole:
    """What all graphs of a model share."""

    original: Path
    opset: int
    system: int
    used: set[str] = field(default_factory=set)
    named: set[int] = field(default_factory=set)
    followed: dict[int, Array] = field(default_factory=dict)


class Scope:
    """A graph while it is translated: its values by ONNX's names, around it those of the graphs that it is in."""

    def __init__(self, whole: _Whole, graph: Any, outer: Scope | None = None) -> None:
        self.whole = whole
        self.graph = graph
        self.outer = outer
        self.values: dict[str, Value] = {}
        self._constants: dict[str, Any] = {}

    def nested(self, graph: Any, values: Mapping[str, Value] | None = None) -> list[Value]:
        """Translate a graph in a node of this one, and return its outputs."""
        inner = Scope(self.whole, graph, self)
        inner.values.update(values or {})
        inner.translate()
        return [inner.lookup(value.name) for value in graph.output]

    def lookup(self, name: str) -> Value:
        """Return a value by its name.

        Raises:
            RequantError: if there is none, which makes no valid graph.
        """
        if name in self.values:
            return self.values[name]
        if self.outer is None:
            raise RequantError(f"there is no value {name!r} that it could use")
        return self.outer.lookup(name)

    def constant(self, array: Array, name: str) -> Any:
        """Return a constant of the program for a known value, the same one for each use of it."""
        found = self._constant_named(name)
        if found is None:
            found = self._constants[name] = mb.const(val=mil_array(array), name=self.unique(name))
        return found

    def _constant_named(self, name: str) -> Any:
        if name in self._constants:
            return self._constants[name]
        return None if name in self.values or self.outer is None else self.outer._constant_named(name)

    def unique(self, name: str) -> str:
        """Return a valid name that nothing in the program has yet."""
        wanted = found = legal_name(name or "_")
        count = 0
        while found in self.whole.used:
            count += 1
            found = f"{wanted}_{count}"
        self.whole.used.add(found)
        return found

    def translate(self) -> None:
        """Translate all nodes that the graph's outputs hang on."""
        for tensor in self.graph.initializer:
            self.values[tensor.name] = numpy_helper.to_array(tensor)
        for node in needed_nodes(self.graph):
            self._require_operator(node)
            with _naming(self.whole.original, node):
                self._translate_node(node)

    def _translate_node(self, node: Any) -> None:
        given = [self.lookup(name) if name else None for name in node.input]
        known = given and node.op_type not in _HOLDERS and all(value is None or is_known(value) for value in given)
        results = _computed(node, given, self.whole.opset) if known else None
        if results is None:
            results = _as_list(OPERATORS[node.op_type](self._seen(node, given)))
        for name, value in zip(node.output, results, strict=False):
            if name:
                self._name(value, name)
                self.values[name] = settled(value)
                follow(node.op_type, given, self.values[name], self.whole.followed)

    def symbols(self, value: Value) -> Array | None:
        """Return the numbers and symbols that a value consists of, None where they are not known."""
        return symbols_of(value, self.whole.followed)

    def _seen(self, node: Any, given: list[Value | None]) -> Node:
        attributes = {each.name: _as_text(onnx.helper.get_attribute_value(each)) for each in node.attribute}
        whole = self.whole
        return Node(
            node.op_type, label(node), given, list(node.input), list(node.output), attributes, whole.opset,
            whole.system, self,
        )  # fmt: skip

    def _name(self, value: Value, name: str) -> None:
        """Give a new result of an operation the name that it has in the file."""
        if not is_variable(value) or value.op is None or value.op.op_type == "const" or id(value) in self.whole.named:
            return
        self.whole.named.add(id(value))
        value.name = self.unique(name)
        if len(value.op.outputs) == 1:
            value.op.name = value.name

    def _require_operator(self, node: Any) -> None:
        """Make sure that a node has a translation; if not, name all of the file that have none."""
        if is_standard(node) and node.op_type in OPERATORS:
            return
        outermost = self
        while outermost.outer:
            outermost = outermost.outer
        found: dict[str, str] = {}
        for graph in graphs_in(outermost.graph):
            for each in graph.node:
                if not is_standard(each) or each.op_type not in OPERATORS:
                    found.setdefault(f"{each.domain}.{each.op_type}".strip("."), label(each))
        listed = ", ".join(f"{kind} (node {name})" for kind, name in found.items())
        raise RequantError(
            f"{self.whole.original} can't be converted: it uses operators without a translation: {listed}. Export the "
            "network without them, or convert it from the framework that it was made in."
        )


def _as_text(value: Any) -> Any:
    """Return the value of an attribute with text for bytes."""
    if isinstance(value, list):
        return [_as_text(each) for each in value]
    return value.decode() if isinstance(value, bytes) else value


def _as_list(results: Any) -> list[Value]:
    return list(results) if isinstance(results, list | tuple) else [results]


def _computed(node: Any, given: Sequence[Array | None], opset: int) -> list[Array] | None:
    """Return the outputs of a node whose inputs are all known; None where ONNX Runtime lacks it for their types."""
    arrays = {name: value for name, value in zip(node.input, given, strict=True) if value is not None}
    inputs = [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in arrays.items()
    ]
    outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name]
    graph = onnx.helper.make_graph([node], "one", inputs, outputs)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8)
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), quiet(), ["CPUExecutionProvider"])
    except NotComputed:
        return None
    results = iter(session.run(None, arrays))
    return [next(results) if name else np.zeros(0) for name in node.output]


def quiet() -> Any:
    """Return ONNX Runtime's options for one thread and no warnings."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return options


@contextmanager
def _naming(original: Path, node: Any) -> Iterator[None]:
    """Name the file and the node in the errors of what is done with the node.

    Raises:
        RequantError: for any error; one that names the file already is left as it is.
    """
    try:
        yield
    except RequantError as error:
        if str(original) in str(error):
            raise
        raise RequantError(_refusal(original, node, str(error))) from error
    except Exception as error:  # coremltools and ONNX Runtime have no common class for their errors
        raise RequantError(_refusal(original, node, str(error).strip() or type(error).__name__)) from error


def _refusal(original: Path, node: Any, reason: str) -> str:
    return f"{original} can't be converted: its node {label(node)} ({node.op_type}): {reason.rstrip('.')}."
