"""The layer that moves numbers between the channels and blocks of pixels."""

from __future__ import annotations

from typing import Any

from requant.runtime.layers.context import Array, Context
from requant.runtime.layers.registry import layer
from requant.runtime.operations import tensor_transformation as mil

_REORGANIZATIONS = (mil.space_to_depth, mil.depth_to_space, mil.pixel_shuffle)


@layer("reorganizeData")
def reorganize_data(context: Context, layer: Any, x: Array) -> list[Array]:
    """Blocks of pixels as channels, or channels as blocks of pixels: the whole block first, or the channel first."""
    params = layer.reorganizeData
    result = _REORGANIZATIONS[params.mode](context.graph, context.pictures(x), params.blockSize)
    return [context.from_pictures(result, x)]
