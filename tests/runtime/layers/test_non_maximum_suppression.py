import itertools

import numpy as np
import pytest

from tests.runtime.operations.test_non_maximum_suppression import candidates, same
from tests.runtime.running import run_network
from tests.runtime.sampling import suppressed

OUTPUTS = ("kept", "kept_scores", "indices", "number")


@pytest.mark.parametrize(("per_class", "given", "most"), itertools.product([True, False], [True, False], [6, 30]))
def test_limits_as_parameters_and_as_inputs(per_class, given, most):
    boxes, scores = candidates(20, 3, seed=2)
    limits = {"iou": np.float32([0.3]), "score": np.float32([0.2]), "most": np.float32([most])} if given else {}

    def layers(b):
        options = {} if given else {"iou_threshold": 0.3, "score_threshold": 0.2, "max_boxes": most}
        names = ["boxes", "scores", *limits]
        b.add_nms("nms", names, list(OUTPUTS), per_class_suppression=per_class, **options)

    found = run_network(layers, outputs=OUTPUTS, boxes=boxes, scores=scores, **limits)
    same(found, suppressed(boxes, scores, 0.3, np.float32(0.2), most, per_class))
