"""Normalizations."""

from __future__ import annotations

from requant.runtime.graph import Graph, Tensor
from requant.runtime.operations.registry import operation


@operation
def batch_norm(
    graph: Graph,
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    """`gamma * (x - mean) / sqrt(variance + epsilon) + beta` per channel."""
    channels = x.shape[1]
    factor = gamma if gamma else _filled(graph, 1.0, channels)
    offset = beta if beta else _filled(graph, 0.0, channels)
    return graph.node("BatchNormalization", x, factor, offset, mean, variance, epsilon=epsilon)


def _filled(graph: Graph, value: float, size: int) -> Tensor:
    return graph.node("Expand", graph.scalar(value), graph.integers(size))
