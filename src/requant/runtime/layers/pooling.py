"""Pooling."""

from __future__ import annotations

from typing import Any

from requant.runtime.layers.context import Context, require_four_axes, unsupported
from requant.runtime.layers.convolution import border

_KINDS = {0: "MaxPool", 1: "AveragePool"}
_GLOBAL_KINDS = {0: "GlobalMaxPool", 1: "GlobalAveragePool"}


def pooling(context: Context, layer: Any, x: str) -> list[str]:
    """Translate a pooling by maximum or average, local or over the whole picture."""
    require_four_axes(context, layer, x)
    params = layer.pooling
    if params.type not in _KINDS:
        raise unsupported(layer, "an L2 pooling")
    if params.globalPooling:
        return [context.graph.node(_GLOBAL_KINDS[params.type], x)]
    attributes: dict[str, Any] = {
        "kernel_shape": list(params.kernelSize) or [3, 3],
        "strides": list(params.stride) or [1, 1],
    }
    if params.WhichOneof("PoolingPaddingType") == "includeLastPixel":
        top, left = list(params.includeLastPixel.paddingAmounts) or [0, 0]
        attributes |= {"pads": [top, left, top, left], "ceil_mode": 1}
    else:
        attributes |= border(params)
    if params.type == 1:
        attributes["count_include_pad"] = 0 if params.avgPoolExcludePadding else 1
    return [context.graph.node(_KINDS[params.type], x, **attributes)]
