"""Elementwise operations on two tensors, which broadcast as numpy does."""

from __future__ import annotations

from requant.runtime.graph import Graph, Tensor
from requant.runtime.operations.registry import operation


@operation
def add(graph: Graph, x: Tensor, y: Tensor) -> Tensor:
    """`x + y`."""
    return graph.node("Add", x, y)


@operation
def sub(graph: Graph, x: Tensor, y: Tensor) -> Tensor:
    """`x - y`."""
    return graph.node("Sub", x, y)


@operation
def mul(graph: Graph, x: Tensor, y: Tensor) -> Tensor:
    """`x * y`."""
    return graph.node("Mul", x, y)


@operation
def maximum(graph: Graph, x: Tensor, y: Tensor) -> Tensor:
    """The greater of both."""
    return graph.node("Max", x, y)


@operation
def minimum(graph: Graph, x: Tensor, y: Tensor) -> Tensor:
    """The lesser of both."""
    return graph.node("Min", x, y)
