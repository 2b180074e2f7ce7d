"""Layers that put arrays one after the other, and those that take them apart again."""

from __future__ import annotations

from typing import Any

from requant.errors import RequantError
from requant.runtime.graph import Tensor
from requant.runtime.layers.context import Array, Context, exactly
from requant.runtime.layers.registry import layer
from requant.runtime.operations import tensor_operation as mil

_SEQUENCE_AXIS, _CHANNEL_AXIS = -5, -3


@layer("concat")
def concat(context: Context, layer: Any, *inputs: Array) -> list[Tensor | Array]:
    """The channels of several arrays, or their sequences, one after the other."""
    if layer.concat.sequenceConcat:
        result = context.graph.node("Concat", *(context.full(x) for x in inputs), axis=_SEQUENCE_AXIS)
        return [exactly(result)]
    return [context.graph.node("Concat", *context.aligned(inputs), axis=_CHANNEL_AXIS)]


@layer("concatND")
def concat_nd(context: Context, layer: Any, *inputs: Array) -> list[Array]:
    """The arrays one after the other along an axis; interleaved, their slices in turn."""
    params = layer.concatND
    result = mil.concat(context.graph, [context.full(x) for x in inputs], params.axis, params.interleave)
    return [exactly(result)]


@layer("stack")
def stack(context: Context, layer: Any, *inputs: Array) -> list[Array]:
    """The arrays along a new axis."""
    result = mil.stack(context.graph, [context.full(x) for x in inputs], layer.stack.axis)
    return [exactly(result)]


@layer("split")
def split(context: Context, layer: Any, x: Array) -> list[Tensor]:
    """Equal parts of the channels."""
    if x.rank < -_CHANNEL_AXIS:
        raise RequantError(f"it needs the axes channel, height and width, but gets an input of {x.rank} axes")
    tensor = x.tensor if x.tensor.rank >= -_CHANNEL_AXIS else context.full(x)
    count, size = layer.split.nOutputs or len(layer.output), tensor.shape[_CHANNEL_AXIS]
    if size % count and size >= 0:
        raise RequantError(f"it splits {size} channels into {count} equal parts")
    return mil.split(context.graph, tensor, _CHANNEL_AXIS, num_splits=count)


@layer("splitND")
def split_nd(context: Context, layer: Any, x: Array) -> list[Array]:
    """Parts along an axis, equal or of given sizes."""
    params, graph, tensor = layer.splitND, context.graph, context.full(x)
    if params.splitSizes:
        parts = mil.split(graph, tensor, params.axis, split_sizes=tuple(params.splitSizes))
    else:
        sizes = _shares(context, tensor, params.axis, params.numSplits or len(layer.output))
        parts = graph.nodes("Split", tensor, sizes, count=len(layer.output), axis=params.axis)
    return [exactly(part) for part in parts]


def _shares(context: Context, x: Tensor, axis: int, count: int) -> Tensor:
    """Return the sizes of equal parts; where an axis can't be divided equally, the first parts have one more."""
    graph = context.graph
    whole = graph.node("Add", graph.size_of(x, axis), graph.integers(*range(count - 1, -1, -1)))
    return graph.node("Div", whole, graph.integers(count))
