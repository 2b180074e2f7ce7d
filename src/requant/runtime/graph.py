"""A small builder of ONNX graphs, which both kinds of Core ML model are translated with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
_IR_VERSION = 10
_TYPES = {
    "float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT, "float64": TensorProto.DOUBLE,
    "int8": TensorProto.INT8, "int16": TensorProto.INT16, "int32": TensorProto.INT32, "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8, "uint16": TensorProto.UINT16, "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64, "bool": TensorProto.BOOL,
}  # fmt: skip


def onnx_type(dtype: str) -> int:
    """Return ONNX's number of an element type; float16 becomes float32, in which everything is computed."""
    return int(_TYPES[dtype])


class Graph:
    """An ONNX graph that grows node by node; tensors are known by their names."""

    def __init__(self) -> None:
        """Start an empty graph."""
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._count = 0

    def input(self, name: str, dtype: str, shape: tuple[int, ...]) -> str:
        """Declare an input; a negative size is left open."""
        sizes = [size if size >= 0 else None for size in shape]
        self._inputs.append(helper.make_tensor_value_info(name, onnx_type(dtype), sizes))
        return name

    def constant(self, array: NDArray[Any]) -> str:
        """Add a constant and return its name; float16 becomes float32."""
        name = self._new_name("constant")
        values = array.astype(np.float32) if array.dtype == np.float16 else np.ascontiguousarray(array)
        self._constants.append(numpy_helper.from_array(values, name))
        return name

    def integers(self, *values: int) -> str:
        """Add a one-dimensional constant of int64, as ONNX takes shapes and axes."""
        return self.constant(np.array(values, np.int64))

    def scalar(self, value: float) -> str:
        """Add a float32 number without axes."""
        return self.constant(np.array(value, np.float32))

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one result and return that result's name."""
        return self.nodes(kind, *inputs, count=1, **attributes)[0]

    def nodes(self, kind: str, *inputs: str, count: int, **attributes: Any) -> list[str]:
        """Add a node with several results and return their names."""
        results = [self._new_name(kind) for _ in range(count)]
        self._nodes.append(helper.make_node(kind, list(inputs), results, **attributes))
        return results

    def output(self, name: str) -> None:
        """Declare a tensor as an output of the graph, in the order of the calls."""
        self._outputs.append(helper.make_empty_tensor_value_info(name))

    def model(self) -> Any:
        """Return the finished ONNX model."""
        graph = helper.make_graph(self._nodes, "requant", self._inputs, self._outputs, self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = _IR_VERSION
        return model

    def to_bytes(self) -> bytes:
        """Return the finished ONNX model, serialized."""
        data: bytes = self.model().SerializeToString()
        return data

    def _new_name(self, kind: str) -> str:
        self._count += 1
        return f"{kind.lower()}_{self._count}"
