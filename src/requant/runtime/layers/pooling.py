"""Pooling."""

from __future__ import annotations

from typing import Any

from requant.runtime.graph import Tensor
from requant.runtime.layers.context import Array, Context
from requant.runtime.layers.convolution import border, border_3d
from requant.runtime.layers.registry import layer
from requant.runtime.operations import pool as operations
from requant.runtime.operations.pool import Windows
from requant.runtime.operations.windows import CUSTOM, beyond, borders

_MAX, _AVERAGE, _L2 = range(3)


@layer("pooling")
def pooling(context: Context, layer: Any, x: Array) -> list[Array]:
    """A pooling by maximum, average or length, local or over the whole picture."""
    params, pictures = layer.pooling, context.pictures(x)
    if params.globalPooling:
        result = _global(context, params.type, pictures)
    else:
        result = _local(
            context, params.type, pictures, _windows(context, params, pictures), params.avgPoolExcludePadding
        )
    return [context.from_pictures(result, x)]


@layer("pooling3d")
def pooling_3d(context: Context, layer: Any, x: Array) -> list[Array]:
    """A pooling of volumes by maximum or average."""
    params, volumes = layer.pooling3d, context.full(x)
    kernel = (params.kernelDepth, params.kernelHeight, params.kernelWidth)
    strides = [max(step, 1) for step in (params.strideDepth, params.strideHeight, params.strideWidth)]
    around = borders(context.graph, volumes, *border_3d(params), kernel, strides)
    windows = Windows(kernel, strides, around, [])
    return [Array(_local(context, params.type, volumes, windows, params.countExcludePadding), x.rank)]


@layer("globalPooling3d")
def global_pooling_3d(context: Context, layer: Any, x: Array) -> list[Array]:
    """A pooling over whole volumes by maximum or average."""
    return [Array(_global(context, layer.globalPooling3d.type, context.full(x)), x.rank)]


def _global(context: Context, kind: int, x: Tensor) -> Tensor:
    """Return the maximum, average or length of each channel of a tensor (batch, channels, *sizes)."""
    if kind == _L2:
        return context.graph.node("ReduceL2", x, context.graph.integers(*range(2, x.rank)))
    return context.graph.node("GlobalMaxPool" if kind == _MAX else "GlobalAveragePool", x)


def _local(context: Context, kind: int, x: Tensor, windows: Windows, exclude_borders: bool) -> Tensor:
    if kind == _MAX:
        return operations.greatest(context.graph, x, windows)
    if kind == _AVERAGE:
        return operations.average(context.graph, x, windows, exclude_borders)
    return operations.root_of_squares(context.graph, x, windows)


def _windows(context: Context, params: Any, x: Tensor) -> Windows:
    graph, kernel, strides = context.graph, list(params.kernelSize) or [3, 3], list(params.stride) or [1, 1]
    kind = params.WhichOneof("PoolingPaddingType")
    if kind != "includeLastPixel":
        return Windows(kernel, strides, borders(graph, x, *border(params, kind), kernel, strides), [])
    top, left = list(params.includeLastPixel.paddingAmounts) or [0, 0]
    around = borders(graph, x, CUSTOM, (top, top, left, left), kernel, strides)
    return Windows(kernel, strides, around, beyond(graph, x, around, kernel, strides, padded_at_all=True))
