"""Layers that combine several tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from requant.runtime.graph import Tensor
from requant.runtime.layers.context import Array, Context
from requant.runtime.layers.registry import layer


@layer("add")
def add(context: Context, layer: Any, *inputs: Array) -> list[Tensor]:
    """A sum, or the sum of one tensor and a number."""
    return [_combined(context, "Add", layer.add.alpha, inputs)]


@layer("multiply")
def multiply(context: Context, layer: Any, *inputs: Array) -> list[Tensor]:
    """A product, or the product of one tensor and a number."""
    return [_combined(context, "Mul", layer.multiply.alpha, inputs)]


def _combined(context: Context, kind: str, alpha: float, inputs: Sequence[Array]) -> Tensor:
    if len(inputs) == 1:
        return context.graph.node(kind, inputs[0].tensor, context.graph.scalar(alpha))
    result = inputs[0].tensor
    for other in inputs[1:]:
        result = context.graph.node(kind, result, other.tensor)
    return result
