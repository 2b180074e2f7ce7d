"""A small builder of ONNX graphs, which both kinds of Core ML model are translated with.

Every tensor knows its element type and, as far as it can be known before the model runs, its shape and its value:
ONNX's own shape inference is asked node by node.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, defs, helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from requant.errors import RequantError

OPSET = 18
_IR_VERSION = 10
_OPSETS = [helper.make_opsetid("", OPSET)]
_TYPES = {
    "float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "float64": TensorProto.DOUBLE,
    "int8": TensorProto.INT8, "int16": TensorProto.INT16, "int32": TensorProto.INT32, "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8, "uint16": TensorProto.UINT16, "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64, "bool": TensorProto.BOOL,
}  # fmt: skip
_NAMES = {number: name for name, number in _TYPES.items()}
_SMALL = 64  # elements: constants up to this size are shared, and their values are followed through the graph
_COMPUTED = {"float32", "int32", "int64", "bool"}  # what constants are followed in
_OUTSIDE = 16384  # bytes: constants from this size on are kept beside the graph, which spares copies of them
_FOLDED = {
    "Abs", "Add", "And", "Cast", "Concat", "Div", "Equal", "Gather", "Less", "Max", "Min", "Mul", "Neg", "Not", "Or",
    "ReduceProd", "Reshape", "Slice", "Squeeze", "Sub", "Transpose", "Unsqueeze", "Where",
}  # fmt: skip

Shape = tuple[int, ...]


def computed_in(dtype: str) -> str:
    """Return the element type in which a graph computes what a model declares as `dtype` (numpy's names).

    Floats are computed in float32, which ONNX Runtime does everything in; integers in int32, as Core ML does.
    """
    kind = np.dtype(dtype).kind
    return {"f": "float32", "i": "int32", "u": "int32", "b": "bool"}[kind]


@dataclass(frozen=True)
class Maker:
    """The node that made a tensor: its kind, inputs and attributes."""

    kind: str
    inputs: tuple[Tensor, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of a graph.

    Attributes:
        name: in the graph.
        dtype: of its elements in the graph, by numpy's name.
        known_shape: its shape, -1 for a size that is not known before the model runs; None if not even the number of
            axes is.
        value: its elements, where they are known before the model runs.
        maker: the node that made it, where that has one result.
    """

    name: str
    dtype: str
    known_shape: Shape | None
    value: NDArray[Any] | None = None
    maker: Maker | None = None

    @property
    def shape(self) -> Shape:
        """The shape, -1 for an open size.

        Raises:
            RequantError: if the number of axes is not known.
        """
        if self.known_shape is None:
            raise RequantError("a tensor's number of axes is not known before the model runs, which requant can't do.")
        return self.known_shape

    @property
    def rank(self) -> int:
        """The number of axes.

        Raises:
            RequantError: if it is not known.
        """
        return len(self.shape)

    @property
    def is_static(self) -> bool:
        """Whether all sizes are known before the model runs."""
        return self.known_shape is not None and all(size >= 0 for size in self.known_shape)


class Graph:
    """An ONNX graph that grows node by node, and the graphs nested in it."""

    def __init__(self, parent: Graph | None = None) -> None:
        """Start an empty graph; one with a parent may use all tensors of it, and ends as a part of one of its nodes."""
        self.root: Graph = parent.root if parent else self
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._shared: dict[tuple[str, Shape, bytes], Tensor] = {}
        self._weights: dict[str, NDArray[Any]] = {}
        self._count = 0
        self.random_operations = 0

    def nested(self) -> Graph:
        """Return an empty graph that may use the tensors of this one, for a node with a body (`If`, `Loop`)."""
        return Graph(self)

    def input(self, name: str, dtype: str, shape: Shape | None) -> Tensor:
        """Declare an input; a negative size is left open."""
        self._inputs.append(helper.make_value_info(name, _type_proto(dtype, shape)))
        return Tensor(name, dtype, shape)

    def variable(self, dtype: str, shape: Shape | None) -> Tensor:
        """Declare an input of a nested graph under a new name."""
        return self.input(self.root.new_name("variable"), dtype, shape)

    def constant(self, array: Any) -> Tensor:
        """Add a constant; numbers of types that nothing is computed in become float32 or int32, int64 stays."""
        values = np.asarray(array)
        if values.dtype != np.int64:
            values = np.asarray(values, computed_in(values.dtype.name))
        return self.root.add_constant(values)

    def integers(self, *values: int) -> Tensor:
        """Add a one-dimensional constant of int64, as ONNX takes shapes and axes."""
        return self.constant(np.array(values, np.int64))

    def scalar(self, value: float, dtype: str = "float32") -> Tensor:
        """Add a number without axes."""
        return self.constant(np.array(value, dtype))

    def node(self, kind: str, *inputs: Tensor | None, **attributes: Any) -> Tensor:
        """Add a node with one result and return that result; None stands for an optional input left out.

        Raises:
            RequantError: if ONNX finds that the shapes or types of the inputs don't fit.
        """
        return self.nodes(kind, *inputs, count=1, **attributes)[0]

    def nodes(self, kind: str, *inputs: Tensor | None, count: int, **attributes: Any) -> list[Tensor]:
        """Add a node with several results and return them.

        Raises:
            RequantError: if ONNX finds that the shapes or types of the inputs don't fit.
        """
        names = [self.root.new_name(kind) for _ in range(count)]
        sources = [tensor.name if tensor else "" for tensor in inputs]
        while sources and not sources[-1]:
            sources.pop()  # ONNX Runtime's optimizer does not survive a LayerNormalization that ends in a blank input
        node = helper.make_node(kind, sources, names, **attributes)
        given = [tensor for tensor in inputs if tensor]
        folded = _fold(node, given)
        if folded is not None:
            return [self.constant(folded)]
        self._nodes.append(node)
        results = _inferred(node, given)
        return [replace(results[0], maker=Maker(kind, tuple(given), attributes))] if count == 1 else results

    def holder(
        self, kind: str, inputs: list[Tensor | None], types: Sequence[tuple[str, Shape | None]], **graphs: Any
    ) -> list[Tensor]:
        """Add a node that holds nested graphs and return its results.

        Args:
            kind: `If` or `Loop`.
            inputs: of the node.
            types: element type and shape of each result.
            graphs: the nested graphs as messages, by the node's attributes.
        """
        names = [self.root.new_name(kind) for _ in types]
        given = [tensor.name if tensor else "" for tensor in inputs]
        self._nodes.append(helper.make_node(kind, given, names, **graphs))
        return [Tensor(name, dtype, shape) for name, (dtype, shape) in zip(names, types, strict=True)]

    def cast(self, x: Tensor, dtype: str) -> Tensor:
        """Return a tensor in another element type: itself where it has that, a constant where it is a small one."""
        if x.dtype == dtype:
            return x
        if x.value is not None and x.value.size <= _SMALL and dtype in _COMPUTED:
            return self.root.add_constant(x.value.astype(dtype))
        return self.node("Cast", x, to=_TYPES[dtype])

    def round_to(self, x: Tensor, dtype: str) -> Tensor:
        """Return a tensor whose elements took the values that `dtype` can hold, in the element type that it has."""
        return self.node("Cast", self.node("Cast", x, to=_TYPES[dtype]), to=_TYPES[x.dtype])

    def declare(self, x: Tensor, shape: Shape) -> Tensor:
        """Return a tensor with a shape that the model declares for it, where inference left sizes open."""
        if x.known_shape is None or len(x.known_shape) != len(shape):
            return replace(x, known_shape=shape) if x.known_shape is None else x
        return replace(x, known_shape=tuple(a if a >= 0 else b for a, b in zip(x.known_shape, shape, strict=True)))

    def shape_of(self, x: Tensor) -> Tensor:
        """Return the shape of a tensor as one-dimensional int64; a constant where all sizes are known."""
        return self.integers(*x.shape) if x.is_static else self.node("Shape", x)

    def size_of(self, x: Tensor, axis: int) -> Tensor:
        """Return the size of one axis as int64 of shape (1,); a constant where it is known."""
        if x.shape[axis] >= 0:
            return self.integers(x.shape[axis])
        return self.node("Gather", self.node("Shape", x), self.integers(axis % x.rank), axis=0)

    def reshape(self, x: Tensor, *sizes: int | Tensor) -> Tensor:
        """Return a tensor in another shape.

        Args:
            x: the tensor.
            sizes: per axis, a number (-1: what is left) or an int64 tensor of shape (1,).
        """
        return self.node("Reshape", x, self.shape(*sizes), allowzero=1)

    def shape(self, *sizes: int | Tensor) -> Tensor:
        """Return a one-dimensional int64 tensor of sizes that are numbers or int64 tensors of shape (1,)."""
        parts = [size if isinstance(size, Tensor) else self.integers(size) for size in sizes]
        return self.node("Concat", *parts, axis=0) if parts else self.integers()

    def output(self, x: Tensor, name: str = "") -> None:
        """Declare a tensor as an output of the graph, in the order of the calls; under its own name or another."""
        result = name or self.root.new_name("output")
        self._nodes.append(helper.make_node("Identity", [x.name], [result]))
        self._outputs.append(helper.make_value_info(result, _type_proto(x.dtype, x.known_shape)))

    def proto(self) -> Any:
        """Return the graph as ONNX's message, for a node's attribute, without what nothing depends on."""
        needed = {output.name for output in self._outputs}
        nodes = []
        for node in reversed(self._nodes):
            if needed.intersection(node.output):
                needed.update(_read_by(node))
                nodes.append(node)
        constants = [constant for constant in self._constants if constant.name in needed]
        return helper.make_graph(nodes[::-1], "requant", self._inputs, self._outputs, constants)

    def finished(self) -> tuple[bytes, dict[str, NDArray[Any]]]:
        """Return the finished ONNX model, serialized, and its large constants by name, which are kept beside it."""
        model = helper.make_model(self.proto(), opset_imports=_OPSETS)
        model.ir_version = _IR_VERSION
        data: bytes = model.SerializeToString()
        names = {constant.name for constant in model.graph.initializer}
        return data, {name: values for name, values in self._weights.items() if name in names}

    def add_constant(self, values: NDArray[Any]) -> Tensor:
        """Add a constant as it is, to the outermost graph; a small one that is there already is shared."""
        small = values.size <= _SMALL
        key = (values.dtype.name, values.shape, values.tobytes() if small else b"")
        if small and key in self._shared:
            return self._shared[key]
        name = self.new_name("constant")
        whole = np.ascontiguousarray(values).reshape(values.shape)
        if values.nbytes < _OUTSIDE:
            self._constants.append(numpy_helper.from_array(whole, name))
        else:
            self._constants.append(_reference(name, whole))
            self._weights[name] = whole
        tensor = Tensor(name, values.dtype.name, values.shape, values)
        if small:
            self._shared[key] = tensor
        return tensor

    def new_name(self, kind: str) -> str:
        """Return a name that no tensor has yet."""
        self._count += 1
        return f"{kind.lower()}_{self._count}"


def _read_by(node: Any) -> Iterator[str]:
    """Yield the names of all tensors that a node reads, those that nested graphs read too."""
    yield from node.input
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from _read_by(inner)


def _reference(name: str, values: NDArray[Any]) -> Any:
    """Return the message of a constant whose elements are handed to ONNX Runtime beside the graph."""
    tensor = TensorProto(name=name, data_type=_TYPES[values.dtype.name], dims=values.shape)
    tensor.data_location = TensorProto.EXTERNAL
    entries = {"location": name, "offset": "0", "length": str(values.nbytes)}
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def _type_proto(dtype: str, shape: Shape | None) -> Any:
    sizes = None if shape is None else [size if size >= 0 else None for size in shape]
    return helper.make_tensor_type_proto(_TYPES[dtype], sizes)


def _inferred(node: Any, inputs: list[Tensor]) -> list[Tensor]:
    """Return a node's results with what ONNX's shape inference tells of them."""
    types = {tensor.name: _type_proto(tensor.dtype, tensor.known_shape) for tensor in inputs}
    data = {
        tensor.name: numpy_helper.from_array(tensor.value, tensor.name)
        for tensor in inputs
        if tensor.value is not None and tensor.value.size <= _SMALL
    }
    schema = defs.get_schema(node.op_type, OPSET, "")
    try:
        found = shape_inference.infer_node_outputs(
            schema, node, types, data, opset_imports=_OPSETS, ir_version=_IR_VERSION
        )
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError, ValueError) as error:
        shapes = ", ".join(f"{tensor.dtype} {tensor.known_shape}" for tensor in inputs)
        raise RequantError(f"the shapes do not fit ({node.op_type} of {shapes}): {error}") from error
    return [_tensor_of(name, found.get(name)) for name in node.output]


def _tensor_of(name: str, found: Any) -> Tensor:
    if found is None or found.WhichOneof("value") != "tensor_type":
        raise RequantError(f"ONNX does not tell the type of {name}.")
    kind = found.tensor_type
    shape = None
    if kind.HasField("shape"):
        shape = tuple(d.dim_value if d.WhichOneof("value") == "dim_value" else -1 for d in kind.shape.dim)
    return Tensor(name, _NAMES[kind.elem_type], shape)


def _fold(node: Any, inputs: list[Tensor]) -> NDArray[Any] | None:
    """Return the value of a node that computes a shape from constants, which the tensors after it depend on."""
    values = [tensor.value for tensor in inputs]
    if node.op_type not in _FOLDED or not values:
        return None
    if any(value is None or value.size > _SMALL or value.dtype.kind not in "ib" for value in values):
        return None
    feeds = {tensor.name: tensor.value for tensor in inputs}
    result = np.asarray(ReferenceEvaluator(node).run(None, feeds)[0])
    return result if result.dtype in (np.int64, np.int32, np.bool_) else None
