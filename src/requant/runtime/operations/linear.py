"""Matrix products."""

from __future__ import annotations

from requant.runtime.graph import Graph
from requant.runtime.operations.registry import Tensor, operation


@operation
def linear(graph: Graph, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> str:
    """`x @ weight.T + bias`; `weight` is (D_out, D_in)."""
    product = graph.node("MatMul", x.name, graph.node("Transpose", weight.name, perm=[1, 0]))
    return graph.node("Add", product, bias.name) if bias else product


@operation
def matmul(graph: Graph, x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False) -> str:
    """`x @ y`, either transposed in its last two axes first."""
    left = _transposed(graph, x) if transpose_x else x.name
    right = _transposed(graph, y) if transpose_y else y.name
    return graph.node("MatMul", left, right)


def _transposed(graph: Graph, x: Tensor) -> str:
    axes = list(range(len(x.shape)))
    return graph.node("Transpose", x.name, perm=[*axes[:-2], axes[-1], axes[-2]])
