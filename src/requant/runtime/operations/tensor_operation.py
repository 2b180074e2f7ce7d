"""Operations that make tensors, put them together, take them apart, or put their elements in order."""

from __future__ import annotations

import numpy as np

from requant.errors import RequantError
from requant.runtime.graph import Graph, Tensor
from requant.runtime.operations.registry import operation

_PAD_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}
_FEW = 64  # elements: what is filled up to this size is a constant, which shapes may be computed from


@operation
def identity(graph: Graph, x: Tensor) -> Tensor:  # noqa: ARG001 - an operation's first parameter is the graph
    """The tensor itself."""
    return x


@operation
def shape(graph: Graph, x: Tensor) -> Tensor:
    """The sizes of all axes."""
    return graph.shape_of(x)


@operation
def concat(graph: Graph, values: list[Tensor], axis: int, interleave: bool = False) -> Tensor:
    """The tensors one after the other along an axis; interleaved, their slices in turn. Numbers count as vectors."""
    values = [value if value.rank else graph.reshape(value, 1) for value in values]
    if not interleave:
        return graph.node("Concat", *values, axis=axis)
    axis %= values[0].rank
    apart = [graph.node("Unsqueeze", value, graph.integers(axis + 1)) for value in values]
    sizes = [graph.size_of(values[0], i) for i in range(values[0].rank)]
    woven = graph.node("Mul", sizes[axis], graph.integers(len(values)))
    return graph.reshape(graph.node("Concat", *apart, axis=axis + 1), *sizes[:axis], woven, *sizes[axis + 1 :])


@operation
def stack(graph: Graph, values: list[Tensor], axis: int) -> Tensor:
    """The tensors one after the other along a new axis."""
    axis %= values[0].rank + 1
    return graph.node("Concat", *(graph.node("Unsqueeze", x, graph.integers(axis)) for x in values), axis=axis)


