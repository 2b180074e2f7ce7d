"""Layers that put a border around an array."""

from __future__ import annotations

from typing import Any

from requant.errors import RequantError
from requant.runtime.graph import Tensor
from requant.runtime.layers.context import Array, Context
from requant.runtime.layers.registry import layer

_MODES = {"constant": "constant", "reflection": "reflect", "replication": "edge"}


@layer("padding")
def padding(context: Context, layer: Any, x: Array) -> list[Tensor]:
    """A border of a constant, of reflected or of repeated pixels around height and width."""
    params, graph = layer.padding, context.graph
    kind = params.WhichOneof("PaddingType") or "constant"
    if x.rank < 2:
        raise RequantError(f"it needs the axes height and width, but gets an input of {x.rank} axes")
    tensor = x.tensor if x.tensor.rank >= 2 else context.full(x)
    before = [0] * (tensor.rank - 2)
    amounts = list(params.paddingAmounts.borderAmounts)
    starts = [a.startEdgeSize for a in amounts] or [0, 0]
    ends = [a.endEdgeSize for a in amounts] or [0, 0]
    value = graph.scalar(params.constant.value) if kind == "constant" else None
    return [graph.node("Pad", tensor, graph.integers(*before, *starts, *before, *ends), value, mode=_MODES[kind])]


@layer("constantPad")
def constant_pad(context: Context, layer: Any, x: Array, amounts: Array | None = None) -> list[Array]:
    """A border of a constant around any axes: of given amounts, or as wide as a given size of the result needs."""
    params, graph, tensor = layer.constantPad, context.graph, context.full(x)
    pads = context.whole_numbers(amounts) if amounts else graph.integers(*params.padAmounts)
    if pads.shape[0] not in (-1, 2 * tensor.rank):
        raise RequantError(f"it has {pads.shape[0]} amounts for {tensor.rank} axes, which need two each")
    pairs = graph.reshape(pads, -1, 2)
    if params.padToGivenOutputSizeMode:
        missing = graph.node("Sub", pairs, graph.reshape(graph.shape_of(tensor), -1, 1))
        pairs = graph.node("Max", missing, graph.integers(0))
    ordered = graph.reshape(graph.node("Transpose", pairs, perm=[1, 0]), -1)
    result = graph.node("Pad", tensor, ordered, graph.scalar(params.value))
    return [Array(graph.declare(result, (-1,) * tensor.rank), tensor.rank)]
