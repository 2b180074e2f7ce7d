"""Matrix products, lookups of rows, and scales and biases that stand alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from requant.runtime.graph import Tensor
from requant.runtime.layers.context import Array, Context, vector, weights
from requant.runtime.layers.registry import layer
from requant.runtime.operations.linear import matmul

_GREATEST_INT8 = 127


@layer("innerProduct")
def inner_product(context: Context, layer: Any, x: Array) -> list[Tensor]:
    """A fully connected layer: over all of channel, height and width, or over the last of fewer axes."""
    params, graph = layer.innerProduct, context.graph
    matrix = weights(params.weights, (params.outputChannels, params.inputChannels))
    pictures = x.rank > 3
    tensor = _quantized(context, x.tensor) if params.int8DynamicQuantize else x.tensor
    if pictures:
        leading = [graph.size_of(tensor, axis) for axis in range(tensor.rank - 3)]
        tensor = graph.reshape(tensor, *leading, params.inputChannels)
    result = _with_bias(context, graph.node("MatMul", tensor, graph.constant(matrix.T)), params, params.outputChannels)
    return [graph.node("Unsqueeze", result, graph.integers(-2, -1)) if pictures else result]


@layer("batchedMatmul")
def batched_matmul(context: Context, layer: Any, x: Array, *others: Array) -> list[Array]:
    """Products of matrices, which are the last two axes, or of one with a constant matrix."""
    params, graph = layer.batchedMatmul, context.graph
    if others:
        left, right = context.full(x), context.full(others[0])
        left = graph.node("Unsqueeze", left, graph.integers(0)) if left.rank == 1 else left
        right = graph.node("Unsqueeze", right, graph.integers(1)) if right.rank == 1 else right
        result = matmul(graph, left, right, params.transposeA, params.transposeB)
        return [Array(result, result.rank)]
    size = params.weightMatrixSecondDimension
    matrix = weights(params.weights, (size, params.weightMatrixFirstDimension))
    tensor = _quantized(context, context.full(x)) if params.int8DynamicQuantize else context.full(x)
    result = _with_bias(context, graph.node("MatMul", tensor, graph.constant(matrix.T)), params, size)
    return [Array(result, x.rank)]


def _quantized(context: Context, x: Tensor) -> Tensor:
    """Return a tensor after it went through int8 and back, as a layer with `int8DynamicQuantize` sees it.

    The format says that the input is quantized to int8 while the network runs, and leaves open how. As the weights have
    one scale and no bias, so has the input here: the largest magnitude of the whole tensor is 127.
    """
    graph = context.graph
    largest = graph.node("ReduceMax", graph.node("Abs", x), keepdims=0)
    scale = graph.node("Div", largest, graph.scalar(_GREATEST_INT8))
    safe = graph.node("Where", graph.node("Greater", scale, graph.scalar(0)), scale, graph.scalar(1))
    return graph.node("Mul", graph.node("Round", graph.node("Div", x, safe)), safe)


@layer("embedding")
def embedding(context: Context, layer: Any, x: Array) -> list[Tensor]:
    """A lookup of vectors by the first of the last three axes, which have the size 1; they become channels."""
    rows = _looked_up(context, layer.embedding, x, layer.embedding.inputDim, layer.embedding.outputChannels, axes=3)
    return [context.graph.node("Unsqueeze", rows, context.graph.integers(-2, -1))]


@layer("embeddingND")
def embedding_nd(context: Context, layer: Any, x: Array) -> list[Tensor]:
    """A lookup of vectors by the last axis, which has the size 1; they become that axis."""
    params = layer.embeddingND
    return [_looked_up(context, params, x, params.vocabSize, params.embeddingSize, axes=1)]


def _looked_up(context: Context, params: Any, x: Array, count: int, size: int, axes: int) -> Tensor:
    """Return the vectors of a lookup instead of the last axes of `x`, which have the size 1."""
    graph = context.graph
    table = graph.constant(weights(params.weights, (size, count)).T)
    indices = graph.node("Squeeze", graph.cast(x.tensor, "int32"), graph.integers(*range(-axes, 0)))
    return _with_bias(context, graph.node("Gather", table, indices, axis=0), params, size)


def _with_bias(context: Context, x: Tensor, params: Any, size: int) -> Tensor:
    return context.graph.node("Add", x, context.graph.constant(vector(params.bias, size))) if params.hasBias else x


@layer("dot")
def dot(context: Context, layer: Any, x: Array, y: Array) -> list[Tensor]:
    """The dot product of two vectors of channels, or the cosine of the angle between them."""
    graph = context.graph
    product = _channel_sum(context, graph.node("Mul", x.tensor, y.tensor))
    if layer.dot.cosineSimilarity:
        squares = [_channel_sum(context, graph.node("Mul", each.tensor, each.tensor)) for each in (x, y)]
        product = graph.node("Div", product, graph.node("Mul", *(graph.node("Sqrt", square) for square in squares)))
    return [product]


def _channel_sum(context: Context, x: Tensor) -> Tensor:
    return context.graph.node("ReduceSum", x, context.graph.integers(-3))


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
