"""Normalizations."""

from __future__ import annotations

from requant.runtime.graph import Graph
from requant.runtime.operations.registry import Tensor, operation


@operation
def batch_norm(
    graph: Graph,
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> str:
    """`gamma * (x - mean) / sqrt(variance + epsilon) + beta` per channel."""
    channels = x.shape[1]
    factor = gamma.name if gamma else _filled(graph, 1.0, channels)
    offset = beta.name if beta else _filled(graph, 0.0, channels)
    return graph.node("BatchNormalization", x.name, factor, offset, mean.name, variance.name, epsilon=epsilon)


def _filled(graph: Graph, value: float, size: int) -> str:
    return graph.node("Expand", graph.scalar(value), graph.integers(size))
