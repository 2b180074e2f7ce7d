"""Normalizations."""

from __future__ import annotations

from typing import Any

import numpy as np

from requant.runtime.graph import Tensor
from requant.runtime.layers.context import Array, Context, weights
from requant.runtime.layers.registry import layer
from requant.runtime.operations import normalization as operations

_EPSILON = 1e-6
_BATCH_EPSILON = 1e-5


@layer("batchnorm")
def batch_normalization(context: Context, layer: Any, x: Array) -> list[Array]:
    """A batch normalization, with given numbers or those of the batch, or an instance normalization."""
    params, graph = layer.batchnorm, context.graph
    size = (params.channels,)
    gamma, beta = (graph.constant(weights(p, size)) for p in (params.gamma, params.beta))
    epsilon = params.epsilon or _BATCH_EPSILON
    pictures = context.pictures(x)
    if not params.computeMeanVar:
        mean, variance = (graph.constant(weights(p, size)) for p in (params.mean, params.variance))
        result = operations.batch_norm(graph, pictures, mean, variance, gamma, beta, epsilon)
    elif params.instanceNormalization:
        result = operations.instance_norm(graph, pictures, gamma, beta, epsilon)
    else:
        plain = operations.standardized(graph, pictures, (0, 2, 3), epsilon)
        factor, offset = (graph.reshape(each, -1, 1, 1) for each in (gamma, beta))
        result = graph.node("Add", graph.node("Mul", plain, factor), offset)
    return [context.from_pictures(result, x)]


@layer("mvn")
def mean_variance_normalization(context: Context, layer: Any, x: Array) -> list[Tensor]:
    """The numbers less their mean, divided by their deviation if asked; per channel, or over all channels."""
    params, graph = layer.mvn, context.graph
    axes = (-3, -2, -1) if params.acrossChannels else (-2, -1)
    if params.normalizeVariance:
        return [operations.standardized(graph, x.tensor, axes, params.epsilon or _EPSILON)]
    return [graph.node("Sub", x.tensor, graph.node("ReduceMean", x.tensor, graph.integers(*axes)))]


@layer("l2normalize")
def l2_normalization(context: Context, layer: Any, x: Array) -> list[Tensor]:
    """The numbers divided by the length of the vector of all channels, heights and widths."""
    return [operations.l2_norm(context.graph, x.tensor, layer.l2normalize.epsilon or _EPSILON)]


@layer("layerNormalization")
def layer_normalization(context: Context, layer: Any, x: Array) -> list[Tensor]:
    """A layer normalization over the last axes."""
    params, graph = layer.layerNormalization, context.graph
    shape = tuple(params.normalizedShape)
    gamma, beta = (graph.constant(np.asarray(weights(p, shape), np.float32)) for p in (params.gamma, params.beta))
    axes = tuple(range(-len(shape), 0))
    if len(shape) <= x.tensor.rank:
        return [operations.layer_norm(graph, x.tensor, axes, gamma, beta, params.eps)]
    return [operations.layer_norm(graph, context.full(x), axes, gamma, beta, params.eps)]


@layer("lrn")
def local_response_normalization(context: Context, layer: Any, x: Array) -> list[Tensor]:
    """The numbers divided by a power of the mean of squares in neighbouring channels."""
    params = layer.lrn
    size, factor = params.localSize, params.k or 1
    return [operations.local_response_norm(context.graph, x.tensor, size, params.alpha, params.beta, factor)]
