"""Layers that take numbers from places, or put them there, that another array names."""

from __future__ import annotations

from typing import Any

from requant.runtime.layers.context import Array, Context, exactly
from requant.runtime.layers.registry import layer
from requant.runtime.operations import scatter_gather as mil

_MODES = ("update", "add", "sub", "mul", "div", "max", "min")  # `ScatterMode`, by number


@layer("gather")
def gather(context: Context, layer: Any, x: Array, indices: Array) -> list[Array]:
    """The slices along an axis that the indices name; negative ones count from the end."""
    return [exactly(mil.gather(context.graph, context.full(x), context.indices(indices), layer.gather.axis))]


@layer("gatherND")
def gather_nd(context: Context, layer: Any, x: Array, indices: Array) -> list[Array]:
    """The slices at the places that the last axis of the indices holds."""
    del layer
    return [exactly(mil.gather_nd(context.graph, context.full(x), context.indices(indices)))]


@layer("gatherAlongAxis")
def gather_along_axis(context: Context, layer: Any, x: Array, indices: Array) -> list[Array]:
    """The numbers whose place along one axis the indices name."""
    axis = layer.gatherAlongAxis.axis
    return [exactly(mil.gather_along_axis(context.graph, context.full(x), context.indices(indices), axis))]


@layer("scatter")
def scatter(context: Context, layer: Any, x: Array, indices: Array, updates: Array) -> list[Array]:
    """An array with slices along an axis changed."""
    params = layer.scatter
    data, places, changes = context.full(x), context.indices(indices), context.full(updates)
    return [exactly(mil.scatter(context.graph, data, places, changes, params.axis, _MODES[params.mode]))]


@layer("scatterND")
def scatter_nd(context: Context, layer: Any, x: Array, indices: Array, updates: Array) -> list[Array]:
    """An array with the slices changed at the places that the last axis of the indices holds."""
    data, places, changes = context.full(x), context.indices(indices), context.full(updates)
    return [exactly(mil.scatter_nd(context.graph, data, places, changes, _MODES[layer.scatterND.mode]))]


@layer("scatterAlongAxis")
def scatter_along_axis(context: Context, layer: Any, x: Array, indices: Array, updates: Array) -> list[Array]:
    """An array with the numbers changed whose place along one axis the indices name."""
    params = layer.scatterAlongAxis
    data, places, changes = context.full(x), context.indices(indices), context.full(updates)
    return [exactly(mil.scatter_along_axis(context.graph, data, places, changes, params.axis, _MODES[params.mode]))]
