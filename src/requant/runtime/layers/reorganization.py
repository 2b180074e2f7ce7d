"""The layer that moves numbers between the channels and blocks of pixels."""

from __future__ import annotations

from typing import Any

from requant.runtime.layers.context import Array, Context
from requant.runtime.layers.registry import layer

_SPACE_TO_DEPTH, _DEPTH_TO_SPACE = 0, 1


@layer("reorganizeData")
def reorganize_data(context: Context, layer: Any, x: Array) -> list[Array]:
    """Blocks of pixels as channels, or channels as blocks of pixels: the whole block first, or the channel first."""
    params, graph, pictures = layer.reorganizeData, context.graph, context.pictures(x)
    if params.mode == _SPACE_TO_DEPTH:
        result = graph.node("SpaceToDepth", pictures, blocksize=params.blockSize)
    else:
        order = "DCR" if params.mode == _DEPTH_TO_SPACE else "CRD"
        result = graph.node("DepthToSpace", pictures, blocksize=params.blockSize, mode=order)
    return [context.from_pictures(result, x)]
