"""Layers that combine several tensors."""

from __future__ import annotations

from typing import Any

from requant.runtime.layers.context import Context, unsupported


def add(context: Context, layer: Any, *inputs: str) -> list[str]:
    """Translate a sum, or the sum of one tensor and a number."""
    return [_combine(context, "Add", layer.add.alpha, inputs)]


def multiply(context: Context, layer: Any, *inputs: str) -> list[str]:
    """Translate a product, or the product of one tensor and a number."""
    return [_combine(context, "Mul", layer.multiply.alpha, inputs)]


def _combine(context: Context, kind: str, alpha: float, inputs: tuple[str, ...]) -> str:
    if len(inputs) == 1:
        return context.graph.node(kind, inputs[0], context.graph.scalar(alpha))
    result = inputs[0]
    for other in inputs[1:]:
        result = context.graph.node(kind, result, other)
    return result


def concat(context: Context, layer: Any, *inputs: str) -> list[str]:
    """Translate a concatenation of channels."""
    if layer.concat.sequenceConcat:
        raise unsupported(layer, "a concatenation of sequences")
    return [context.graph.node("Concat", *inputs, axis=-3)]
