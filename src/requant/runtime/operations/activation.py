"""Activations."""

from __future__ import annotations

from requant.runtime.graph import Graph, Tensor
from requant.runtime.operations.registry import operation


@operation
def relu(graph: Graph, x: Tensor) -> Tensor:
    """`max(0, x)`."""
    return graph.node("Relu", x)


@operation
def leaky_relu(graph: Graph, x: Tensor, alpha: float = 0.01) -> Tensor:
    """`x` where it is positive, `alpha * x` elsewhere."""
    return graph.node("LeakyRelu", x, alpha=alpha)


@operation
def sigmoid(graph: Graph, x: Tensor) -> Tensor:
    """`1 / (1 + exp(-x))`."""
    return graph.node("Sigmoid", x)


@operation
def tanh(graph: Graph, x: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return graph.node("Tanh", x)


@operation
def softmax(graph: Graph, x: Tensor, axis: int = -1) -> Tensor:
    """`exp(x) / sum(exp(x))` along an axis."""
    return graph.node("Softmax", x, axis=axis)
