"""Matrix products, and scales and biases that stand alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from requant.runtime.layers.context import Context, unsupported, weights


def inner_product(context: Context, layer: Any, x: str) -> list[str]:
    """Translate a fully connected layer: over all of channel, height and width, or over the last of fewer axes."""
    params, graph = layer.innerProduct, context.graph
    if params.int8DynamicQuantize:
        raise unsupported(layer, "activations quantized to int8 on the fly")
    matrix = weights(params.weights, (params.outputChannels, params.inputChannels))
    pictures = context.axes[x] > 3
    if pictures:
        x = graph.node("Reshape", x, graph.integers(*[0] * (context.axes[x] - 3), -1))
    result = graph.node("MatMul", x, graph.constant(matrix.T))
    if params.hasBias:
        result = graph.node("Add", result, graph.constant(weights(params.bias, (params.outputChannels,))))
    return [graph.node("Unsqueeze", result, graph.integers(-2, -1)) if pictures else result]


def scale(context: Context, layer: Any, x: str) -> list[str]:
    """Translate a product with constant numbers, and a sum with others."""
    params, graph = layer.scale, context.graph
    result = graph.node("Mul", x, _spread(context, params.scale, params.shapeScale))
    if params.hasBias:
        result = graph.node("Add", result, _spread(context, params.bias, params.shapeBias))
    return [result]


def bias(context: Context, layer: Any, x: str) -> list[str]:
    """Translate a sum with constant numbers."""
    params = layer.bias
    return [context.graph.node("Add", x, _spread(context, params.bias, params.shape))]


def _spread(context: Context, params: Any, shape: Sequence[int]) -> str:
    """Add constant numbers of the shape `[1]`, `[C]`, `[1, H, W]` or `[C, H, W]`."""
    return context.graph.constant(weights(params, tuple(shape) if len(shape) == 3 else (*shape, 1, 1)))
