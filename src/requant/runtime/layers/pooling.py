"""Pooling."""

from __future__ import annotations

from typing import Any

from requant.runtime.layers.context import Array, Context, unsupported
from requant.runtime.layers.convolution import border
from requant.runtime.layers.registry import layer

_KINDS = {0: "MaxPool", 1: "AveragePool"}
_GLOBAL_KINDS = {0: "GlobalMaxPool", 1: "GlobalAveragePool"}


@layer("pooling")
def pooling(context: Context, layer: Any, x: Array) -> list[Array]:
    """A pooling by maximum or average, local or over the whole picture."""
    params, graph = layer.pooling, context.graph
    if params.type not in _KINDS:
        raise unsupported("an L2 pooling")
    if params.globalPooling:
        return [context.from_pictures(graph.node(_GLOBAL_KINDS[params.type], context.pictures(x)), x)]
    result = graph.node(_KINDS[params.type], context.pictures(x), **_window(params))
    return [context.from_pictures(result, x)]


def _window(params: Any) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "kernel_shape": list(params.kernelSize) or [3, 3],
        "strides": list(params.stride) or [1, 1],
    }
    kind = params.WhichOneof("PoolingPaddingType")
    if kind == "includeLastPixel":
        top, left = list(params.includeLastPixel.paddingAmounts) or [0, 0]
        attributes |= {"pads": [top, left, top, left], "ceil_mode": 1}
    else:
        attributes |= border(params, kind)
    if params.type == 1:
        attributes["count_include_pad"] = 0 if params.avgPoolExcludePadding else 1
    return attributes
