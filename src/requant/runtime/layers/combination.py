"""Layers that combine several tensors."""

from __future__ import annotations

from typing import Any

from requant.runtime.graph import Tensor
from requant.runtime.layers.context import Array, Context
from requant.runtime.layers.registry import layer

_SEQUENCE_AXIS, _CHANNEL_AXIS = -5, -3


@layer("concat")
def concat(context: Context, layer: Any, *inputs: Array) -> list[Tensor]:
    """The channels of several tensors, or their sequences, one after the other."""
    if layer.concat.sequenceConcat:
        return [context.graph.node("Concat", *(context.full(x) for x in inputs), axis=_SEQUENCE_AXIS)]
    return [context.graph.node("Concat", *(x.tensor for x in inputs), axis=_CHANNEL_AXIS)]
