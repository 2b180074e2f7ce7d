"""Operations that take elements from places, or put them there, that another tensor names."""

from __future__ import annotations

from requant.errors import RequantError
from requant.runtime.graph import Graph, Tensor
from requant.runtime.operations.registry import operation

_REDUCTIONS = {"update": "none", "add": "add", "sub": "add", "mul": "mul", "div": "mul", "max": "max", "min": "min"}


@operation
def gather(
    graph: Graph,
    x: Tensor,
    indices: Tensor,
    axis: int = 0,
    batch_dims: int = 0,
    validate_indices: bool = False,  # noqa: ARG001 - ONNX Runtime always does
) -> Tensor:
    """The slices of `x` along an axis that the indices name; negative ones count from the end.

    With `batch_dims`, the first axes of both belong together.
    """
    if not batch_dims:
        return graph.node("Gather", x, indices, axis=axis)
    axis, batch = axis % x.rank, batch_dims % (indices.rank + 1)
    moved = graph.node("Transpose", x, perm=[*range(batch), axis, *(i for i in range(batch, x.rank) if i != axis)])
    places = graph.node("Unsqueeze", graph.cast(indices, "int64"), graph.integers(-1))
    found = graph.node("GatherND", moved, places, batch_dims=batch)
    # found: batch, the rest of the indices, the axes of x between batch and axis, those after axis
    rest, between = indices.rank - batch, axis - batch
    order = [*range(batch), *range(batch + rest, batch + rest + between), *range(batch, batch + rest)]
    return graph.node("Transpose", found, perm=[*order, *range(batch + rest + between, found.rank)])


@operation
def gather_along_axis(
    graph: Graph,
    x: Tensor,
    indices: Tensor,
    axis: int = 0,
    validate_indices: bool = False,  # noqa: ARG001 - ONNX Runtime always does
) -> Tensor:
    """The elements of `x` whose place along one axis the indices name."""
    return graph.node("GatherElements", x, indices, axis=axis)


@operation
def gather_nd(
    graph: Graph,
    x: Tensor,
    indices: Tensor,
    batch_dims: int = 0,
    validate_indices: bool = False,  # noqa: ARG001 - ONNX Runtime always does
) -> Tensor:
    """The slices of `x` at the places that the last axis of the indices holds."""
    return graph.node("GatherND", x, graph.cast(indices, "int64"), batch_dims=batch_dims)


@operation
def scatter(
    graph: Graph,
    data: Tensor,
    indices: Tensor,
    updates: Tensor,
    axis: int = 0,
    mode: str = "add",
    validate_indices: bool = False,  # noqa: ARG001 - ONNX Runtime always does
) -> Tensor:
    """`data` with slices along an axis changed by `updates`."""
    axis, count = axis % data.rank, indices.rank
    places = graph.node("Unsqueeze", graph.cast(indices, "int64"), graph.integers(-1))
    first = [axis, *(i for i in range(data.rank) if i != axis)]
    named = range(axis, axis + count)
    changes = graph.node("Transpose", updates, perm=[*named, *(i for i in range(updates.rank) if i not in named)])
    changed = _scattered(graph, "ScatterND", graph.node("Transpose", data, perm=first), places, changes, mode)
    return graph.node("Transpose", changed, perm=[*range(1, axis + 1), 0, *range(axis + 1, data.rank)])


@operation
def scatter_along_axis(
    graph: Graph,
    data: Tensor,
    indices: Tensor,
    updates: Tensor,
    axis: int = 0,
    mode: str = "add",
    validate_indices: bool = False,  # noqa: ARG001 - ONNX Runtime always does
) -> Tensor:
    """`data` with the elements changed whose place along one axis the indices name."""
    return _scattered(graph, "ScatterElements", data, indices, updates, mode, axis=axis)


@operation
def scatter_nd(
    graph: Graph,
    data: Tensor,
    indices: Tensor,
    updates: Tensor,
    mode: str = "add",
    validate_indices: bool = False,  # noqa: ARG001 - ONNX Runtime always does
) -> Tensor:
    """`data` with the slices changed at the places that the last axis of the indices holds."""
    return _scattered(graph, "ScatterND", data, graph.cast(indices, "int64"), updates, mode)


def _scattered(
    graph: Graph, kind: str, data: Tensor, indices: Tensor, updates: Tensor, mode: str, **attributes: int
) -> Tensor:
    """Add a node that scatters; a difference is a sum of the negative, a quotient a product with the reciprocal."""
    if mode not in _REDUCTIONS:
        raise RequantError(f"it has the mode {mode!r}, which MIL does not define.")
    updates = graph.cast(updates, data.dtype)
    if mode == "sub":
        updates = graph.node("Neg", updates)
    if mode == "div":
        if data.dtype != "float32":
            raise RequantError("it divides integers while it scatters, which MIL does not define.")
        updates = graph.node("Reciprocal", updates)
    return graph.node(kind, data, indices, updates, reduction=_REDUCTIONS[mode], **attributes)
