"""Operations that make, fill, put together, take apart, sort and search tensors."""

from __future__ import annotations

import numpy as np

from requant.errors import RequantError
from requant.runtime.graph import Graph, Tensor
from requant.runtime.operations.registry import operation

_PAD_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}


@operation
def identity(graph: Graph, x: Tensor) -> Tensor:  # noqa: ARG001 - every operation takes the graph
    """The tensor itself."""
    return x


@operation
def concat(graph: Graph, values: list[Tensor], axis: int, interleave: bool = False) -> Tensor:
    """The tensors one after the other along an axis; interleaved, their slices in turn."""
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
    apart = [graph.node("Unsqueeze", value, graph.integers(axis)) for value in values]
    return graph.node("Concat", *apart, axis=axis)


@operation
def split(
    graph: Graph,
    x: Tensor,
    axis: int,
    num_splits: int | None = None,
    split_sizes: tuple[int, ...] | int | None = None,
) -> list[Tensor]:
    """Parts along an axis, of equal or of given sizes.

    Raises:
        RequantError: if neither the number of parts nor their sizes are given.
    """
    if split_sizes is not None:
        sizes = split_sizes if isinstance(split_sizes, tuple) else (split_sizes,)
        return graph.nodes("Split", x, graph.integers(*sizes), count=len(sizes), axis=axis)
    if not num_splits:
        raise RequantError("it says neither how many parts it makes nor how large they are.")
    return graph.nodes("Split", x, count=num_splits, axis=axis, num_outputs=num_splits)


@operation
def shape(graph: Graph, x: Tensor) -> Tensor:
    """The sizes of all axes."""
    return graph.shape_of(x)


@operation
def flatten2d(graph: Graph, x: Tensor, axis: int = 1) -> Tensor:
    """A matrix: the axes before one, and those from it on."""
    return graph.node("Flatten", x, axis=axis)


@operation
def tile(graph: Graph, x: Tensor, reps: Tensor) -> Tensor:
    """The tensor repeated along each axis."""
    return graph.node("Tile", x, graph.cast(reps, "int64"))


@operation
def fill(graph: Graph, shape: Tensor, value: float = 0.0) -> Tensor:
    """A tensor of one number."""
    return graph.node("Expand", graph.constant(np.array(value)), graph.cast(shape, "int64"))


@operation
def fill_like(graph: Graph, ref_tensor: Tensor, value: float = 0.0) -> Tensor:
    """A tensor of one number, of the shape of another."""
    return graph.node("Expand", graph.constant(np.array(value)), graph.shape_of(ref_tensor))


@operation
def range_1d(graph: Graph, end: Tensor, start: Tensor, step: Tensor) -> Tensor:
    """The numbers from `start` to before `end`."""
    return graph.node("Range", *(graph.reshape(graph.cast(bound, start.dtype)) for bound in (start, end, step)))


@operation
def pad(graph: Graph, x: Tensor, pad: Tensor, mode: str = "constant", constant_val: float = 0.0) -> Tensor:
    """A border around the last axes: one number, reflected or repeated elements.

    `pad` is (2 N): how many elements before and after each of the last N axes.

    Raises:
        RequantError: if the mode is none that MIL defines.
    """
    if mode not in _PAD_MODES:
        raise RequantError(f"it has the mode {mode!r}, which MIL does not define.")
    pairs = graph.node("Transpose", graph.reshape(graph.cast(pad, "int64"), -1, 2), perm=[1, 0])
    if pad.value is not None:
        pairs = graph.constant(np.asarray(pad.value, np.int64).reshape(-1, 2).T)
    count = pairs.shape[1] if pairs.shape[1] >= 0 else x.rank
    axes = graph.integers(*range(x.rank - count, x.rank))
    value = graph.constant(np.array(constant_val, x.dtype)) if mode == "constant" else None
    return graph.node("Pad", x, graph.reshape(pairs, -1), value, axes, mode=_PAD_MODES[mode])


@operation
def band_part(graph: Graph, x: Tensor, lower: int = -1, upper: int = -1) -> Tensor:
    """The innermost matrices with zeros outside a band around the diagonal; a negative width is unlimited."""
    banded = x if x.dtype == "float32" else graph.cast(x, "int64")
    if lower >= 0:
        banded = graph.node("Trilu", banded, graph.scalar(-lower, "int64"), upper=1)
    return graph.node("Trilu", banded, graph.scalar(upper, "int64"), upper=0) if upper >= 0 else banded


@operation
def cumsum(graph: Graph, x: Tensor, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> Tensor:
    """The sums of all elements up to each, along an axis."""
    along = graph.scalar(axis, "int64")
    return graph.node("CumSum", x, along, exclusive=int(exclusive), reverse=int(reverse))


@operation
def non_zero(graph: Graph, x: Tensor) -> Tensor:
    """The places (count, rank) of the elements that are not zero."""
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
    """Vectors, along a new axis, with one number at the places that the indices name, and another elsewhere."""
    axis %= indices.rank + 1
    count = graph.reshape(graph.cast(one_hot_vector_size, "int32"))
    places = graph.node("Range", graph.scalar(0, "int32"), count, graph.scalar(1, "int32"))
    places = graph.reshape(places, -1, *[1] * (indices.rank - axis))
    here = graph.node("Equal", graph.node("Unsqueeze", graph.cast(indices, "int32"), graph.integers(axis)), places)
    dtype = np.result_type(np.array(on_value).dtype, np.array(off_value).dtype)
    on, off = (graph.constant(np.array(value, dtype)) for value in (on_value, off_value))
    if dtype == np.bool_:
        on, off = graph.cast(on, "int32"), graph.cast(off, "int32")
    return graph.node("Where", here, on, off)


@operation
def argsort(graph: Graph, x: Tensor, axis: int = -1, ascending: bool = False) -> Tensor:
    """The indices of the elements in order, by default from the greatest on."""
    return graph.nodes("TopK", x, graph.size_of(x, axis), count=2, axis=axis, largest=int(not ascending))[1]


@operation
def topk(
    graph: Graph,
    x: Tensor,
    k: Tensor | None = None,
    axis: int = -1,
    ascending: bool = False,
    sort: bool = True,  # noqa: ARG001 - without it any order is right, this one too
    return_indices: bool = True,
    output_indices_dtype: str = "int32",  # noqa: ARG001 - results take the type that the program declares
) -> list[Tensor]:
    """The greatest or the least elements along an axis, in order, and their indices; `k` of -1 stands for all."""
    count = graph.integers(1) if k is None else graph.cast(graph.reshape(k, 1), "int64")
    if count.value is not None and count.value.item() == -1:
        count = graph.size_of(x, axis)
    results = graph.nodes("TopK", x, count, count=2, axis=axis, largest=int(not ascending))
    return results if return_indices else results[:1]
