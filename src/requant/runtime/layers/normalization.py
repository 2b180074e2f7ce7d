"""Normalizations."""

from __future__ import annotations

from typing import Any

from requant.runtime.layers.context import Context, require_four_axes, unsupported, weights


def batch_normalization(context: Context, layer: Any, x: str) -> list[str]:
    """Translate a batch normalization, or an instance normalization, which computes mean and variance itself."""
    require_four_axes(context, layer, x)
    params, graph = layer.batchnorm, context.graph
    size = (params.channels,)
    gamma, beta = (graph.constant(weights(p, size)) for p in (params.gamma, params.beta))
    epsilon = params.epsilon or 1e-5
    if params.computeMeanVar and params.instanceNormalization:
        return [graph.node("InstanceNormalization", x, gamma, beta, epsilon=epsilon)]
    if params.computeMeanVar:
        raise unsupported(layer, "a mean and a variance over the batch")
    mean, variance = (graph.constant(weights(p, size)) for p in (params.mean, params.variance))
    return [graph.node("BatchNormalization", x, gamma, beta, mean, variance, epsilon=epsilon)]
