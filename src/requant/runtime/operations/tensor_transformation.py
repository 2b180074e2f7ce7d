"""Operations that change the shape of a tensor, the order of its axes, or take a part of it."""

from __future__ import annotations

import numpy as np

from requant.errors import RequantError
from requant.runtime.graph import Graph, Tensor
from requant.runtime.operations.registry import operation

_FIRST, _LAST = int(np.iinfo(np.int64).min), int(np.iinfo(np.int64).max)
Mask = tuple[bool, ...] | None


@operation
def reshape(graph: Graph, x: Tensor, shape: Tensor) -> Tensor:
    """The same numbers in another shape.

    -1 stands for what is left. 0 stands for the size of the axis of `x` at the same place, counted from the last one;
    where `x` has no such axis, for 1 (the rule since iOS 17; before, there had to be as many axes as before).
    """
    count = shape.shape[0]
    if count == x.rank:
        return graph.node("Reshape", x, graph.cast(shape, "int64"))
    if shape.value is None:
        return _reshaped_as_computed(graph, x, shape)
    sizes = [int(size) for size in shape.value]
    return graph.reshape(x, *(size if size else _aligned(graph, x, i - count) for i, size in enumerate(sizes)))


def _reshaped_as_computed(graph: Graph, x: Tensor, shape: Tensor) -> Tensor:
    aligned = graph.shape(*(_aligned(graph, x, axis) for axis in range(-shape.shape[0], 0)))
    target = graph.cast(shape, "int64")
    target = graph.node("Where", graph.node("Equal", target, graph.integers(0)), aligned, target)
    return graph.node("Reshape", x, target)


def _aligned(graph: Graph, x: Tensor, axis: int) -> Tensor:
    return graph.size_of(x, axis) if x.rank + axis >= 0 else graph.integers(1)


@operation
def reshape_like(
    graph: Graph,
    x: Tensor,
    ref_tensors: list[Tensor],
    begins: list[Tensor],
    ends: list[Tensor],
    end_masks: list[Tensor],
) -> Tensor:
    """The same numbers in a shape that is put together from parts of other tensors' shapes."""
    sizes: list[Tensor] = []
    for tensor, begin, end, mask in zip(ref_tensors, begins, ends, end_masks, strict=True):
        last = None if _number(mask) else _number(end)
        sizes += [graph.size_of(tensor, axis) for axis in range(tensor.rank)[_number(begin) : last]]
    return graph.reshape(x, *sizes)


def _number(x: Tensor) -> int:
    if x.value is None:
        raise RequantError("it computes a parameter while it runs that has to be constant.")
    return int(x.value.reshape(-1)[0])


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
    """Fewer axes of size 1: those of the named ones that have size 1, or all. Axes of open size stay."""
    places = range(x.rank) if axes is None else [axis % x.rank for axis in axes]
    gone = [axis for axis in places if x.shape[axis] == 1]
    return graph.node("Squeeze", x, graph.integers(*gone)) if gone else x


@operation
def reverse(graph: Graph, x: Tensor, axes: tuple[int, ...] | None = None) -> Tensor:
    """The elements in the opposite order, along some axes or along all."""
    places = range(x.rank) if axes is None else [axis % x.rank for axis in axes]
    return sliced(graph, x, dict.fromkeys(places, (_LAST, _FIRST, -1)))


@operation
def reverse_sequence(graph: Graph, x: Tensor, lengths: Tensor, seq_axis: int = 0, batch_axis: int = 0) -> Tensor:
    """The first elements along an axis in the opposite order, as many as `lengths` says for each of the batch.

    Raises:
        RequantError: if both axes are the same.
    """
    time, batch = seq_axis % x.rank, batch_axis % x.rank
    if time == batch:
        raise RequantError(f"its sequence and its batch are the same axis ({time}), which has no meaning.")
    others = [axis for axis in range(x.rank) if axis not in (time, batch)]
    order = [batch, time, *others]
    moved = graph.node("Transpose", x, perm=order)
    turned = graph.node("ReverseSequence", moved, graph.cast(lengths, "int64"), batch_axis=0, time_axis=1)
    return graph.node("Transpose", turned, perm=[order.index(axis) for axis in range(x.rank)])


