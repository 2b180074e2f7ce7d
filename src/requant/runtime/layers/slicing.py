"""Layers that take parts of an array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from requant.errors import RequantError
from requant.runtime.graph import Tensor
from requant.runtime.layers.context import Array, Context, exactly, unsupported
from requant.runtime.layers.registry import layer
from requant.runtime.operations import tensor_transformation as mil

_AXES = (-3, -2, -1)  # `SliceLayerParams.SliceAxis`, by number


@layer("slice")
def slice_(context: Context, layer: Any, x: Array) -> list[Tensor]:
    """A section of the channels, the rows or the columns."""
    params, graph, axis = layer.slice, context.graph, _AXES[layer.slice.axis]
    if x.rank < -axis:
        raise RequantError(f"it slices the axis {axis}, but gets an input of {x.rank} axes")
    tensor = x.tensor if x.tensor.rank >= -axis else context.full(x)
    bounds = (graph.integers(number) for number in (params.startIndex, params.endIndex, axis, params.stride or 1))
    return [graph.node("Slice", tensor, *bounds)]


@layer("sliceStatic")
def slice_static(context: Context, layer: Any, x: Array) -> list[Array]:
    """A section along every axis, from constant places to constant places."""
    params, graph = layer.sliceStatic, context.graph
    return _slice(
        context,
        x,
        graph.integers(*params.beginIds),
        graph.integers(*params.endIds),
        params.strides,
        (params.beginMasks, params.endMasks, params.squeezeMasks),
    )


@layer("sliceDynamic")
def slice_dynamic(context: Context, layer: Any, x: Array, begin: Array, *others: Array) -> list[Array]:
    """A section along every axis; what the inputs after the first do not say, the layer does."""
    params = layer.sliceDynamic
    end = context.whole_numbers(others[0]) if others else context.graph.integers(*params.endIds)
    stored = (params.strides, params.beginMasks, params.endMasks, params.squeezeMasks)
    given = [_constant(context, number, x) for number, x in enumerate(others[1:], 4)]
    strides, *masks = (list(values) for values in (*given, *stored[len(given) :]))
    return _slice(context, x, context.whole_numbers(begin), end, strides, masks)


def _constant(context: Context, number: int, x: Array) -> list[int]:
    """Return the numbers of an input that has to be constant."""
    value = context.whole_numbers(x).value
    if value is None:
        raise unsupported(f"strides or masks that are computed (its input {number})")
    return [int(n) for n in value]


def _slice(
    context: Context, x: Array, begin: Tensor, end: Tensor, strides: Sequence[int], masks: Sequence[Sequence[int]]
) -> list[Array]:
    tensor = context.full(x)
    numbers = [tuple(values[: tensor.rank]) for values in (strides, *masks)]  # there may be more of them than axes
    if any(values and len(values) < tensor.rank for values in numbers):
        raise RequantError(f"it has fewer strides or masks than the {tensor.rank} axes of its input")
    flags = [tuple(bool(flag) for flag in mask) or None for mask in numbers[1:]]
    return [exactly(mil.slice_by_index(context.graph, tensor, begin, end, numbers[0] or None, *flags))]


@layer("sliceBySize")
def slice_by_size(context: Context, layer: Any, x: Array, begin: Array) -> list[Array]:
    """A section of constant size along one axis, from a place that is an input."""
    params, graph, tensor = layer.sliceBySize, context.graph, context.full(x)
    start = context.whole_numbers(begin)
    end = graph.node("Add", start, graph.integers(params.size))
    result = graph.node("Slice", tensor, start, end, graph.integers(params.axis))
    axis = params.axis % tensor.rank
    shape = tuple(params.size if i == axis else size for i, size in enumerate(tensor.shape))
    return [exactly(graph.declare(result, shape))]


@layer("slidingWindows")
def sliding_windows(context: Context, layer: Any, x: Array) -> list[Array]:
    """All windows of a size along an axis."""
    params = layer.slidingWindows
    result = mil.sliding_windows(context.graph, context.full(x), params.axis, params.windowSize, params.step or 1)
    return [exactly(result)]
