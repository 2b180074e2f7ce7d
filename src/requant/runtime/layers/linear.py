"""Matrix products, and scales and biases that stand alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from requant.runtime.graph import Tensor
from requant.runtime.layers.context import Array, Context, unsupported, vector, weights
from requant.runtime.layers.registry import layer


@layer("innerProduct")
def inner_product(context: Context, layer: Any, x: Array) -> list[Tensor]:
    """A fully connected layer: over all of channel, height and width, or over the last of fewer axes."""
    params, graph = layer.innerProduct, context.graph
    if params.int8DynamicQuantize:
        raise unsupported("activations quantized to int8 on the fly")
    matrix = weights(params.weights, (params.outputChannels, params.inputChannels))
    pictures = x.rank > 3
    tensor = x.tensor
    if pictures:
        leading = [graph.size_of(tensor, axis) for axis in range(tensor.rank - 3)]
        tensor = graph.reshape(tensor, *leading, params.inputChannels)
    result = graph.node("MatMul", tensor, graph.constant(matrix.T))
    if params.hasBias:
        result = graph.node("Add", result, graph.constant(vector(params.bias)))
    return [graph.node("Unsqueeze", result, graph.integers(-2, -1)) if pictures else result]


@layer("scale")
def scale(context: Context, layer: Any, x: Array) -> list[Tensor]:
    """A product with constant numbers, and a sum with others."""
    params, graph = layer.scale, context.graph
    result = graph.node("Mul", x.tensor, _spread(context, params.scale, params.shapeScale))
    if params.hasBias:
        result = graph.node("Add", result, _spread(context, params.bias, params.shapeBias))
    return [result]


@layer("bias")
def bias(context: Context, layer: Any, x: Array) -> list[Tensor]:
    """A sum with constant numbers."""
    params = layer.bias
    return [context.graph.node("Add", x.tensor, _spread(context, params.bias, params.shape))]


def _spread(context: Context, params: Any, shape: Sequence[int]) -> Tensor:
    """Add constant numbers of the shape `[1]`, `[C]`, `[1, H, W]` or `[C, H, W]`."""
    return context.graph.constant(weights(params, tuple(shape) if len(shape) == 3 else (*shape, 1, 1)))
