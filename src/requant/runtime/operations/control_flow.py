"""The choice between two tensors, and lists.

A list is one tensor whose first axis counts the elements. Where the program leaves a size of the elements open, that
size is 0 until the first element is written. (`cond` and `while_loop`, which hold blocks, are in
`requant.runtime.program`.)
"""

from __future__ import annotations

import numpy as np

from requant.runtime.graph import Graph, Tensor
from requant.runtime.operations.registry import operation

_ELEMENTS = {"fp32": "float32", "fp16": "float32", "bool": "bool"}


@operation
def select(graph: Graph, cond: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """`a` where the condition holds, else `b`."""
    if a.dtype == "bool":  # ONNX Runtime chooses between numbers only
        a, b = graph.cast(a, "int32"), graph.cast(b, "int32")
    return graph.node("Where", graph.cast(cond, "bool"), a, b)


@operation
def make_list(
    graph: Graph,
    elem_shape: list[Tensor],
    init_length: Tensor | None = None,
    dynamic_length: bool = True,  # noqa: ARG001 - a list that may not grow is never made to
    dtype: str = "fp32",
) -> Tensor:
    """A list of zeros."""
    length = graph.integers(1) if init_length is None else _index(graph, init_length)
    sizes = [graph.node("Max", _index(graph, size), graph.integers(0)) for size in elem_shape]
    zero = graph.constant(np.zeros((), _ELEMENTS.get(dtype, "int32")))
    return graph.node("Expand", zero, graph.shape(length, *sizes))


@operation
def list_length(graph: Graph, ls: Tensor) -> Tensor:
    """The number of elements."""
    return graph.node("Squeeze", graph.size_of(ls, 0))


@operation
def list_read(graph: Graph, ls: Tensor, index: Tensor) -> Tensor:
    """One element."""
    return graph.node("Gather", ls, graph.node("Squeeze", _index(graph, index)), axis=0)


@operation
def list_gather(graph: Graph, ls: Tensor, indices: Tensor) -> Tensor:
    """Several elements, one tensor."""
    return graph.node("Gather", ls, indices, axis=0)


@operation
def list_write(graph: Graph, ls: Tensor, index: Tensor, value: Tensor) -> Tensor:
    """The list with one element replaced; a longer one if it had fewer."""
    return list_scatter(graph, ls, _index(graph, index), graph.node("Unsqueeze", value, graph.integers(0)))


@operation
def list_scatter(graph: Graph, ls: Tensor, indices: Tensor, value: Tensor) -> Tensor:
    """The list with several elements replaced; a longer one if it had fewer."""
    places = graph.cast(graph.reshape(indices, -1), "int64")
    room = _grown(graph, ls, places, value)
    return graph.node("ScatterND", room, graph.node("Unsqueeze", places, graph.integers(1)), value)


def _grown(graph: Graph, ls: Tensor, places: Tensor, value: Tensor) -> Tensor:
    """Return a list that has room for elements like those of `value` at `places`."""
    last = graph.node("ReduceMax", places, keepdims=1)
    length = graph.node("Max", graph.size_of(ls, 0), graph.node("Add", last, graph.integers(1)))
    sizes = [graph.size_of(value, axis) for axis in range(1, value.rank)]
    missing = graph.node("Sub", graph.shape(length, *sizes), graph.shape_of(ls))
    padded = graph.node("Pad", ls, graph.node("Concat", graph.integers(*[0] * value.rank), missing, axis=0))
    return graph.declare(padded, (-1, *value.shape[1:]))


def _index(graph: Graph, number: Tensor) -> Tensor:
    """Return a number as int64 of shape (1,)."""
    return graph.cast(graph.reshape(number, 1), "int64")
