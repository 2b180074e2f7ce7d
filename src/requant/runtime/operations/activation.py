"""Activations."""

from __future__ import annotations

import math

import numpy as np

from requant.errors import RequantError
from requant.runtime.graph import Graph, Tensor
from requant.runtime.operations.registry import operation


@operation
def clamped_relu(graph: Graph, x: Tensor, alpha: float, beta: float) -> Tensor:
    """`min(beta, x)` where `x` is not negative, `min(beta, alpha * x)` elsewhere."""
    return graph.node("Min", leaky_relu(graph, x, alpha), graph.scalar(beta))


@operation
def elu(graph: Graph, x: Tensor, alpha: float) -> Tensor:
    """`x` where it is positive, `alpha * (exp(x) - 1)` elsewhere."""
    return graph.node("Elu", x, alpha=alpha)


@operation
def gelu(graph: Graph, x: Tensor, mode: str = "EXACT") -> Tensor:
    """The Gaussian error linear unit, exact or by one of two approximations.

    Raises:
        RequantError: for a mode that MIL does not define.
    """
    if mode == "EXACT":
        inner = graph.node("Erf", graph.node("Div", x, graph.scalar(math.sqrt(2))))
    elif mode == "TANH_APPROXIMATION":
        cubed = graph.node("Mul", graph.node("Mul", x, x), x)
        bent = graph.node("Add", x, graph.node("Mul", cubed, graph.scalar(0.044715)))
        inner = graph.node("Tanh", graph.node("Mul", bent, graph.scalar(math.sqrt(2 / math.pi))))
    elif mode == "SIGMOID_APPROXIMATION":
        gate = graph.node("Sigmoid", graph.node("Mul", x, graph.scalar(1.702)))
        return graph.node("Mul", x, gate)
    else:
        raise RequantError(f"it has the mode {mode!r}, which gelu does not have.")
    weighted = graph.node("Mul", x, graph.node("Add", inner, graph.scalar(1)))
    return graph.node("Mul", weighted, graph.scalar(0.5))


@operation
def leaky_relu(graph: Graph, x: Tensor, alpha: float = 0.01) -> Tensor:
    """`x` where it is positive, `alpha * x` elsewhere."""
    return graph.node("LeakyRelu", x, alpha=alpha)


@operation
def linear_activation(graph: Graph, x: Tensor, alpha: float, beta: float) -> Tensor:
    """`alpha * x + beta`."""
    return graph.node("Add", graph.node("Mul", x, graph.scalar(alpha)), graph.scalar(beta))


@operation
def prelu(graph: Graph, x: Tensor, alpha: Tensor) -> Tensor:
    """`x` where it is positive, `alpha * x` elsewhere; `alpha` has one number per channel, which are axis 1."""
    return graph.node("PRelu", x, per_channel(graph, alpha, x.rank - 2))


@operation
def relu(graph: Graph, x: Tensor) -> Tensor:
    """`max(0, x)`."""
    return graph.node("Relu", x)


@operation
def relu6(graph: Graph, x: Tensor) -> Tensor:
    """`min(max(0, x), 6)`."""
    return graph.node("Clip", x, graph.scalar(0), graph.scalar(6))


@operation
def scaled_tanh(graph: Graph, x: Tensor, alpha: float, beta: float) -> Tensor:
    """`alpha * tanh(beta * x)`."""
    inner = graph.node("Tanh", graph.node("Mul", x, graph.scalar(beta)))
    return graph.node("Mul", inner, graph.scalar(alpha))


@operation
def sigmoid(graph: Graph, x: Tensor) -> Tensor:
    """`1 / (1 + exp(-x))`."""
    return graph.node("Sigmoid", x)


@operation
def sigmoid_hard(graph: Graph, x: Tensor, alpha: float, beta: float) -> Tensor:
    """`min(max(alpha * x + beta, 0), 1)`."""
    return graph.node("HardSigmoid", x, alpha=alpha, beta=beta)


@operation
def silu(graph: Graph, x: Tensor) -> Tensor:
    """`x * sigmoid(x)`."""
    return graph.node("Mul", x, graph.node("Sigmoid", x))


@operation
def softmax(graph: Graph, x: Tensor, axis: int = -1) -> Tensor:
    """`exp(x) / sum(exp(x))` along an axis."""
    return graph.node("Softmax", x, axis=axis)


@operation
def softplus(graph: Graph, x: Tensor) -> Tensor:
    """`log(1 + exp(x))`."""
    return graph.node("Softplus", x)


@operation
def softplus_parametric(graph: Graph, x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """`alpha * log(1 + exp(beta * x))`; both have one number per channel, which are axis 1."""
    axes = x.rank - 2
    inner = graph.node("Softplus", graph.node("Mul", x, per_channel(graph, beta, axes)))
    return graph.node("Mul", inner, per_channel(graph, alpha, axes))


@operation
def softsign(graph: Graph, x: Tensor) -> Tensor:
    """`x / (1 + abs(x))`."""
    return graph.node("Softsign", x)


@operation
def tanh(graph: Graph, x: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return graph.node("Tanh", x)


@operation
def thresholded_relu(graph: Graph, x: Tensor, alpha: float) -> Tensor:
    """`x` where it is at least `alpha`, 0 elsewhere."""
    below = float(np.nextafter(np.float32(alpha), np.float32(-np.inf)))  # ONNX keeps what is greater, not what is equal
    return graph.node("ThresholdedRelu", x, alpha=below)


def per_channel(graph: Graph, x: Tensor, axes: int) -> Tensor:
    """Return a vector with as many axes of size 1 behind it as a tensor has behind its channels."""
    return graph.reshape(x, -1, *[1] * axes)
