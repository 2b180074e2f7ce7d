"""Normalizations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

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
    factor, offset = _factors(graph, mean.shape[0], gamma, beta)
    return graph.node("BatchNormalization", x, factor, offset, mean, variance, epsilon=epsilon)


@operation
def instance_norm(
    graph: Graph, x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None, epsilon: float = 1e-5
) -> Tensor:
    """`gamma * (x - mean) / sqrt(variance + epsilon) + beta`, mean and variance over the axes after the channels."""
    factor, offset = _factors(graph, x.shape[1], gamma, beta)
    return graph.node("InstanceNormalization", x, factor, offset, epsilon=epsilon)


@operation
def l2_norm(graph: Graph, x: Tensor, epsilon: float = 1e-6) -> Tensor:
    """`x / sqrt(sum(x ** 2) + epsilon)`, the sum over the last three axes."""
    total = graph.node("ReduceSumSquare", x, graph.integers(-3, -2, -1))
    return graph.node("Div", x, graph.node("Sqrt", graph.node("Add", total, graph.scalar(epsilon))))


@operation
def layer_norm(
    graph: Graph,
    x: Tensor,
    axes: tuple[int, ...] | None = None,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    """`gamma * (x - mean) / sqrt(variance + epsilon) + beta` over some axes; `gamma` and `beta` have their shape."""
    over = sorted(axis % x.rank for axis in (axes if axes is not None else range(x.rank)))
    sizes = [x.shape[axis] for axis in over]
    last = over == list(range(x.rank - len(over), x.rank))
    if last and over and (gamma or min(sizes) >= 0):
        factor = gamma or graph.constant(np.ones(sizes, np.float32))
        return graph.node("LayerNormalization", x, factor, beta, axis=over[0], epsilon=epsilon)
    result = standardized(graph, x, over, epsilon)
    spread = [x.shape[axis] if axis in over else 1 for axis in range(x.rank)]
    if gamma:
        result = graph.node("Mul", result, _spread(graph, gamma, spread))
    return graph.node("Add", result, _spread(graph, beta, spread)) if beta else result


@operation
def local_response_norm(
    graph: Graph, x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """`x / (k + alpha * mean(x ** 2)) ** beta`, the mean over `size` channels, which count as 0 beyond the last ones.

    The channels are the third axis from the end, as in `LRNLayerParams` in `NeuralNetwork.proto` and in Apple's test of
    three axes. Of an even number of channels, one more comes before the channel than after it.
    """
    sizes = [graph.size_of(x, axis) for axis in range(x.rank)]
    pictures = graph.reshape(graph.node("Mul", x, x), -1, 1, *sizes[-3:])
    pads = [size // 2, 0, 0, (size - 1) // 2, 0, 0]
    mean = graph.node("AveragePool", pictures, kernel_shape=[size, 1, 1], pads=pads, count_include_pad=1)
    scaled = graph.node("Mul", graph.reshape(mean, *sizes), graph.scalar(alpha))
    return graph.node("Div", x, graph.node("Pow", graph.node("Add", scaled, graph.scalar(k)), graph.scalar(beta)))


def standardized(graph: Graph, x: Tensor, axes: Sequence[int], epsilon: float) -> Tensor:
    """Return `(x - mean) / sqrt(variance + epsilon)`, mean and variance over some axes."""
    centred = graph.node("Sub", x, graph.node("ReduceMean", x, graph.integers(*axes)))
    variance = graph.node("ReduceMean", graph.node("Mul", centred, centred), graph.integers(*axes))
    return graph.node("Div", centred, graph.node("Sqrt", graph.node("Add", variance, graph.scalar(epsilon))))


def _factors(graph: Graph, channels: int, gamma: Tensor | None, beta: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return `gamma` and `beta`, which are 1 and 0 by default."""
    return (
        gamma or graph.constant(np.ones(channels, np.float32)),
        beta or graph.constant(np.zeros(channels, np.float32)),
    )


def _spread(graph: Graph, x: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return factors with axes of size 1 for those that are not normalized."""
    open_axes = [axis for axis, size in enumerate(sizes) if size < 0]
    shape = [-1 if axis in open_axes[:1] else size for axis, size in enumerate(sizes)]
    return graph.reshape(x, *shape)
