"""Layers that put a border around an array."""

from __future__ import annotations

from typing import Any

from requant.errors import RequantError
from requant.runtime.graph import Tensor
from requant.runtime.layers.context import Array, Context, exactly
from requant.runtime.layers.registry import layer
from requant.runtime.operations import tensor_operation as mil

_MODES = {"constant": "constant", "reflection": "reflect", "replication": "replicate"}


@layer("padding")
def padding(context: Context, layer: Any, x: Array) -> list[Tensor]:
    """A border of a constant, of reflected or of repeated pixels around height and width."""
    params, graph = layer.padding, context.graph
    kind = params.WhichOneof("PaddingType") or "constant"
    if x.rank < 2:
        raise RequantError(f"it needs the axes height and width, but gets an input of {x.rank} axes")
    tensor = x.tensor if x.tensor.rank >= 2 else context.full(x)
    amounts = [(a.startEdgeSize, a.endEdgeSize) for a in params.paddingAmounts.borderAmounts] or [(0, 0), (0, 0)]
    pads = graph.integers(*(amount for pair in amounts for amount in pair))
    return [mil.pad(graph, tensor, pads, _MODES[kind], params.constant.value)]


@layer("constantPad")
def constant_pad(context: Context, layer: Any, x: Array, amounts: Array | None = None) -> list[Array]:
    """A border of a constant around any axes: of given amounts, or as wide as a given size of the result needs."""
    params, graph, tensor = layer.constantPad, context.graph, context.full(x)
    pads = context.whole_numbers(amounts) if amounts else graph.integers(*params.padAmounts)
    if pads.shape[0] not in (-1, 2 * tensor.rank):
        raise RequantError(f"it has {pads.shape[0]} amounts for {tensor.rank} axes, which need two each")
    if params.padToGivenOutputSizeMode:
        missing = graph.node("Sub", graph.reshape(pads, -1, 2), graph.reshape(graph.shape_of(tensor), -1, 1))
        pads = graph.reshape(graph.node("Max", missing, graph.integers(0)), -1)
    result = mil.pad(graph, tensor, pads, "constant", params.value)
    return [exactly(graph.declare(result, (-1,) * tensor.rank))]
