import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from requant.errors import RequantError
from requant.runtime.classical.non_maximum_suppression import intersection_over_union, keep
from tests.runtime.classical.specs import DOUBLE, array, opened, transform

# Three boxes in a row, the second over a third of the first, the third apart; x, y of the centre, width, height.
BOXES = np.array([[1.0, 1, 2, 2], [2.0, 1, 2, 2], [9.0, 9, 2, 2]])
CONFIDENCES = np.array([[0.6, 0.1], [0.1, 0.8], [0.3, 0.2]])


def suppression(per_class=False, overlap=0.3, confident=0.0, rows=()):
    shape = array(3, 2), array(3, 4)
    inputs = [("c", shape[0]), ("b", shape[1]), ("iou", DOUBLE), ("least", DOUBLE)]
    spec = transform(inputs, [("confidence", shape[0]), ("coordinates", shape[1])], "nonMaximumSuppression")
    for feature in spec.description.input[2:]:
        feature.type.isOptional = True
    for feature, columns in zip(spec.description.output, (2, 4), strict=True):
        del feature.type.multiArrayType.shape[:]
        if isinstance(rows, int):
            feature.type.multiArrayType.shape.extend([rows, columns])
        elif rows:
            sizes = feature.type.multiArrayType.shapeRange.sizeRanges
            sizes.add(lowerBound=rows[0], upperBound=rows[1])
            sizes.add(lowerBound=columns, upperBound=columns)
            feature.type.multiArrayType.shape.extend([rows[0], columns])
    body = spec.nonMaximumSuppression
    body.pickTop.perClass = per_class
    body.iouThreshold, body.confidenceThreshold = overlap, confident
    body.confidenceInputFeatureName, body.coordinatesInputFeatureName = "c", "b"
    body.confidenceOutputFeatureName, body.coordinatesOutputFeatureName = "confidence", "coordinates"
    body.iouThresholdInputFeatureName, body.confidenceThresholdInputFeatureName = "iou", "least"
    return spec


def kept(spec, **inputs):
    found = opened(spec).predict({"c": CONFIDENCES, "b": BOXES, **inputs})
    assert found["confidence"].dtype == np.float64
    return found["confidence"].tolist(), found["coordinates"].tolist()


def rows(*indices):
    return CONFIDENCES[list(indices)].tolist(), BOXES[list(indices)].tolist()


def test_the_overlap_is_the_intersection_over_the_union():
    assert intersection_over_union(BOXES[0], BOXES).tolist() == pytest.approx([1, 2 / 6, 0])
    assert intersection_over_union(np.zeros(4), np.zeros((1, 4))).tolist() == [0]


def test_boxes_over_a_more_confident_one_are_suppressed():
    assert kept(suppression()) == rows(1, 2)
    assert kept(suppression(overlap=0.34)) == rows(1, 0, 2)


def test_boxes_of_other_classes_may_be_spared():
    assert kept(suppression(per_class=True)) == rows(1, 0, 2)


def test_boxes_without_confidence_are_discarded():
    assert kept(suppression(confident=0.3)) == rows(1, 2)
    assert kept(suppression(confident=0.31)) == rows(1)
    assert kept(suppression(confident=0.9)) == ([], [])


def test_the_thresholds_may_be_inputs():
    assert kept(suppression(), iou=0.34) == rows(1, 0, 2)
    assert kept(suppression(), least=0.5) == rows(1)


def test_with_a_threshold_of_one_no_box_is_suppressed():
    boxes = np.repeat(BOXES[:1], 3, axis=0)
    assert len(kept(suppression(overlap=1.0), b=boxes)[0]) == 3


def test_a_declared_number_of_rows_is_filled_up_or_cut():
    confidences, boxes = rows(1, 2)
    assert kept(suppression(rows=4)) == ([*confidences, [0, 0], [0, 0]], [*boxes, [0] * 4, [0] * 4])
    assert kept(suppression(rows=1)) == rows(1)
    assert kept(suppression(rows=(0, -1))) == rows(1, 2)
    assert kept(suppression(rows=(0, 1))) == rows(1)
    assert kept(suppression(rows=(3, 5))) == ([*confidences, [0, 0]], [*boxes, [0] * 4])


@given(
    st.lists(st.tuples(*[st.sampled_from([0.0, 1, 2, 3])] * 2, *[st.sampled_from([1.0, 2, 3])] * 2), max_size=12),
    st.sampled_from([0.1, 0.25, 0.5, 0.9]), st.booleans(), st.integers(0, 100),
)  # fmt: skip
def test_what_is_kept_does_not_overlap_and_what_is_not_does(boxes, overlap, per_class, seed):
    array_of_boxes = np.array(boxes, float).reshape(-1, 4)
    confidences = np.random.default_rng(seed).random((len(boxes), 3))
    found = keep(confidences, array_of_boxes, overlap, 0.4, per_class).tolist()
    scores, classes = confidences.max(1, initial=0), confidences.argmax(1) if len(boxes) else []

    def rivals(i, j):
        close = intersection_over_union(array_of_boxes[i], array_of_boxes[[j]])[0] > overlap
        return close and (not per_class or classes[i] == classes[j])

    assert [scores[i] for i in found] == sorted((scores[i] for i in found), reverse=True)
    assert not any(rivals(i, j) for i in found for j in found if i != j)
    for other in set(range(len(boxes))) - set(found):
        assert scores[other] < 0.4 or any(rivals(i, other) and scores[i] >= scores[other] for i in found)


def test_what_is_not_defined_or_does_not_fit_is_refused():
    spec = suppression()
    spec.nonMaximumSuppression.ClearField("SuppressionMethod")
    with pytest.raises(RequantError, match="does not say how it suppresses boxes"):
        opened(spec)
    spec = suppression()
    spec.nonMaximumSuppression.confidenceOutputFeatureName = "other"
    with pytest.raises(RequantError, match="does not declare its output 'other'"):
        opened(spec)
    spec = suppression()
    for count in (1, 2):
        shapes = spec.description.output[0].type.multiArrayType.enumeratedShapes.shapes
        shapes.add().shape.extend([count, 2])
    with pytest.raises(RequantError, match="'confidence' enumerates several shapes"):
        opened(spec)
    spec = suppression()
    spec.description.input[1].type.multiArrayType.shape[0] = 2
    with pytest.raises(RequantError, match=r"not \(3, 2\) and \(2, 4\)"):
        opened(spec).predict({"c": CONFIDENCES, "b": BOXES[:2]})
