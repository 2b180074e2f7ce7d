"""Reductions."""

from __future__ import annotations

from requant.runtime.graph import Graph, Tensor
from requant.runtime.operations.registry import operation


@operation
def reduce_mean(graph: Graph, x: Tensor, axes: tuple[int, ...] | None = None, keep_dims: bool = False) -> Tensor:
    """The mean over some axes, or over all."""
    over = [graph.integers(*axes)] if axes else []
    return graph.node("ReduceMean", x, *over, keepdims=int(keep_dims))


@operation
def reduce_sum(graph: Graph, x: Tensor, axes: tuple[int, ...] | None = None, keep_dims: bool = False) -> Tensor:
    """The sum over some axes, or over all."""
    over = [graph.integers(*axes)] if axes else []
    return graph.node("ReduceSum", x, *over, keepdims=int(keep_dims))
