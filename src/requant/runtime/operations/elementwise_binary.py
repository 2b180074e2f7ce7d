"""Elementwise operations on two tensors, which broadcast as numpy does."""

from __future__ import annotations

from requant.runtime.graph import Graph
from requant.runtime.operations.registry import Tensor, operation


@operation
def add(graph: Graph, x: Tensor, y: Tensor) -> str:
    """`x + y`."""
    return graph.node("Add", x.name, y.name)


@operation
def sub(graph: Graph, x: Tensor, y: Tensor) -> str:
    """`x - y`."""
    return graph.node("Sub", x.name, y.name)


@operation
def mul(graph: Graph, x: Tensor, y: Tensor) -> str:
    """`x * y`."""
    return graph.node("Mul", x.name, y.name)


@operation
def maximum(graph: Graph, x: Tensor, y: Tensor) -> str:
    """The greater of both."""
    return graph.node("Max", x.name, y.name)


@operation
def minimum(graph: Graph, x: Tensor, y: Tensor) -> str:
    """The lesser of both."""
    return graph.node("Min", x.name, y.name)
