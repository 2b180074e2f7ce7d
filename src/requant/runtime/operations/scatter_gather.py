"""Operations that take elements from places, or put them there.

Negative indices count from the end up to iOS 16. Since iOS 17 they are out of bounds, which is an error where
`validate_indices` holds and has no defined result where it does not. Without a defined result, nothing is put
anywhere: that is an error too; what is taken is taken from the end, for it may be of no consequence.
"""

from __future__ import annotations

from typing import Any

from requant.errors import RequantError
from requant.runtime.graph import Graph, Tensor
from requant.runtime.operations.registry import operation

_REDUCTIONS = {"update": "none", "add": "add", "sub": "add", "mul": "mul", "div": "mul", "max": "max", "min": "min"}


@operation
def gather(
    graph: Graph, x: Tensor, indices: Tensor, axis: int = 0, batch_dims: int = 0, validate_indices: bool = False
) -> Tensor:
    """The slices of `x` along an axis at the indices, whose axes take the place of that axis.

    The first `batch_dims` axes of both are the same, and are looked at one by one.
    """
    axis %= x.rank
    places = _checked(graph, indices, graph.size_of(x, axis)) if validate_indices else indices
    if not batch_dims:
        return graph.node("Gather", x, places, axis=axis)
    batch, middle, last = range(batch_dims), range(batch_dims, axis), range(axis + 1, x.rank)
    moved = graph.node("Transpose", x, perm=[*batch, axis, *middle, *last])
    deep = graph.node("Unsqueeze", graph.cast(places, "int64"), graph.integers(-1))
    found = graph.node("GatherND", moved, deep, batch_dims=batch_dims)
    taken = range(batch_dims, indices.rank)
    between = range(indices.rank, indices.rank + len(middle))
    return graph.node("Transpose", found, perm=[*batch, *between, *taken, *range(between.stop, found.rank)])


@operation
def gather_along_axis(
    graph: Graph, x: Tensor, indices: Tensor, axis: int = 0, validate_indices: bool = False
) -> Tensor:
    """The elements of `x` at the indices along an axis, and at their own place along the others."""
    places = _checked(graph, indices, graph.size_of(x, axis)) if validate_indices else indices
    return graph.node("GatherElements", x, places, axis=axis)


@operation
def gather_nd(graph: Graph, x: Tensor, indices: Tensor, batch_dims: int = 0, validate_indices: bool = False) -> Tensor:
    """The slices of `x` at places, each of which is a vector in the last axis of the indices."""
    places = _checked(graph, indices, _sizes(graph, x, batch_dims, indices)) if validate_indices else indices
    return graph.node("GatherND", x, graph.cast(places, "int64"), batch_dims=batch_dims)


@operation
def scatter(
    graph: Graph,
    data: Tensor,
    indices: Tensor,
    updates: Tensor,
    axis: int = 0,
    mode: str = "add",
    validate_indices: bool | None = None,
) -> Tensor:
    """`data` with its slices along an axis at the indices replaced by, or combined with, those of `updates`."""
    axis %= data.rank
    places = _checked(graph, indices, graph.size_of(data, axis)) if validate_indices is not None else indices
    if indices.rank != 1:
        sizes = [graph.size_of(data, i) for i in range(data.rank)]
        updates = graph.reshape(updates, *sizes[:axis], -1, *sizes[axis + 1 :])
    spread = graph.reshape(places, *(-1 if i == axis else 1 for i in range(data.rank)))
    spread = graph.node("Expand", spread, graph.shape_of(updates))
    return _scattered(graph, "ScatterElements", data, spread, updates, mode, axis=axis)


@operation
def scatter_along_axis(
    graph: Graph,
    data: Tensor,
    indices: Tensor,
    updates: Tensor,
    axis: int = 0,
    mode: str = "add",
    validate_indices: bool | None = None,
) -> Tensor:
    """`data` with its elements at the indices along an axis replaced by, or combined with, those of `updates`."""
    places = _checked(graph, indices, graph.size_of(data, axis)) if validate_indices is not None else indices
    return _scattered(graph, "ScatterElements", data, places, updates, mode, axis=axis)


@operation
def scatter_nd(
    graph: Graph,
    data: Tensor,
    indices: Tensor,
    updates: Tensor,
    mode: str = "add",
    validate_indices: bool | None = None,
) -> Tensor:
    """`data` with its slices at places, each a vector in the last axis of the indices, replaced or combined."""
    places = _checked(graph, indices, _sizes(graph, data, 0, indices)) if validate_indices is not None else indices
    return _scattered(graph, "ScatterND", data, graph.cast(places, "int64"), updates, mode)


def _scattered(
    graph: Graph, kind: str, data: Tensor, indices: Tensor, updates: Tensor, mode: str, **attributes: Any
) -> Tensor:
    """Add ONNX's node for one of the modes; where several updates meet at a place, each counts, and the last replaces.

    Raises:
        RequantError: if the mode is not known, or a division of integers.
    """
    if mode not in _REDUCTIONS:
        raise RequantError(f"its mode {mode!r} is none of {', '.join(_REDUCTIONS)}.")
    attributes["reduction"] = _REDUCTIONS[mode]
    updates = graph.cast(updates, data.dtype)
    if mode == "div":
        if data.dtype != "float32":
            raise RequantError("it divides integers, and no reference says how Core ML rounds there.")
        ones = graph.node("Expand", graph.scalar(1), graph.shape_of(data))
        return graph.node("Div", data, graph.node(kind, ones, indices, updates, **attributes))
    values = graph.node("Neg", updates) if mode == "sub" else updates
    return graph.node(kind, data, indices, values, **attributes)


def _checked(graph: Graph, indices: Tensor, sizes: Tensor) -> Tensor:
    """Return indices that are out of bounds where they are negative, which ONNX Runtime takes as an error."""
    if indices.value is not None and indices.value.size and indices.value.min() >= 0:
        return indices
    places = graph.cast(indices, "int64")
    return graph.node("Where", graph.node("Less", places, graph.integers(0)), sizes, places)


def _sizes(graph: Graph, x: Tensor, first: int, indices: Tensor) -> Tensor:
    """Return the sizes of the axes that the vectors in the last axis of the indices point into."""
    return graph.shape(*(graph.size_of(x, axis) for axis in range(first, first + indices.shape[-1])))
