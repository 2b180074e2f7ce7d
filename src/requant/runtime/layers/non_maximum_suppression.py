"""Non-maximum suppression."""

from __future__ import annotations

from typing import Any

from requant.runtime.layers.context import Array, Context
from requant.runtime.layers.registry import layer
from requant.runtime.operations.non_maximum_suppression import suppressed


@layer("NonMaximumSuppression")
def non_maximum_suppression(context: Context, layer: Any, boxes: Array, scores: Array, *limits: Array) -> list[Array]:
    """The boxes that survive, their scores, indices and number; inputs after the first two overwrite the limits."""
    params, graph = layer.NonMaximumSuppression, context.graph
    numbers = [graph.scalar(value) for value in (params.iouThreshold, params.scoreThreshold)]
    numbers.append(graph.integers(params.maxBoxes))
    for index, limit in enumerate(limits):
        numbers[index] = graph.reshape(limit.tensor, 1)
    iou, score, most = numbers
    results = suppressed(
        graph,
        context.full(boxes),
        context.full(scores),
        iou,
        score,
        graph.cast(most, "int64"),
        params.perClassSuppression,
    )
    return [Array(graph.cast(result, "float32"), result.rank) for result in results]
