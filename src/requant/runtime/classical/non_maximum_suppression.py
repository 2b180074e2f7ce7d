"""Non-maximum suppression of boxes (`NonMaximumSuppression.proto`).

A box is suppressed by one that is kept if their intersection over union is greater than the threshold: with a threshold
of 1, no box is suppressed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from requant.coreml.description import Feature, outputs_of
from requant.coreml.model import Model
from requant.errors import RequantError
from requant.runtime.classical.registry import Predict, body_of, family
from requant.runtime.classical.values import declared_value, required
from requant.runtime.features import Inputs, Outputs

Boxes = NDArray[np.float64]


@family("nonMaximumSuppression")
def suppression(model: Model) -> Predict:
    """Open a model of non-maximum suppression.

    Its outputs have the rows of the boxes that are kept, the most confident first. Where an output declares how many
    rows it has, rows of zeros fill it up, and what is beyond is left out.

    Raises:
        RequantError: if its method of suppression is unknown, or an output is not declared.
    """
    body = body_of(model)
    if body.WhichOneof("SuppressionMethod") != "pickTop":
        raise RequantError(f"{model.path} does not say how it suppresses boxes; the known method is pickTop.")
    outputs = {feature.name: feature for feature in outputs_of(model)}
    try:
        results = [outputs[body.confidenceOutputFeatureName], outputs[body.coordinatesOutputFeatureName]]
    except KeyError as error:
        raise RequantError(f"{model.path} does not declare its output {error}.") from error
    least, most = _row_limits(results)

    def predict(inputs: Inputs) -> Outputs:
        confidences, boxes = (
            np.asarray(required(inputs, name), np.float64)
            for name in (body.confidenceInputFeatureName, body.coordinatesInputFeatureName)
        )
        if confidences.ndim != 2 or boxes.shape != (len(confidences), 4):
            raise RequantError(
                "the confidences are an array (boxes, classes) and the coordinates (boxes, 4), not "
                f"{confidences.shape} and {boxes.shape}."
            )
        overlap = inputs.get(body.iouThresholdInputFeatureName, body.iouThreshold)
        confident = inputs.get(body.confidenceThresholdInputFeatureName, body.confidenceThreshold)
        kept = keep(confidences, boxes, overlap, confident, body.pickTop.perClass)
        kept = kept[: most if most >= 0 else None]
        return {
            feature.name: declared_value(_filled(rows[kept], least), feature)
            for feature, rows in zip(results, (confidences, boxes), strict=True)
        }

    return predict


def _row_limits(features: list[Feature]) -> tuple[int, int]:
    """Return the least and the greatest number of rows that the outputs declare; -1 for no greatest one."""
    least, most = 0, -1
    for feature in features:
        if feature.bounds:
            low, high = feature.bounds[0]
        elif feature.sizes and len({size[0] for size in feature.sizes}) > 1:
            raise RequantError(
                f"the output {feature.name!r} enumerates several shapes; which one a model of this type returns is not "
                "defined."
            )
        elif feature.shape:
            low = high = feature.shape[0]
        else:
            continue
        least = max(least, low)
        most = high if most < 0 or 0 <= high < most else most
    return least, most


def _filled(rows: NDArray[np.float64], least: int) -> NDArray[np.float64]:
    return np.pad(rows, [(0, max(least - len(rows), 0)), (0, 0)])


def keep(
    confidences: NDArray[np.float64], boxes: Boxes, iou_threshold: float, confidence_threshold: float, per_class: bool
) -> NDArray[np.int64]:
    """Return the indices of the boxes that are kept, the most confident first.

    Args:
        confidences: (boxes, classes); a box's own confidence is the greatest of its row.
        boxes: (boxes, 4): x and y of the centre, width and height.
        iou_threshold: a greater intersection over union with a box that is kept suppresses.
        confidence_threshold: boxes below it are discarded first.
        per_class: whether a box is suppressed by boxes of its own class only.
    """
    if not confidences.size:
        return np.zeros(0, np.int64)
    scores, classes = confidences.max(axis=1), confidences.argmax(axis=1)
    order = np.argsort(-scores, kind="stable")
    waiting = order[scores[order] >= confidence_threshold]
    kept = []
    while len(waiting):
        top, waiting = waiting[0], waiting[1:]
        kept.append(top)
        suppressed = intersection_over_union(boxes[top], boxes[waiting]) > iou_threshold
        if per_class:
            suppressed &= classes[waiting] == classes[top]
        waiting = waiting[~suppressed]
    return np.array(kept, np.int64)


def intersection_over_union(box: Boxes, others: Boxes) -> NDArray[np.float64]:
    """Return the area of the intersection over that of the union, of a box (4,) with each of others (n, 4)."""
    low = np.maximum(box[:2] - box[2:] / 2, others[:, :2] - others[:, 2:] / 2)
    high = np.minimum(box[:2] + box[2:] / 2, others[:, :2] + others[:, 2:] / 2)
    intersection = np.clip(high - low, 0, None).prod(axis=1)
    union = box[2:].prod() + others[:, 2:].prod(axis=1) - intersection
    return np.asarray(np.divide(intersection, union, out=np.zeros_like(union), where=union > 0))
