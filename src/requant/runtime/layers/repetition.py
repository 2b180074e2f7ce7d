"""Layers that repeat an array."""

from __future__ import annotations

from typing import Any

from requant.errors import RequantError
from requant.runtime.layers.context import Array, Context, exactly
from requant.runtime.layers.registry import layer
from requant.runtime.operations import tensor_operation as mil

_SEQUENCE_AXIS = -5


@layer("tile")
def tile(context: Context, layer: Any, x: Array, reps: Array | None = None) -> list[Array]:
    """An array repeated along its axes; fewer numbers than axes belong to the last ones."""
    graph, tensor = context.graph, context.full(x)
    times = graph.integers(*layer.tile.reps) if reps is None else context.whole_numbers(reps)
    if times.shape[0] >= 0:
        times = graph.node("Concat", graph.integers(*[1] * (tensor.rank - times.shape[0])), times, axis=0)
    result = graph.declare(mil.tile(graph, tensor, times), (-1,) * tensor.rank)
    return [exactly(result)]


@layer("sequenceRepeat")
def sequence_repeat(context: Context, layer: Any, x: Array) -> list[Array]:
    """The sequence, several times."""
    tensor = context.full(x)
    if tensor.rank < -_SEQUENCE_AXIS:
        raise RequantError(f"it repeats the axis of sequences, but gets an input of {tensor.rank} axes")
    times = [1] * tensor.rank
    times[_SEQUENCE_AXIS] = layer.sequenceRepeat.nRepetitions or 1
    return [exactly(mil.tile(context.graph, tensor, context.graph.integers(*times)))]
