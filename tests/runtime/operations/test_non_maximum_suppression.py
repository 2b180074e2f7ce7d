import itertools

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813

from tests.building import IOS17
from tests.runtime.running import run_program
from tests.runtime.sampling import suppressed


def candidates(count, classes, batch=2, seed=0):
    """Return boxes (batch, count, 4) that overlap and scores (batch, count, classes)."""
    generator = np.random.default_rng([seed, count, classes])
    centres, sizes = generator.uniform(0, 10, (batch, count, 2)), generator.uniform(1, 6, (batch, count, 2))
    boxes = np.concatenate([centres, sizes], -1).astype(np.float32)
    return boxes, generator.normal(size=(batch, count, classes)).astype(np.float32)


def same(found, expected):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize(
    ("most", "iou", "threshold", "per_class", "classes"),
    itertools.product([5, 20, 30], [0.0, 0.3, 1.0], [-10.0, 0.5, 10.0], [True, False], [1, 4]),
)
def test_boxes_and_scores_of_ios15(most, iou, threshold, per_class, classes):
    boxes, scores = candidates(20, classes)

    def function(boxes, scores):
        return mb.non_maximum_suppression(
            boxes=boxes,
            scores=scores,
            iou_threshold=iou,
            score_threshold=threshold,
            max_boxes=most,
            per_class_suppression=per_class,
        )

    same(run_program(function, boxes, scores), suppressed(boxes, scores, iou, threshold, most, per_class))


@pytest.mark.parametrize(("most", "per_class"), itertools.product([4, 25], [True, False]))
def test_boxes_and_scores_of_ios17(most, per_class):
    boxes, scores = candidates(20, 3, seed=1)

    def function(boxes, scores):
        return mb.non_maximum_suppression(
            boxes=boxes, scores=scores, iou_threshold=0.2, max_boxes=most, per_class_suppression=per_class
        )

    found = run_program(function, boxes.transpose(0, 2, 1), scores.transpose(0, 2, 1), target=IOS17)
    kept, kept_scores, indices, _ = suppressed(boxes, scores, 0.2, -np.inf, most, per_class)
    same(found, [kept.transpose(0, 2, 1), kept_scores.transpose(0, 2, 1), indices])
    assert found[2].dtype == np.int32


def test_a_score_at_the_threshold_is_kept_and_equal_scores_keep_their_order():
    boxes = np.array([[[0, 0, 1, 1], [5, 5, 1, 1], [9, 9, 1, 1]]], np.float32)
    scores = np.array([[[0.25], [0.5], [0.5]]], np.float32)

    def function(boxes, scores):
        return mb.non_maximum_suppression(
            boxes=boxes, scores=scores, iou_threshold=0.5, score_threshold=0.5, max_boxes=3
        )

    _, _, indices, number = run_program(function, boxes, scores)
    np.testing.assert_array_equal(indices, [[1, 2, -1]])
    np.testing.assert_array_equal(number, [2])