@operation
def split(
    graph: Graph,
    x: Tensor,
    axis: int,
    num_splits: int | None = None,
    split_sizes: tuple[int, ...] | int | None = None,
) -> list[Tensor]:
    """The parts of a tensor along an axis: of the given sizes, or as many of the same size.

    Raises:
        RequantError: if neither sizes nor a number are given.
    """
    if split_sizes is not None:
        sizes = split_sizes if isinstance(split_sizes, tuple) else (split_sizes,)
        return graph.nodes("Split", x, graph.integers(*sizes), count=len(sizes), axis=axis)
    if num_splits is None:
        raise RequantError("it has neither split_sizes nor num_splits.")
    if x.shape[axis] >= 0:
        equal = graph.integers(*[x.shape[axis] // num_splits] * num_splits)
        return graph.nodes("Split", x, equal, count=num_splits, axis=axis)
    return graph.nodes("Split", x, count=num_splits, axis=axis, num_outputs=num_splits)


@operation
def flatten2d(graph: Graph, x: Tensor, axis: int = 1) -> Tensor:
    """A matrix: the axes before `axis` as one, and the others as one."""
    return graph.node("Flatten", x, axis=axis)


@operation
def fill(graph: Graph, shape: Tensor, value: float = 0.0) -> Tensor:
    """A tensor of a shape that holds one number."""
    if shape.value is not None and np.prod(shape.value) <= _FEW:
        return graph.constant(np.full(shape.value.reshape(-1), value))
    return graph.node("Expand", graph.constant(np.array(value)), graph.cast(shape, "int64"))


@operation
def fill_like(graph: Graph, ref_tensor: Tensor, value: float = 0.0) -> Tensor:
    """A tensor of the shape of another that holds one number."""
    return fill(graph, graph.shape_of(ref_tensor), value)


@operation
def tile(graph: Graph, x: Tensor, reps: Tensor) -> Tensor:
    """The tensor repeated along each axis."""
    return graph.node("Tile", x, graph.cast(reps, "int64"))


@operation
def range_1d(graph: Graph, end: Tensor, start: Tensor, step: Tensor) -> Tensor:
    """The numbers from `start` to `end` (exclusive) at a distance of `step`."""
    return graph.node("Range", *(graph.reshape(number) for number in (start, end, step)))


@operation
def non_zero(graph: Graph, x: Tensor) -> Tensor:
    """The places of the elements that are not zero, (count, axes)."""
    return graph.node("Transpose", graph.node("NonZero", x), perm=[1, 0])


@operation
def one_hot(
    graph: Graph,
    indices: Tensor,
    one_hot_vector_size: Tensor,
    axis: int = -1,
    on_value: float = 1,
    off_value: float = 0,
) -> Tensor:
    """A new axis that holds `on_value` at the index and `off_value` elsewhere, thus everywhere for no valid index."""
    axis %= indices.rank + 1
    places = counting(graph, graph.cast(one_hot_vector_size, "int64"))
    spread = graph.reshape(places, *(-1 if i == axis else 1 for i in range(indices.rank + 1)))
    numbers = graph.node("Unsqueeze", graph.cast(indices, "int64"), graph.integers(axis))
    dtype = np.result_type(type(on_value), type(off_value), np.int32)  # ONNX Runtime chooses between numbers only
    on, off = (graph.constant(np.array(value, dtype)) for value in (on_value, off_value))
    return graph.node("Where", graph.node("Equal", numbers, spread), on, off)


def counting(graph: Graph, count: Tensor) -> Tensor:
    """Return the numbers from 0 to `count` (exclusive), int64."""
    if count.value is not None:
        return graph.constant(np.arange(int(count.value.reshape(-1)[0]), dtype=np.int64))
    return graph.node("Range", graph.scalar(0, "int64"), graph.reshape(count), graph.scalar(1, "int64"))


@operation
def pad(graph: Graph, x: Tensor, pad: Tensor, mode: str = "constant", constant_val: float = 0.0) -> Tensor:
    """More elements before and after, along the last axes: a number, the mirrored elements, or those at the edge.

    `pad` holds how many are before and how many after, for each of the last axes.
    """
    axes = pad.shape[0] // 2
    pairs = graph.reshape(graph.cast(pad, "int64"), axes, 2)
    ends = graph.reshape(graph.node("Transpose", pairs, perm=[1, 0]), -1)
    if pad.value is not None:
        ends = graph.integers(*pad.value[::2].tolist(), *pad.value[1::2].tolist())
    if axes < x.rank:
        zeros = graph.integers(*[0] * (x.rank - axes))
        before, after = (graph.node("Slice", ends, graph.integers(a), graph.integers(a + axes)) for a in (0, axes))
        ends = graph.node("Concat", zeros, before, zeros, after, axis=0)
    number = graph.scalar(constant_val, x.dtype) if mode == "constant" else None
    return graph.node("Pad", x, ends, number, mode=_PAD_MODES[mode])


@operation
def cumsum(graph: Graph, x: Tensor, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> Tensor:
    """The sums of all elements up to each along an axis; exclusive, without that one; reverse, from the end."""
    return graph.node("CumSum", x, graph.scalar(axis, "int64"), exclusive=int(exclusive), reverse=int(reverse))


@operation
def band_part(graph: Graph, x: Tensor, lower: int = -1, upper: int = -1) -> Tensor:
    """The matrices in the last two axes with zeros outside of a band around the diagonal.

    The band reaches `lower` elements down and `upper` elements up from the diagonal, or all the way where negative.
    """
    inside = []
    rows = graph.node("Unsqueeze", counting(graph, graph.size_of(x, -2)), graph.integers(1))
    columns = graph.node("Unsqueeze", counting(graph, graph.size_of(x, -1)), graph.integers(0))
    if lower >= 0:
        reach = graph.node("Add", columns, graph.integers(lower))
        inside.append(graph.node("LessOrEqual", rows, reach))
    if upper >= 0:
        reach = graph.node("Add", rows, graph.integers(upper))
        inside.append(graph.node("LessOrEqual", columns, reach))
    for mask in inside:
        x = graph.node("And", x, mask) if x.dtype == "bool" else graph.node("Where", mask, x, graph.scalar(0, x.dtype))
    return x


@operation
def argsort(graph: Graph, x: Tensor, axis: int = -1, ascending: bool = False) -> Tensor:
    """The places of the elements in their order along an axis; the first of equal ones comes first."""
    count = graph.size_of(x, axis)
    return graph.nodes("TopK", x, count, count=2, axis=axis, largest=int(not ascending))[1]


@operation
def topk(
    graph: Graph,
    x: Tensor,
    k: Tensor | None = None,
    axis: int = -1,
    ascending: bool = False,
    sort: bool = True,  # noqa: ARG001 - without it any order is right
    return_indices: bool = True,
    output_indices_dtype: str = "int32",  # noqa: ARG001 - the program declares the type
) -> list[Tensor]:
    """The greatest (or least) elements along an axis in their order, and their places; all for a `k` of -1."""
    count = graph.integers(1) if k is None else graph.cast(graph.reshape(k, 1), "int64")
    if count.value is not None and int(count.value[0]) == -1:
        count = graph.size_of(x, axis)
    results = graph.nodes("TopK", x, count, count=2, axis=axis, largest=int(not ascending))
    return results if return_indices else results[:1]
