"""Elementwise operations on one tensor."""

from __future__ import annotations

import numpy as np

from requant.runtime.graph import Graph, Tensor, computed_in
from requant.runtime.operations.registry import operation

_FLOATS = {"fp16": "float16", "fp32": "float32", "fp64": "float64"}
_NARROW = ("int8", "uint8", "int16", "uint16")


@operation
def abs_(graph: Graph, x: Tensor) -> Tensor:
    """`x` without its sign."""
    return graph.node("Abs", x)


@operation
def acos(graph: Graph, x: Tensor) -> Tensor:
    """The inverse cosine."""
    return graph.node("Acos", x)


@operation
def asin(graph: Graph, x: Tensor) -> Tensor:
    """The inverse sine."""
    return graph.node("Asin", x)


@operation
def atan(graph: Graph, x: Tensor) -> Tensor:
    """The inverse tangent."""
    return graph.node("Atan", x)


@operation
def atanh(graph: Graph, x: Tensor) -> Tensor:
    """The inverse hyperbolic tangent."""
    return graph.node("Atanh", x)


@operation
def cast(graph: Graph, x: Tensor, dtype: str) -> Tensor:
    """The same numbers in another type; whole numbers lose their fraction, narrow ones the bits that they can't hold.

    float16 is computed as float32, so that between the two nothing happens.
    """
    name = _FLOATS.get(dtype, dtype)
    if name in _NARROW:
        x = graph.cast(graph.cast(x, "int32"), name)
    return graph.cast(x, computed_in(name))


@operation
def ceil(graph: Graph, x: Tensor) -> Tensor:
    """The least whole number that is not less."""
    return graph.node("Ceil", x)


@operation
def clip(graph: Graph, x: Tensor, alpha: float, beta: float) -> Tensor:
    """`min(max(x, alpha), beta)`."""
    return graph.node("Clip", x, graph.scalar(alpha, x.dtype), graph.scalar(beta, x.dtype))


@operation
def cos(graph: Graph, x: Tensor) -> Tensor:
    """The cosine."""
    return graph.node("Cos", x)


@operation
def cosh(graph: Graph, x: Tensor) -> Tensor:
    """The hyperbolic cosine."""
    return graph.node("Cosh", x)


@operation
def erf(graph: Graph, x: Tensor) -> Tensor:
    """The Gauss error function."""
    return graph.node("Erf", x)


@operation
def exp(graph: Graph, x: Tensor) -> Tensor:
    """The power of e."""
    return graph.node("Exp", x)


@operation
def exp2(graph: Graph, x: Tensor) -> Tensor:
    """The power of 2."""
    return graph.node("Pow", graph.scalar(2), graph.cast(x, "float32"))


@operation
def floor(graph: Graph, x: Tensor) -> Tensor:
    """The greatest whole number that is not greater."""
    return graph.node("Floor", x)


@operation
def inverse(graph: Graph, x: Tensor, epsilon: float = 1e-4) -> Tensor:
    """`1 / (x + epsilon)`."""
    return graph.node("Reciprocal", _shifted(graph, x, epsilon))


@operation
def log(graph: Graph, x: Tensor, epsilon: float = 1e-45) -> Tensor:
    """The natural logarithm of `x + epsilon`."""
    return graph.node("Log", _shifted(graph, x, epsilon))


@operation
def logical_not(graph: Graph, x: Tensor) -> Tensor:
    """Whether `x` does not hold."""
    return graph.node("Not", graph.cast(x, "bool"))


@operation
def round_(graph: Graph, x: Tensor) -> Tensor:
    """The nearest whole number; of two that are as near, the even one."""
    return graph.node("Round", x)


@operation
def rsqrt(graph: Graph, x: Tensor, epsilon: float = 1e-12) -> Tensor:
    """`1 / sqrt(x + epsilon)`."""
    return graph.node("Reciprocal", graph.node("Sqrt", _shifted(graph, x, epsilon)))


@operation
def sign(graph: Graph, x: Tensor) -> Tensor:
    """-1, 0 or 1."""
    return graph.node("Sign", x)


@operation
def sin(graph: Graph, x: Tensor) -> Tensor:
    """The sine."""
    return graph.node("Sin", x)


@operation
def sinh(graph: Graph, x: Tensor) -> Tensor:
    """The hyperbolic sine."""
    return graph.node("Sinh", x)


@operation
def sqrt(graph: Graph, x: Tensor) -> Tensor:
    """The square root."""
    return graph.node("Sqrt", x)


@operation
def square(graph: Graph, x: Tensor) -> Tensor:
    """`x * x`."""
    return graph.node("Mul", x, x)


@operation
def tan(graph: Graph, x: Tensor) -> Tensor:
    """The tangent."""
    return graph.node("Tan", x)


@operation
def threshold(graph: Graph, x: Tensor, alpha: float) -> Tensor:
    """`max(x, alpha)`."""
    return graph.node("Max", x, graph.scalar(alpha, x.dtype))


def _shifted(graph: Graph, x: Tensor, epsilon: float) -> Tensor:
    return graph.node("Add", x, graph.scalar(epsilon)) if np.float32(epsilon) else x
