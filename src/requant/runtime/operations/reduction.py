"""Reductions."""

from __future__ import annotations

from requant.runtime.graph import Graph
from requant.runtime.operations.registry import Tensor, operation


@operation
def reduce_mean(graph: Graph, x: Tensor, axes: tuple[int, ...] | None = None, keep_dims: bool = False) -> str:
    """The mean over some axes, or over all."""
    over = [graph.integers(*axes)] if axes else []
    return graph.node("ReduceMean", x.name, *over, keepdims=int(keep_dims))


@operation
def reduce_sum(graph: Graph, x: Tensor, axes: tuple[int, ...] | None = None, keep_dims: bool = False) -> str:
    """The sum over some axes, or over all."""
    over = [graph.integers(*axes)] if axes else []
    return graph.node("ReduceSum", x.name, *over, keepdims=int(keep_dims))
