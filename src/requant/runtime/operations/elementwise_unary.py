"""Elementwise operations on one tensor."""

from __future__ import annotations

from requant.runtime.graph import Graph, Tensor, computed_in
from requant.runtime.operations.registry import operation

_FLOATS = {"fp16": "float16", "fp32": "float32", "fp64": "float64"}


@operation
def cast(graph: Graph, x: Tensor, dtype: str) -> Tensor:
    """The same numbers in another type. float16 is computed as float32, so that between the two nothing happens."""
    name = _FLOATS.get(dtype, dtype)
    held = x if name in ("float16", "float64", "int64") else graph.cast(x, name)
    return graph.cast(held, computed_in(name))


@operation
def clip(graph: Graph, x: Tensor, alpha: float, beta: float) -> Tensor:
    """`min(max(x, alpha), beta)`."""
    return graph.node("Clip", x, graph.scalar(alpha), graph.scalar(beta))
