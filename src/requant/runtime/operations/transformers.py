"""Attention."""

from __future__ import annotations

import math

import numpy as np

from requant.runtime.graph import Graph, Tensor
from requant.runtime.operations.linear import swapped
from requant.runtime.operations.registry import operation


@operation
def scaled_dot_product_attention(
    graph: Graph, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None
) -> Tensor:
    """`softmax(query @ key.T / sqrt(E) + attn_mask) @ value`; where a mask of bools does not hold, -infinity is added.

    The inputs are (..., L, E), (..., S, E), (..., S, EV) and (..., L, S), which may broadcast.
    """
    scores = graph.node("Mul", graph.node("MatMul", query, swapped(graph, key)), _inverse_root(graph, query))
    if attn_mask:
        scores = graph.node("Add", scores, _addend(graph, attn_mask))
    return graph.node("MatMul", graph.node("Softmax", scores, axis=-1), value)


def _inverse_root(graph: Graph, query: Tensor) -> Tensor:
    """Return the inverse of the square root of the size of the last axis."""
    if query.shape[-1] > 0:
        return graph.scalar(1 / math.sqrt(query.shape[-1]))
    size = graph.cast(graph.size_of(query, -1), "float32")
    return graph.node("Reciprocal", graph.node("Sqrt", size))


def _addend(graph: Graph, mask: Tensor) -> Tensor:
    if mask.dtype != "bool":
        return mask
    return graph.node("Where", mask, graph.scalar(0), graph.scalar(-np.inf))
