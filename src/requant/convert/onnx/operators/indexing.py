"""Parts of arrays: slices, borders, elements taken from places or put there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813

from requant.convert.onnx.operators.registry import Node, operator
from requant.convert.onnx.values import (
    Array,
    Value,
    cast,
    computed_as,
    is_known,
    kind_of,
    rank_of,
    shape_of,
    size_of,
    transposed,
    variable,
    without_bool,
)
from requant.errors import RequantError

_INT32 = np.iinfo(np.int32)
_PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}
_SCATTER_MODES = {"none": "update", "add": "add", "mul": "mul", "max": "max", "min": "min"}
_IOS16, _IOS17 = 16, 17


@operator("Slice")
def slice_(node: Node) -> Value:
    """`x[start:end:step]` along some axes."""
    x = node.tensor(0)
    rank = rank_of(x)
    if node.opset < 10:
        starts, ends = np.array(node.attribute("starts")), np.array(node.attribute("ends"))
        return sliced(x, _places(node.attribute("axes"), len(starts), rank), starts, ends, np.ones(len(starts), int))
    starts, ends = node.given(1), node.given(2)
    count = int(starts.shape[0])
    axes = _places(node.numbers(3), count, rank)
    steps = np.array(node.numbers(4) or [1] * count)
    if is_known(starts) and is_known(ends):
        return sliced(x, axes, starts, ends, steps)
    return _sliced_at_computed(x, axes, starts, ends, steps)


def _places(axes: Sequence[int] | None, count: int, rank: int) -> list[int]:
    return [axis % rank for axis in (range(count) if axes is None else axes)]


def sliced(x: Value, axes: Sequence[int], starts: Array, ends: Array, steps: Array) -> Value:
    """Return a slice between known places.

    Numbers beyond an end of an axis mean that end, as large as they may be; MIL has masks for that.
    """
    rank = rank_of(x)
    begins, stops, strides = [0] * rank, [0] * rank, [1] * rank
    from_end, to_end = [True] * rank, [True] * rank
    for axis, start, end, step in zip(axes, starts.tolist(), ends.tolist(), steps.tolist(), strict=True):
        size = shape_of(x)[axis]
        strides[axis] = step
        if size is not None:
            first, last, _ = slice(start, end, step).indices(size)
            if first == last or (first < last) != (step > 0):
                raise RequantError(f"it takes nothing along axis {axis} ({start} to {end} of {size})")
            begins[axis], from_end[axis] = first, False
            stops[axis], to_end[axis] = max(last, 0), last < 0
            continue
        at_start = start == 0 if step > 0 else start >= _INT32.max or start == -1
        begins[axis], from_end[axis] = int(np.clip(start, -_INT32.max, _INT32.max)), at_start
        at_end = end >= _INT32.max if step > 0 else end <= -_INT32.max
        stops[axis], to_end[axis] = int(np.clip(end, -_INT32.max, _INT32.max)), at_end
    return mb.slice_by_index(
        x=x, begin=begins, end=stops, stride=strides, begin_mask=from_end, end_mask=to_end
    )  # fmt: skip


def _sliced_at_computed(x: Value, axes: Sequence[int], starts: Value, ends: Value, steps: Array) -> Value:
    """Return a slice between places that are computed while the model runs."""
    rank = rank_of(x)
    begins: list[Any] = [np.zeros(1, np.int32)] * rank
    stops: list[Any] = [np.zeros(1, np.int32)] * rank
    strides, masks, begin_masks = [1] * rank, [True] * rank, [True] * rank
    for index, axis in enumerate(axes):
        strides[axis], begin_masks[axis] = int(steps[index]), False
        begins[axis] = _element(starts, index)
        end = _element(ends, index)
        masks[axis] = is_known(end) and (end >= _INT32.max or end <= -_INT32.max)
        stops[axis] = np.zeros(1, np.int32) if masks[axis] else end
        if not is_known(end) and steps[index] > 0:
            stops[axis] = mb.minimum(x=end, y=variable(_as_vector(size_of(x, axis))))
    begin, end = (mb.concat(values=[variable(each) for each in parts], axis=0) for parts in (begins, stops))
    return mb.slice_by_index(x=x, begin=begin, end=end, stride=strides, begin_mask=begin_masks, end_mask=masks)


def _as_vector(size: int | Value) -> Value:
    return np.array([size], np.int32) if isinstance(size, int) else mb.expand_dims(x=size, axes=[0])


def _element(vector: Value, index: int) -> Value:
    """Return one element of a vector as a vector."""
    if is_known(vector):
        return np.clip(vector[index : index + 1], -_INT32.max, _INT32.max).astype(np.int32)
    return mb.slice_by_index(x=cast(vector, "int"), begin=[index], end=[index + 1])


@operator("Pad")
def pad(node: Node) -> Value:
    """Borders around an array, or a part of it where their sizes are below 0.

    Raises:
        RequantError: if their sizes are computed while the model runs.
    """
    x = node.tensor(0)
    rank = rank_of(x)
    amounts = node.numbers(1, "pads") or []
    axes = _places(node.numbers(3), len(amounts) // 2, rank)
    value = node.attribute("value", 0.0)
    if node.opset >= 11 and node.value(2) is not None:
        value = node.constant(2).reshape(-1)[0] if node.constant(2).size else 0
    befores, afters = [0] * rank, [0] * rank
    for index, axis in enumerate(axes):
        befores[axis], afters[axis] = amounts[index], amounts[index + len(axes)]
    x = _cropped(x, befores, afters)
    pairs = [(max(before, 0), max(after, 0)) for before, after in zip(befores, afters, strict=True)]
    if not any(max(pair) for pair in pairs):
        return mb.identity(x=x)
    return computed_as("float", lambda floats: _padded(floats, pairs, node.attribute("mode", "constant"), value), x)


def _cropped(x: Value, befores: Sequence[int], afters: Sequence[int]) -> Value:
    """Return an array without what borders below 0 take away."""
    axes = [axis for axis in range(rank_of(x)) if befores[axis] < 0 or afters[axis] < 0]
    if not axes:
        return x
    starts = np.array([max(-befores[axis], 0) for axis in axes])
    ends = np.array([afters[axis] if afters[axis] < 0 else _INT32.max for axis in axes])
    return sliced(x, axes, starts, ends, np.ones(len(axes), int))


def _padded(x: Value, pairs: Sequence[tuple[int, int]], mode: str, value: float) -> Value:
    """Return an array with borders; only those of the last two axes can be made of what is there."""
    if mode == "wrap":
        return _wrapped(x, pairs)
    if mode not in _PAD_MODES:
        raise RequantError(f"it has borders of the mode {mode!r}, which Core ML has not")
    wide = [axis for axis, pair in enumerate(pairs) if any(pair)]
    if mode == "constant":
        first = wide[0]
        flat = [size for pair in pairs[first:] for size in pair]
        return mb.pad(x=x, pad=flat, mode="constant", constant_val=np.float32(value))
    while wide:
        now, wide = wide[-2:], wide[:-2]
        rank = rank_of(x)
        order = [axis for axis in range(rank) if axis not in now] + now
        flat = [size for axis in now for size in pairs[axis]]
        moved = mb.pad(x=transposed(x, order), pad=flat, mode=_PAD_MODES[mode])
        x = transposed(moved, [order.index(axis) for axis in range(rank)])
    return x


def _wrapped(x: Value, pairs: Sequence[tuple[int, int]]) -> Value:
    """Return an array with borders that go on at its other side."""
    for axis, (before, after) in enumerate(pairs):
        one = np.ones(1, int)
        parts = [sliced(x, [axis], np.array([-before]), np.array([_INT32.max]), one)] if before else []
        parts += [x, *([sliced(x, [axis], np.array([0]), np.array([after]), one)] if after else [])]
        x = mb.concat(values=parts, axis=axis) if len(parts) > 1 else x
    return x


@operator("Gather")
def gather(node: Node) -> Value:
    """Slices along an axis at indices, whose axes take the place of that axis."""
    x = node.tensor(0)
    axis = node.attribute("axis", 0) % rank_of(x)
    indices = _from_start(node, 1, size_of(x, axis))
    if rank_of(indices):
        return without_bool(lambda value: mb.gather(x=value, indices=indices, axis=axis), x)
    if is_known(indices) and indices != -1:
        return _element_along(x, axis, int(indices))
    # A NeuralNetwork has no numbers without axes: the index is a vector of one, and its axis goes again.
    place = variable(indices[None]) if is_known(indices) else mb.expand_dims(x=indices, axes=[0])
    found = without_bool(lambda value: mb.gather(x=value, indices=place, axis=axis), x)
    return mb.squeeze(x=found, axes=[axis])


def _element_along(x: Value, axis: int, place: int) -> Value:
    begins, ends = [0] * rank_of(x), [0] * rank_of(x)
    begins[axis], ends[axis] = place, place + 1
    masks = [each != axis for each in range(rank_of(x))]
    return mb.slice_by_index(
        x=x, begin=begins, end=ends, begin_mask=masks, end_mask=masks, squeeze_mask=[not mask for mask in masks]
    )


def _from_start(node: Node, index: int, size: int | Value) -> Value:
    """Return indices that count from the start, where those below 0 count from the end: since iOS 17 none do."""
    indices = node.given(index)
    if is_known(indices):
        if not (indices < 0).any():
            return indices.astype(np.int32)
        if isinstance(size, int):
            return np.where(indices < 0, indices + size, indices).astype(np.int32)
    indices = cast(variable(indices), "int")
    if node.system < _IOS17:
        return indices
    below = cast(mb.less(x=indices, y=np.int32(0)), "int")
    return mb.add(x=indices, y=mb.mul(x=below, y=np.int32(size) if isinstance(size, int) else size))


@operator("GatherElements")
def gather_elements(node: Node) -> Value:
    """Elements at indices along an axis, and at their own place along the others."""
    x = node.tensor(0)
    axis = node.attribute("axis", 0) % rank_of(x)
    indices = _from_start(node, 1, size_of(x, axis))
    return without_bool(lambda value: mb.gather_along_axis(x=value, indices=indices, axis=axis), x)


@operator("GatherND")
def gather_nd(node: Node) -> Value:
    """Slices at places, each of which is a vector in the last axis of the indices.

    Raises:
        RequantError: if the first axes are those of a batch, which needs iOS 16.
    """
    x, batch = node.tensor(0), node.attribute("batch_dims", 0)
    if batch and node.system < _IOS16:
        raise RequantError("it has batch_dims, which need iOS 16 (minimum_deployment_target: iOS16)")
    indices = _places_from_start(node, 1, x, batch)
    options = {"batch_dims": batch} if batch else {}
    return without_bool(lambda value: mb.gather_nd(x=value, indices=indices, **options), x)


def _places_from_start(node: Node, index: int, x: Value, batch: int = 0) -> Value:
    """Return places whose numbers count from the start, see `_from_start`."""
    places = node.given(index)
    sizes = [shape_of(x)[batch + each] for each in range(int(places.shape[-1]))]
    if is_known(places) and (places >= 0).all():
        return places.astype(np.int32)
    if None in sizes:
        return cast(variable(places), "int")
    whole = np.array(sizes, np.int32)
    if is_known(places):
        return np.where(places < 0, places + whole, places).astype(np.int32)
    places = cast(places, "int")
    if node.system < _IOS17:
        return places
    below = cast(mb.less(x=places, y=np.int32(0)), "int")
    return mb.add(x=places, y=mb.mul(x=below, y=whole))


def _mode(node: Node) -> str:
    return _SCATTER_MODES[node.attribute("reduction", "none")]


@operator("ScatterND")
def scatter_nd(node: Node) -> Value:
    """An array with slices at places replaced, or combined with others."""
    x, updates = node.tensor(0), node.tensor(2)
    indices, kind = _places_from_start(node, 1, x), kind_of(x)
    if kind == "bool":
        x, updates = cast(x, "int"), cast(updates, "int")
    return cast(mb.scatter_nd(data=x, indices=indices, updates=updates, mode=_mode(node)), kind)


@operator("ScatterElements", "Scatter")
def scatter_elements(node: Node) -> Value:
    """An array with elements at indices along an axis replaced, or combined with others."""
    x, updates = node.tensor(0), node.tensor(2)
    axis, kind = node.attribute("axis", 0) % rank_of(x), kind_of(x)
    indices = _from_start(node, 1, size_of(x, axis))
    if kind == "bool":
        x, updates = cast(x, "int"), cast(updates, "int")
    found = mb.scatter_along_axis(data=x, indices=indices, updates=updates, axis=axis, mode=_mode(node))
    return cast(found, kind)


@operator("Trilu")
def triangle(node: Node) -> Value:
    """The part of a matrix above or below a diagonal, the rest 0.

    Raises:
        RequantError: if the diagonal is computed while the model runs.
    """
    x = node.tensor(0)
    places = node.numbers(1)
    k = places[0] if places else 0
    upper = bool(node.attribute("upper", 1))
    rows, columns = shape_of(x)[-2:]
    if rows is not None and columns is not None:
        mask = np.triu(np.ones((rows, columns), bool), k) if upper else np.tril(np.ones((rows, columns), bool), k)
        return computed_as("int" if kind_of(x) == "bool" else kind_of(x), lambda value: _masked(value, mask), x)
    if (k > 0) if upper else (k < 0):
        raise RequantError("its diagonal is beside the main one for sizes that are left open")
    lower_count, upper_count = (-k, -1) if upper else (-1, k)
    return without_bool(lambda value: mb.band_part(x=value, lower=lower_count, upper=upper_count), x)


def _masked(x: Value, mask: Array) -> Value:
    """Return an array with zeros where a mask is not."""
    zero = np.float32(0) if kind_of(x) == "float" else np.int32(0)
    return mb.select(cond=variable(mask), a=x, b=zero)


@operator("ReverseSequence")
def reverse_sequence(node: Node) -> Value:
    """The first elements along an axis in the opposite order, as many as is said for each of the batch."""
    x, lengths = node.tensor(0), cast(node.tensor(1), "int")
    batch, time = node.attribute("batch_axis", 1), node.attribute("time_axis", 0)
    return mb.reverse_sequence(x=x, lengths=lengths, seq_axis=time, batch_axis=batch)
