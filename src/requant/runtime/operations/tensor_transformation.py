"""Operations that change the shape of a tensor or the order of its axes."""

from __future__ import annotations

from requant.runtime.graph import Graph, Tensor
from requant.runtime.operations.registry import operation


@operation
def reshape(graph: Graph, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The same numbers in another shape; -1 stands for what is left, 0 for the size that the axis had."""
    return graph.node("Reshape", x, graph.integers(*shape))


@operation
def transpose(graph: Graph, x: Tensor, perm: tuple[int, ...]) -> Tensor:
    """The axes in another order."""
    return graph.node("Transpose", x, perm=[axis % len(perm) for axis in perm])


@operation
def expand_dims(graph: Graph, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """New axes of size 1."""
    return graph.node("Unsqueeze", x, graph.integers(*axes))


@operation
def squeeze(graph: Graph, x: Tensor, axes: tuple[int, ...] | None = None) -> Tensor:
    """Fewer axes of size 1: those named, or all."""
    return graph.node("Squeeze", x, *([graph.integers(*axes)] if axes else []))
