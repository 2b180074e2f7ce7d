"""Operations that change the shape of a tensor, the order of its axes or of its elements, or take parts of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from requant.runtime.graph import Graph, Tensor
from requant.runtime.operations.registry import operation

_LAST, _FIRST = np.iinfo(np.int64).max, np.iinfo(np.int64).min  # beyond the last and before the first index


@operation
def reshape(graph: Graph, x: Tensor, shape: Tensor) -> Tensor:
    """The same numbers in another shape; -1 stands for what is left, 0 for the size that the axis had."""
    return graph.node("Reshape", x, graph.cast(shape, "int64"))


@operation
def reshape_like(
    graph: Graph,
    x: Tensor,
    ref_tensors: list[Tensor],
    begins: list[Tensor],
    ends: list[Tensor],
    end_masks: list[Tensor],
) -> Tensor:
    """The same numbers in a shape made of parts of the shapes of other tensors."""
    sizes: list[Tensor] = []
    for reference, *bounds in zip(ref_tensors, begins, ends, end_masks, strict=True):
        begin, end, to_the_end = (int(np.asarray(bound.value).item()) for bound in bounds)
        axes = range(reference.rank)[begin:] if to_the_end else range(reference.rank)[begin:end]
        sizes += [graph.size_of(reference, axis) for axis in axes]
    return graph.reshape(x, *sizes)


@operation
def transpose(graph: Graph, x: Tensor, perm: tuple[int, ...]) -> Tensor:
    """The axes in another order."""
    return graph.node("Transpose", x, perm=[axis % len(perm) for axis in perm])


@operation
def expand_dims(graph: Graph, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """New axes of size 1."""
    return graph.node("Unsqueeze", x, graph.integers(*axes))


@operation
def squeeze(graph: Graph, x: Tensor, axes: tuple[int, ...] | None = None) -> Tensor:
    """Fewer axes of size 1: those named, or all."""
    return graph.node("Squeeze", x, graph.integers(*axes) if axes else None)


@operation
def reverse(graph: Graph, x: Tensor, axes: tuple[int, ...] | None = None) -> Tensor:
    """The elements in reverse order along some axes, or along all."""
    turned = list(range(x.rank)) if axes is None else [axis % x.rank for axis in axes]
    if not turned:
        return x
    count = len(turned)
    starts, ends, steps = (graph.integers(*[value] * count) for value in (_LAST, _FIRST, -1))
    return graph.node("Slice", x, starts, ends, graph.integers(*turned), steps)


@operation
def reverse_sequence(graph: Graph, x: Tensor, lengths: Tensor, seq_axis: int = 0, batch_axis: int = 0) -> Tensor:
    """The first `lengths[i]` elements of each sequence in reverse order, the others as they were."""
    first = [batch_axis % x.rank, seq_axis % x.rank]
    perm = first + [axis for axis in range(x.rank) if axis not in first]
    moved = graph.node("Transpose", x, perm=perm)
    reversed_ = graph.node("ReverseSequence", moved, graph.cast(lengths, "int64"), batch_axis=0, time_axis=1)
    return graph.node("Transpose", reversed_, perm=np.argsort(perm).tolist())


@operation
def slice_by_index(
    graph: Graph,
    x: Tensor,
    begin: Tensor,
    end: Tensor,
    stride: tuple[int, ...] | None = None,
    begin_mask: tuple[bool, ...] | None = None,
    end_mask: tuple[bool, ...] | None = None,
    squeeze_mask: tuple[bool, ...] | None = None,
) -> Tensor:
    """`x[begin:end:stride]` along each axis; a mask leaves a bound out, or takes one index and the axis away."""
    starts, ends, steps = _bounds(graph, x, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    part = graph.node("Slice", x, starts, ends, graph.integers(*range(x.rank)), steps)
    gone = [axis for axis, leaves in enumerate(squeeze_mask or ()) if leaves]
    return graph.node("Squeeze", part, graph.integers(*gone)) if gone else part


@operation
def slice_update(
    graph: Graph,
    x: Tensor,
    update: Tensor,
    begin: Tensor,
    end: Tensor,
    stride: tuple[int, ...] | None = None,
    begin_mask: tuple[bool, ...] | None = None,
    end_mask: tuple[bool, ...] | None = None,
    squeeze_mask: tuple[bool, ...] | None = None,
) -> Tensor:
    """`x` with the part that `slice_by_index` would take replaced."""
    starts, ends, steps = _bounds(graph, x, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    shape = graph.shape_of(x)
    count = graph.node("ReduceProd", shape, keepdims=0)
    numbered = graph.node("Range", graph.scalar(0, "int64"), count, graph.scalar(1, "int64"))
    places = graph.node(
        "Slice", graph.node("Reshape", numbered, shape), starts, ends, graph.integers(*range(x.rank)), steps
    )
    flat, values = graph.reshape(x, -1), graph.reshape(graph.cast(update, x.dtype), -1)
    return graph.node("Reshape", graph.node("ScatterElements", flat, graph.reshape(places, -1), values, axis=0), shape)


def _bounds(
    graph: Graph,
    x: Tensor,
    begin: Tensor,
    end: Tensor,
    stride: tuple[int, ...] | None,
    begin_mask: tuple[bool, ...] | None,
    end_mask: tuple[bool, ...] | None,
    squeeze_mask: tuple[bool, ...] | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the starts, ends and steps of ONNX's `Slice` along all axes, int64."""
    taken = squeeze_mask or (False,) * x.rank
    steps = [1 if one else step for one, step in zip(taken, stride or (1,) * x.rank, strict=True)]
    starts, ends = graph.cast(begin, "int64"), graph.cast(end, "int64")
    if begin_mask and any(begin_mask):
        first = graph.integers(*(0 if step > 0 else _LAST for step in steps))
        starts = graph.node("Where", _mask(graph, begin_mask), first, starts)
    if end_mask and any(end_mask):
        last = graph.integers(*(_LAST if step > 0 else _FIRST for step in steps))
        ends = graph.node("Where", _mask(graph, end_mask), last, ends)
    if any(taken):
        is_last = graph.node("Equal", starts, graph.integers(-1))
        after = graph.node("Where", is_last, graph.integers(_LAST), graph.node("Add", starts, graph.integers(1)))
        ends = graph.node("Where", _mask(graph, taken), after, ends)
    return starts, ends, graph.integers(*steps)


