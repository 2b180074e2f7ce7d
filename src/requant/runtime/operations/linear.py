"""Matrix products."""

from __future__ import annotations

from requant.runtime.graph import Graph, Tensor
from requant.runtime.operations.registry import operation


@operation
def linear(graph: Graph, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x @ weight.T + bias`; `weight` is (D_out, D_in)."""
    product = graph.node("MatMul", x, graph.node("Transpose", weight, perm=[1, 0]))
    return graph.node("Add", product, bias) if bias else product


@operation
def matmul(graph: Graph, x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    """`x @ y`, either transposed in its last two axes first."""
    left = _transposed(graph, x) if transpose_x else x
    right = _transposed(graph, y) if transpose_y else y
    return graph.node("MatMul", left, right)


def _transposed(graph: Graph, x: Tensor) -> Tensor:
    axes = list(range(len(x.shape)))
    return graph.node("Transpose", x, perm=[*axes[:-2], axes[-1], axes[-2]])
