"""Non-maximum suppression: of boxes that overlap, only the one with the best score."""

from __future__ import annotations

import numpy as np

from requant.runtime.graph import Graph, Tensor
from requant.runtime.operations.registry import operation

_LOWEST = float(np.finfo(np.float32).min)


@operation
def non_maximum_suppression(
    graph: Graph,
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float,
    max_boxes: int,
    score_threshold: float | None = None,
    per_class_suppression: bool = False,
) -> list[Tensor]:
    """The boxes that survive, their scores and their indices, the best first; before iOS 17 their number too.

    Before iOS 17, the boxes are (batch, boxes, 4) and the scores (batch, boxes, classes), and there is a threshold of
    the scores; since then it is (batch, 4, boxes) and (batch, classes, boxes), without a threshold.
    """
    limit, iou = graph.integers(max_boxes), graph.scalar(iou_threshold)
    if score_threshold is not None:
        return suppressed(graph, boxes, scores, iou, graph.scalar(score_threshold), limit, per_class_suppression)
    boxes, scores = (graph.node("Transpose", x, perm=[0, 2, 1]) for x in (boxes, scores))
    kept, kept_scores, indices, _ = suppressed(graph, boxes, scores, iou, None, limit, per_class_suppression)
    columns = [graph.node("Transpose", x, perm=[0, 2, 1]) for x in (kept, kept_scores)]
    return [*columns, indices]


def suppressed(
    graph: Graph,
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: Tensor,
    score_threshold: Tensor | None,
    max_boxes: Tensor,
    per_class: bool,
) -> list[Tensor]:
    """Suppress as `NonMaximumSuppressionLayerParams` in `NeuralNetwork.proto` says.

    A box counts by its greatest score. Per class, a box belongs to the class of that score, and only boxes of one class
    suppress each other. If no score reaches the threshold, the box with the greatest score is kept all the same. What
    is missing up to `max_boxes` is filled with zeros, the indices with -1.

    Args:
        graph: the graph.
        boxes: (batch, boxes, 4): centre x, centre y, width, height.
        scores: (batch, boxes, classes).
        iou_threshold: a box goes if its intersection over union with a better one is greater; one number.
        score_threshold: boxes with lesser scores go first; one number.
        max_boxes: how many boxes may remain in each batch, int64 (1,).
        per_class: whether the classes are kept apart.

    Returns:
        The boxes (batch, max_boxes, 4), scores (batch, max_boxes, classes), indices (batch, max_boxes) and numbers of
        boxes (batch,).
    """
    best = graph.node("ReduceMax", scores, graph.integers(2), keepdims=0)
    lowest = graph.scalar(_LOWEST)
    allowed = best
    if score_threshold is not None:
        reaches = graph.node("GreaterOrEqual", best, graph.reshape(score_threshold))
        allowed = graph.node("Where", reaches, best, lowest)
    rivals = graph.node("Unsqueeze", allowed, graph.integers(1))
    if per_class:
        classes = graph.node("ArgMax", scores, axis=2, keepdims=0)
        count = graph.node("Squeeze", graph.size_of(scores, 2), graph.integers(0))
        every = graph.node("Range", graph.scalar(0, "int64"), count, graph.scalar(1, "int64"))
        own = graph.node("Equal", graph.node("Unsqueeze", classes, graph.integers(1)), graph.reshape(every, 1, -1, 1))
        rivals = graph.node("Where", own, rivals, lowest)
    iou = graph.node("Max", graph.node("Min", graph.reshape(iou_threshold, 1), graph.scalar(1)), graph.scalar(0))
    selected = graph.node(
        "NonMaxSuppression", boxes, rivals, max_boxes, iou, graph.reshape(lowest, 1), center_point_box=1
    )
    kept = _kept(graph, selected, best)
    return _gathered(graph, boxes, scores, best, kept, max_boxes)


def _kept(graph: Graph, selected: Tensor, best: Tensor) -> Tensor:
    """Return which boxes are kept, bool (batch, boxes), from (batch, class, box) of each selected one."""
    places = graph.node("Gather", selected, graph.integers(0, 2), axis=1)
    nothing = graph.node("Expand", graph.scalar(0), graph.shape_of(best))
    ones = graph.node("Expand", graph.scalar(1), graph.size_of(selected, 0))
    marked = graph.node("ScatterND", nothing, places, ones)
    empty = graph.node("Equal", graph.node("ReduceMax", marked, graph.integers(1), keepdims=1), graph.scalar(0))
    count = graph.node("Squeeze", graph.size_of(best, 1), graph.integers(0))
    every = graph.node("Range", graph.scalar(0, "int64"), count, graph.scalar(1, "int64"))
    first = graph.node("Equal", graph.node("ArgMax", best, axis=1, keepdims=1), every)
    return graph.node("Or", graph.cast(marked, "bool"), graph.node("And", empty, first))


def _gathered(
    graph: Graph, boxes: Tensor, scores: Tensor, best: Tensor, kept: Tensor, max_boxes: Tensor
) -> list[Tensor]:
    """Return the kept boxes by falling score, filled up to `max_boxes`."""
    minus_infinity = graph.scalar(-np.inf)
    held = graph.node("Min", max_boxes, graph.size_of(best, 1))
    _, order = graph.nodes("TopK", graph.node("Where", kept, best, minus_infinity), held, count=2, axis=1, sorted=1)
    number = graph.node("ReduceSum", graph.cast(kept, "int32"), graph.integers(1), keepdims=1)
    number = graph.node("Min", graph.cast(number, "int64"), max_boxes)
    count = graph.node("Squeeze", max_boxes, graph.integers(0))
    every = graph.node("Range", graph.scalar(0, "int64"), count, graph.scalar(1, "int64"))
    filled = graph.node("Less", graph.reshape(every, 1, -1), number)
    missing = graph.node("Sub", max_boxes, held)
    padded = graph.node("Pad", order, graph.node("Concat", graph.integers(0, 0, 0), missing, axis=0))
    indices = graph.node("Where", filled, padded, graph.scalar(-1, "int64"))
    safe = graph.node("Unsqueeze", graph.node("Max", indices, graph.scalar(0, "int64")), graph.integers(2))
    mask = graph.node("Unsqueeze", filled, graph.integers(2))
    found = [graph.node("GatherND", x, safe, batch_dims=1) for x in (boxes, scores)]
    rows = [graph.node("Where", mask, x, graph.scalar(0)) for x in found]
    return [*rows, indices, graph.node("Squeeze", number, graph.integers(1))]