@operation
def slice_by_index(
    graph: Graph,
    x: Tensor,
    begin: Tensor,
    end: Tensor,
    stride: tuple[int, ...] | None = None,
    begin_mask: Mask = None,
    end_mask: Mask = None,
    squeeze_mask: Mask = None,
) -> Tensor:
    """`x[begin:end:stride]` per axis, as numpy slices.

    Where `begin_mask` holds, the slice begins at the first element (at the last for a negative stride); where
    `end_mask` holds, it goes on to the end. Where `squeeze_mask` holds, the one element at `begin` is taken, and the
    axis is gone.
    """
    bounds = _bounds(graph, x, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    part = sliced(graph, x, bounds)
    gone = [axis for axis, mask in enumerate(squeeze_mask or ()) if mask]
    return graph.node("Squeeze", part, graph.integers(*gone)) if gone else part


@operation
def slice_by_size(graph: Graph, x: Tensor, begin: Tensor, size: Tensor) -> Tensor:
    """`size` elements from `begin` on, per axis; all that follow where the size is -1."""
    starts, sizes = elements(graph, begin, x.rank), elements(graph, size, x.rank)
    bounds: dict[int, Bound] = {}
    for axis, (start, count) in enumerate(zip(starts, sizes, strict=True)):
        first = _from_start(graph, x, axis, start)
        bounds[axis] = (first, _stop(graph, first, count), 1)
    return sliced(graph, x, bounds)


def _from_start(graph: Graph, x: Tensor, axis: int, place: Place) -> Place:
    """Return a place that may be counted from the end as one that is counted from the start."""
    if isinstance(place, int) and (place >= 0 or x.shape[axis] >= 0):
        return place if place >= 0 else place + x.shape[axis]
    number = graph.integers(place) if isinstance(place, int) else place
    from_end = graph.node("Add", number, graph.size_of(x, axis))
    return graph.node("Where", graph.node("Less", number, graph.integers(0)), from_end, number)


def _stop(graph: Graph, start: Place, size: Place) -> Place:
    if size == -1:
        return _LAST
    if isinstance(start, int) and isinstance(size, int):
        return start + size
    number, count = (graph.integers(v) if isinstance(v, int) else v for v in (start, size))
    stop = graph.node("Add", number, count)
    if isinstance(size, int):
        return stop
    return graph.node("Where", graph.node("Equal", count, graph.integers(-1)), graph.integers(_LAST), stop)


@operation
def slice_update(
    graph: Graph,
    x: Tensor,
    update: Tensor,
    begin: Tensor,
    end: Tensor,
    stride: tuple[int, ...] | None = None,
    begin_mask: Mask = None,
    end_mask: Mask = None,
    squeeze_mask: Mask = None,
) -> Tensor:
    """`x` with the part that `slice_by_index` would take replaced by `update`."""
    bounds = _bounds(graph, x, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    bounds = {axis: bound for axis, bound in bounds.items() if not _is_whole(x, axis, bound)}
    gone = [axis for axis, mask in enumerate(squeeze_mask or ()) if mask]
    part = graph.node("Unsqueeze", update, graph.integers(*gone)) if gone else update
    if all(step == 1 for _, _, step in bounds.values()):
        return graph.declare(_inserted(graph, x, part, bounds), x.shape)
    places = graph.reshape(_counting(graph, x), *(graph.size_of(x, axis) for axis in range(x.rank)))
    flat = [graph.reshape(tensor, -1) for tensor in (x, sliced(graph, places, bounds), part)]
    updated = graph.node("ScatterElements", *flat, axis=0)
    return graph.reshape(updated, *(graph.size_of(x, axis) for axis in range(x.rank)))


def _inserted(graph: Graph, x: Tensor, part: Tensor, bounds: dict[int, Bound]) -> Tensor:
    """Put a part without gaps into a tensor: axis by axis, what is before it, the part, and what is after it."""
    if not bounds:
        return part
    (axis, bound), *others = bounds.items()
    inner = _inserted(graph, sliced(graph, x, {axis: bound}), part, dict(others))
    before, after = sliced(graph, x, {axis: (0, bound[0], 1)}), sliced(graph, x, {axis: (bound[1], _LAST, 1)})
    return graph.node("Concat", before, inner, after, axis=axis)


def _counting(graph: Graph, x: Tensor) -> Tensor:
    """Return the numbers 0, 1, 2... for all elements of a tensor."""
    if x.is_static:
        return graph.constant(np.arange(int(np.prod(x.shape)), dtype=np.int64))
    count = graph.node("Size", x)
    return graph.node("Range", graph.scalar(0, "int64"), count, graph.scalar(1, "int64"))


Place = int | Tensor
Bound = tuple[Place, Place, int]


def elements(graph: Graph, vector: Tensor, count: int) -> list[Place]:
    """Return the first elements of a vector: numbers where they are known, else int64 tensors of shape (1,)."""
    if vector.value is not None:
        return [int(number) for number in vector.value.reshape(-1)[:count]]
    numbers = graph.cast(vector, "int64")
    return [graph.node("Gather", numbers, graph.integers(index), axis=0) for index in range(count)]


def sliced(graph: Graph, x: Tensor, bounds: dict[int, Bound]) -> Tensor:
    """Return `x[start:stop:step]` for some axes, as numpy slices; axes that are taken whole cost nothing."""
    parts = {axis: bound for axis, bound in bounds.items() if not _is_whole(x, axis, bound)}
    if not parts:
        return x
    starts, stops = (graph.shape(*(bound[i] for bound in parts.values())) for i in (0, 1))
    steps = graph.integers(*(bound[2] for bound in parts.values()))
    result = graph.node("Slice", x, starts, stops, graph.integers(*parts), steps)
    sizes = [_size(x.shape[axis], bounds.get(axis, (0, _LAST, 1))) for axis in range(x.rank)]
    return graph.declare(result, tuple(sizes))


def _is_whole(x: Tensor, axis: int, bound: Bound) -> bool:
    start, stop, step = bound
    if isinstance(start, Tensor) or isinstance(stop, Tensor) or start != 0 or step != 1:
        return False
    return stop == _LAST or 0 <= x.shape[axis] <= stop


def _size(size: int, bound: Bound) -> int:
    """Return how many elements a slice has, -1 where that is open."""
    start, stop, step = bound
    if size < 0 or isinstance(start, Tensor) or isinstance(stop, Tensor):
        return -1
    return len(range(*slice(start, None if stop == _FIRST else stop, step).indices(size)))


def _bounds(
    graph: Graph,
    x: Tensor,
    begin: Tensor,
    end: Tensor,
    stride: tuple[int, ...] | None,
    begin_mask: Mask,
    end_mask: Mask,
    squeeze_mask: Mask,
) -> dict[int, Bound]:
    """Return start, stop and step per axis, all masks applied."""
    rank = x.rank
    starts, stops = elements(graph, begin, rank), elements(graph, end, rank)
    steps, whole = stride or (1,) * rank, (False,) * rank
    masks = zip(begin_mask or whole, end_mask or whole, squeeze_mask or whole, strict=True)
    bounds: dict[int, Bound] = {}
    for axis, (from_first, to_last, one) in enumerate(masks):
        step = 1 if one else int(steps[axis])
        start = (0 if step > 0 else _LAST) if from_first else starts[axis]
        stop = (_LAST if step > 0 else _FIRST) if to_last else stops[axis]
        bounds[axis] = (start, _next(graph, start) if one else stop, step)
    return bounds


def _next(graph: Graph, place: Place) -> Place:
    """Return the place after one that may be counted from the end."""
    if isinstance(place, int):
        return _LAST if place == -1 else place + 1
    after = graph.node("Add", place, graph.integers(1))
    return graph.node("Where", graph.node("Equal", after, graph.integers(0)), graph.integers(_LAST), after)


@operation
def depth_to_space(graph: Graph, x: Tensor, block_size: int) -> Tensor:
    """Channels moved into blocks of pixels, (n, C, H, W) to (n, C / b^2, H b, W b).

    The channels of a block are the slowest axis of the channels.
    """
    return graph.node("DepthToSpace", x, blocksize=block_size, mode="DCR")


@operation
def space_to_depth(graph: Graph, x: Tensor, block_size: int) -> Tensor:
    """Blocks of pixels moved into channels, the reverse of `depth_to_space`."""
    return graph.node("SpaceToDepth", x, blocksize=block_size)


@operation
def pixel_shuffle(graph: Graph, x: Tensor, upscale_factor: int) -> Tensor:
    """Channels moved into blocks of pixels, as `depth_to_space`; here a block's channels are neighbours."""
    return graph.node("DepthToSpace", x, blocksize=upscale_factor, mode="CRD")


@operation
def pixel_unshuffle(graph: Graph, x: Tensor, downscale_factor: int) -> Tensor:
    """Blocks of pixels moved into channels, the reverse of `pixel_shuffle`."""
    factor = downscale_factor
    batch, channels = graph.size_of(x, 0), graph.size_of(x, 1)
    height, width = (_divided(graph, graph.size_of(x, axis), factor) for axis in (2, 3))
    blocks = graph.reshape(x, batch, channels, height, factor, width, factor)
    moved = graph.node("Transpose", blocks, perm=[0, 1, 3, 5, 2, 4])
    return graph.reshape(moved, batch, _times(graph, channels, factor * factor), height, width)


@operation
def space_to_batch(graph: Graph, x: Tensor, block_shape: tuple[int, ...], paddings: tuple[int, ...]) -> Tensor:
    """Blocks of pixels moved into the batch, after a border of zeros; `paddings` is (top, bottom, left, right)."""
    rows, columns = block_shape
    top, bottom, left, right = paddings
    if any(paddings):
        x = graph.node("Pad", x, graph.integers(0, 0, top, left, 0, 0, bottom, right))
    batch, channels = graph.size_of(x, 0), graph.size_of(x, 1)
    height, width = _divided(graph, graph.size_of(x, 2), rows), _divided(graph, graph.size_of(x, 3), columns)
    blocks = graph.reshape(x, batch, channels, height, rows, width, columns)
    moved = graph.node("Transpose", blocks, perm=[3, 5, 0, 1, 2, 4])
    return graph.reshape(moved, _times(graph, batch, rows * columns), channels, height, width)


@operation
def batch_to_space(graph: Graph, x: Tensor, block_shape: tuple[int, ...], crops: tuple[int, ...]) -> Tensor:
    """The batch moved into blocks of pixels, whose border is cut off then; `crops` is (top, bottom, left, right)."""
    rows, columns = block_shape
    top, bottom, left, right = crops
    batch = _divided(graph, graph.size_of(x, 0), rows * columns)
    channels, height, width = (graph.size_of(x, axis) for axis in (1, 2, 3))
    blocks = graph.reshape(x, rows, columns, batch, channels, height, width)
    moved = graph.node("Transpose", blocks, perm=[2, 3, 4, 0, 5, 1])
    whole = graph.reshape(moved, batch, channels, _times(graph, height, rows), _times(graph, width, columns))
    return sliced(graph, whole, {2: (top, -bottom or _LAST, 1), 3: (left, -right or _LAST, 1)})


def _times(graph: Graph, size: Tensor, factor: int) -> Tensor:
    return graph.node("Mul", size, graph.integers(factor))


def _divided(graph: Graph, size: Tensor, divisor: int) -> Tensor:
    return graph.node("Div", size, graph.integers(divisor))


@operation
def sliding_windows(graph: Graph, x: Tensor, axis: int, size: int, stride: int = 1) -> Tensor:
    """All windows of a size along an axis, one after the other; a new axis after that one holds the window."""
    axis %= x.rank
    inside = np.arange(size, dtype=np.int64)
    if x.shape[axis] >= 0:
        starts = np.arange(0, x.shape[axis] - size + 1, stride, dtype=np.int64)
        return graph.node("Gather", x, graph.constant(starts[:, np.newaxis] + inside), axis=axis)
    room = graph.node("Sub", graph.node("Squeeze", graph.size_of(x, axis)), graph.scalar(size - 1, "int64"))
    begins = graph.node("Range", graph.scalar(0, "int64"), room, graph.scalar(stride, "int64"))
    places = graph.node("Add", graph.node("Unsqueeze", begins, graph.integers(1)), graph.constant(inside))
    return graph.node("Gather", x, places, axis=axis)