def _mask(graph: Graph, mask: Sequence[bool]) -> Tensor:
    return graph.constant(np.array(mask, bool))


@operation
def slice_by_size(graph: Graph, x: Tensor, begin: Tensor, size: Tensor) -> Tensor:
    """`size` elements from `begin` on along each axis; -1 stands for all that are left."""
    starts, sizes = graph.cast(begin, "int64"), graph.cast(size, "int64")
    negative = graph.node("Less", starts, graph.integers(0))
    starts = graph.node("Where", negative, graph.node("Add", starts, graph.shape_of(x)), starts)
    all_left = graph.node("Less", sizes, graph.integers(0))
    ends = graph.node("Where", all_left, graph.integers(_LAST), graph.node("Add", starts, sizes))
    return graph.node("Slice", x, starts, ends, graph.integers(*range(x.rank)))


@operation
def depth_to_space(graph: Graph, x: Tensor, block_size: int) -> Tensor:
    """Channels moved into blocks of pixels; the place within a block is counted before the channel."""
    return graph.node("DepthToSpace", x, blocksize=block_size, mode="DCR")


@operation
def space_to_depth(graph: Graph, x: Tensor, block_size: int) -> Tensor:
    """Blocks of pixels moved into channels; the place within a block is counted before the channel."""
    return graph.node("SpaceToDepth", x, blocksize=block_size)


