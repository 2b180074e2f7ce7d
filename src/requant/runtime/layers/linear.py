"""Matrix products, and scales and biases that stand alone."""

from __future__ import annotations

from typing import Any

from requant.runtime.layers.context import Context, unsupported, weights


def inner_product(context: Context, layer: Any, x: str) -> list[str]:
    """Translate a fully connected layer: over all of channel, height and width, or over the last axis."""
    params, graph = layer.innerProduct, context.graph
    if params.int8DynamicQuantize:
        raise unsupported(layer, "activations quantized to int8 on the fly")
    matrix = weights(params.weights, (params.outputChannels, params.inputChannels))
    if not context.exact_shapes:
        x = graph.node("Flatten", x, axis=1)
    result = graph.node("MatMul", x, graph.constant(matrix.T))
    if params.hasBias:
        result = graph.node("Add", result, graph.constant(weights(params.bias, (params.outputChannels,))))
    return [result if context.exact_shapes else graph.node("Unsqueeze", result, graph.integers(2, 3))]


def scale(context: Context, layer: Any, x: str) -> list[str]:
    """Translate a product with constant numbers, and a sum with others."""
    params, graph = layer.scale, context.graph
    result = graph.node("Mul", x, graph.constant(weights(params.scale, tuple(params.shapeScale))))
    if params.hasBias:
        result = graph.node("Add", result, graph.constant(weights(params.bias, tuple(params.shapeBias))))
    return [result]


def bias(context: Context, layer: Any, x: str) -> list[str]:
    """Translate a sum with constant numbers."""
    params = layer.bias
    return [context.graph.node("Add", x, context.graph.constant(weights(params.bias, tuple(params.shape))))]
