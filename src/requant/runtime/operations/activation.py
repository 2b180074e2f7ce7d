"""Activations."""

from __future__ import annotations

from requant.runtime.graph import Graph
from requant.runtime.operations.registry import Tensor, operation


@operation
def relu(graph: Graph, x: Tensor) -> str:
    """`max(0, x)`."""
    return graph.node("Relu", x.name)


@operation
def leaky_relu(graph: Graph, x: Tensor, alpha: float = 0.01) -> str:
    """`x` where it is positive, `alpha * x` elsewhere."""
    return graph.node("LeakyRelu", x.name, alpha=alpha)


@operation
def sigmoid(graph: Graph, x: Tensor) -> str:
    """`1 / (1 + exp(-x))`."""
    return graph.node("Sigmoid", x.name)


@operation
def tanh(graph: Graph, x: Tensor) -> str:
    """The hyperbolic tangent."""
    return graph.node("Tanh", x.name)


@operation
def softmax(graph: Graph, x: Tensor, axis: int = -1) -> str:
    """`exp(x) / sum(exp(x))` along an axis."""
    return graph.node("Softmax", x.name, axis=axis)
