"""Elementwise operations on one tensor."""

from __future__ import annotations

from requant.runtime.graph import Graph, onnx_type
from requant.runtime.operations.registry import Tensor, operation

_NAMES = {"fp16": "float16", "fp32": "float32", "bool": "bool"}


@operation
def cast(graph: Graph, x: Tensor, dtype: str) -> str:
    """The same numbers in another type. float16 is computed as float32, so that between the two nothing happens."""
    return graph.node("Cast", x.name, to=onnx_type(_NAMES.get(dtype, dtype)))


@operation
def clip(graph: Graph, x: Tensor, alpha: float, beta: float) -> str:
    """`min(max(x, alpha), beta)`."""
    return graph.node("Clip", x.name, graph.scalar(alpha), graph.scalar(beta))