@operation
def pixel_shuffle(graph: Graph, x: Tensor, upscale_factor: int) -> Tensor:
    """Channels moved into blocks of pixels; the channel is counted before the place within a block."""
    return graph.node("DepthToSpace", x, blocksize=upscale_factor, mode="CRD")


@operation
def pixel_unshuffle(graph: Graph, x: Tensor, downscale_factor: int) -> Tensor:
    """Blocks of pixels moved into channels; the channel is counted before the place within a block."""
    factor = downscale_factor
    blocks = _split_axes(graph, x, {2: factor, 3: factor})
    batch, channels, height, _, width, _ = (graph.size_of(blocks, axis) for axis in range(6))
    moved = graph.node("Transpose", blocks, perm=[0, 1, 3, 5, 2, 4])
    return graph.reshape(moved, batch, graph.node("Mul", channels, graph.integers(factor**2)), height, width)


@operation
def space_to_batch(graph: Graph, x: Tensor, block_shape: tuple[int, ...], paddings: tuple[int, ...]) -> Tensor:
    """Blocks of pixels moved into the batch, after a border of zeros."""
    pads = graph.integers(0, 0, *paddings[::2], 0, 0, *paddings[1::2])
    blocks = _split_axes(graph, graph.node("Pad", x, pads), {2: block_shape[0], 3: block_shape[1]})
    batch, channels, height, _, width, _ = (graph.size_of(blocks, axis) for axis in range(6))
    moved = graph.node("Transpose", blocks, perm=[3, 5, 0, 1, 2, 4])
    return graph.reshape(
        moved, graph.node("Mul", batch, graph.integers(block_shape[0] * block_shape[1])), channels, height, width
    )


@operation
def batch_to_space(graph: Graph, x: Tensor, block_shape: tuple[int, ...], crops: tuple[int, ...]) -> Tensor:
    """The batch moved into blocks of pixels, which are then cropped."""
    rows, columns = block_shape
    batch, channels, height, width = (graph.size_of(x, axis) for axis in range(4))
    rest = graph.node("Div", batch, graph.integers(rows * columns))
    apart = graph.reshape(x, rows, columns, rest, channels, height, width)
    moved = graph.node("Transpose", apart, perm=[2, 3, 4, 0, 5, 1])
    tall, wide = (graph.node("Mul", s, graph.integers(n)) for s, n in ((height, rows), (width, columns)))
    whole = graph.reshape(moved, rest, channels, tall, wide)
    starts, ends = graph.integers(*crops[::2]), [-end if end else _LAST for end in crops[1::2]]
    return graph.node("Slice", whole, starts, graph.integers(*ends), graph.integers(2, 3))


def _split_axes(graph: Graph, x: Tensor, factors: dict[int, int]) -> Tensor:
    """Return a tensor with some axes split in two, of which the second has the given size."""
    sizes: list[int | Tensor] = []
    for axis in range(x.rank):
        size = graph.size_of(x, axis)
        factor = factors.get(axis)
        sizes += [graph.node("Div", size, graph.integers(factor)), factor] if factor else [size]
    return graph.reshape(x, *sizes)


@operation
def sliding_windows(graph: Graph, x: Tensor, axis: int, size: int, stride: int = 1) -> Tensor:
    """All windows of some size along an axis, which becomes two: the windows, and the elements of each."""
    axis %= x.rank
    places = np.arange(size, dtype=np.int64)
    if x.shape[axis] >= 0:
        starts = graph.constant(np.arange(0, x.shape[axis] - size + 1, stride, dtype=np.int64)[:, np.newaxis])
    else:
        end = graph.node("Squeeze", graph.node("Sub", graph.size_of(x, axis), graph.integers(size - 1)))
        counted = graph.node("Range", graph.scalar(0, "int64"), end, graph.scalar(stride, "int64"))
        starts = graph.node("Unsqueeze", counted, graph.integers(1))
    return graph.node("Gather", x, graph.node("Add", starts, graph.constant(places)), axis=axis)
