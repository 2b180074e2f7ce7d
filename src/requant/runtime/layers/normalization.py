"""Normalizations."""

from __future__ import annotations

from typing import Any

from requant.runtime.layers.context import Array, Context, unsupported, weights
from requant.runtime.layers.registry import layer


@layer("batchnorm")
def batch_normalization(context: Context, layer: Any, x: Array) -> list[Array]:
    """A batch normalization, or an instance normalization, which computes mean and variance itself."""
    params, graph = layer.batchnorm, context.graph
    size = (params.channels,)
    gamma, beta = (graph.constant(weights(p, size)) for p in (params.gamma, params.beta))
    epsilon = params.epsilon or 1e-5
    pictures = context.pictures(x)
    if params.computeMeanVar and not params.instanceNormalization:
        raise unsupported("a mean and a variance over the batch")
    if params.computeMeanVar:
        result = graph.node("InstanceNormalization", pictures, gamma, beta, epsilon=epsilon)
    else:
        mean, variance = (graph.constant(weights(p, size)) for p in (params.mean, params.variance))
        result = graph.node("BatchNormalization", pictures, gamma, beta, mean, variance, epsilon=epsilon)
    return [context.from_pictures(result, x)]
