"""Layers that make arrays: constants, arrays of one number, ranges, and vectors with one number that differs."""

from __future__ import annotations

from typing import Any

import numpy as np

from requant.runtime.graph import Tensor
from requant.runtime.layers.context import Array, Context, exactly, weights
from requant.runtime.layers.registry import layer
from requant.runtime.operations import tensor_operation as mil

_LEGACY_AXES = 5


@layer("loadConstant")
def load_constant(context: Context, layer: Any) -> list[Array]:
    """Constant numbers (channel, height, width)."""
    return [Array(_loaded(context, layer.loadConstant), _LEGACY_AXES)]


@layer("loadConstantND")
def load_constant_nd(context: Context, layer: Any) -> list[Array]:
    """Constant numbers of any shape."""
    tensor = _loaded(context, layer.loadConstantND)
    return [exactly(tensor)]


def _loaded(context: Context, params: Any) -> Tensor:
    shape = tuple(params.shape)
    return context.graph.constant(weights(params.data, (int(np.prod(shape)),), axis=None).reshape(shape))


@layer("fillStatic")
def fill_static(context: Context, layer: Any) -> list[Array]:
    """One number in a constant shape."""
    params = layer.fillStatic
    return _filled(context, params.value, context.graph.integers(*params.targetShape))


@layer("fillDynamic")
def fill_dynamic(context: Context, layer: Any, shape: Array) -> list[Array]:
    """One number in a shape that is an input."""
    return _filled(context, layer.fillDynamic.value, context.whole_numbers(shape))


@layer("fillLike")
def fill_like(context: Context, layer: Any, like: Array) -> list[Array]:
    """One number in the shape of another array."""
    return _filled(context, layer.fillLike.value, context.graph.shape_of(context.full(like)))


def _filled(context: Context, value: float, shape: Tensor) -> list[Array]:
    result = context.of_shape(mil.fill(context.graph, shape, value), shape)
    return [exactly(result)]


@layer("rangeStatic")
def range_static(context: Context, layer: Any) -> list[Array]:
    """Numbers from a start, by steps, up to an end that does not belong to them; all constant."""
    params = layer.rangeStatic
    return _range(
        context, *(context.graph.scalar(n) for n in (params.startValue, params.endValue, params.stepSizeValue))
    )


@layer("rangeDynamic")
def range_dynamic(
    context: Context, layer: Any, end: Array, start: Array | None = None, step: Array | None = None
) -> list[Array]:
    """Numbers from a start, by steps, up to an end that does not belong to them; inputs or constant."""
    params, graph = layer.rangeDynamic, context.graph
    first = graph.scalar(params.startValue) if start is None else graph.reshape(start.tensor)
    by = graph.scalar(params.stepSizeValue) if step is None else graph.reshape(step.tensor)
    return _range(context, first, graph.reshape(end.tensor), by)


def _range(context: Context, start: Tensor, end: Tensor, step: Tensor) -> list[Array]:
    return [exactly(context.graph.declare(context.graph.node("Range", start, end, step), (-1,)))]


@layer("oneHot")
def one_hot(context: Context, layer: Any, x: Array, size: Array | None = None) -> list[Array]:
    """Vectors of one number, but for another at an index; a vector without it where the index is outside."""
    params, graph = layer.oneHot, context.graph
    length = graph.integers(params.oneHotVectorSize) if size is None else context.whole_numbers(size)
    result = mil.one_hot(graph, context.indices(x), length, params.axis, params.onValue, params.offValue)
    return [exactly(result)]
