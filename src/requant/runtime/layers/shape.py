"""Layers that move, repeat or surround numbers."""

from __future__ import annotations

from typing import Any

from requant.runtime.graph import Tensor
from requant.runtime.layers.context import Array, Context
from requant.runtime.layers.registry import layer

_CHANNEL_LAST = 1


@layer("flatten")
def flatten(context: Context, layer: Any, x: Array) -> list[Tensor]:
    """Channel, height and width flattened into channels."""
    graph, tensor = context.graph, x.tensor
    batch = list(range(tensor.rank - 3))
    if layer.flatten.mode == _CHANNEL_LAST:
        channel = len(batch)
        tensor = graph.node("Transpose", tensor, perm=[*batch, channel + 1, channel + 2, channel])
    leading = [graph.size_of(tensor, axis) for axis in batch]
    return [graph.reshape(tensor, *leading, -1, 1, 1)]


@layer("padding")
def padding(context: Context, layer: Any, x: Array) -> list[Array]:
    """A border of a constant, of reflected or of repeated pixels."""
    params, graph = layer.padding, context.graph
    kind = params.WhichOneof("PaddingType")
    amounts = list(params.paddingAmounts.borderAmounts)
    starts = [a.startEdgeSize for a in amounts] or [0, 0]
    ends = [a.endEdgeSize for a in amounts] or [0, 0]
    pads = graph.integers(0, 0, *starts, 0, 0, *ends)
    value = graph.scalar(params.constant.value) if kind == "constant" else None
    mode = {"constant": "constant", "reflection": "reflect", "replication": "edge"}[kind]
    return [context.from_pictures(graph.node("Pad", context.pictures(x), pads, value, mode=mode), x)]
