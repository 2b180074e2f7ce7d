import numpy as np
import pytest
from coremltools.models.nearest_neighbors import KNearestNeighborsClassifierBuilder

from requant.errors import RequantError
from tests.building import numbers
from tests.runtime.classical.specs import opened

SAMPLES = [[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [0.0, 4.0]]
LABELS = ["a", "b", "a", "b", "c"]


def neighbours(count=3, samples=SAMPLES, labels=LABELS, default="none", **options):
    builder = KNearestNeighborsClassifierBuilder("x", "label", 2, default, number_of_neighbors=count, **options)
    if samples:
        builder.add_samples(np.array(samples, np.float32), labels)
    return builder.spec


@pytest.mark.parametrize("index", ["linear", "kd_tree"])
def test_the_nearest_neighbours_vote(index):
    runner = opened(neighbours(index_type=index))
    found = runner.predict({"x": [0.1, 0.0]})
    assert found == {"label": "a", "labelProbs": pytest.approx({"a": 2 / 3, "b": 1 / 3, "c": 0})}
    assert runner.predict({"x": [3.0, 0.0]})["label"] == "b"  # of (3, 0), (1, 0), (0, 0)


def test_near_neighbours_outweigh_far_ones():
    found = opened(neighbours(weighting_scheme="inverse_distance")).predict({"x": [0.75, 0.0]})
    weights = [1 / 0.75**2, 1 / 0.25**2, 1 / (0.75**2 + 4)]  # one over the squared distance
    share = weights[1] / sum(weights)
    assert found == {"label": "b", "labelProbs": pytest.approx({"a": 1 - share, "b": share, "c": 0})}


def test_a_sample_that_is_hit_decides_alone():
    found = opened(neighbours(weighting_scheme="inverse_distance")).predict({"x": [0.0, 4.0]})
    assert found == {"label": "c", "labelProbs": {"a": 0.0, "b": 0.0, "c": 1.0}}


def test_more_neighbours_than_samples_are_all_samples():
    found = opened(neighbours(50)).predict({"x": [9.0, 9.0]})
    assert found["labelProbs"] == pytest.approx({"a": 0.4, "b": 0.4, "c": 0.2})


def test_labels_may_be_integers():
    samples, labels = numbers(30, 2), [int(i) for i in np.random.default_rng(0).integers(-2, 3, 30)]
    runner = opened(neighbours(5, samples.tolist(), labels, default=99))
    for x in numbers(20, 2, seed=1).astype(np.float32):
        nearest = sorted(range(30), key=lambda i: sum((samples[i] - x).astype(float) ** 2))[:5]
        votes = [labels[i] for i in nearest]
        found = runner.predict({"x": x})
        assert votes.count(found["label"]) == max(votes.count(label) for label in votes)
        assert found["labelProbs"] == pytest.approx({label: votes.count(label) / 5 for label in dict.fromkeys(labels)})


def test_without_samples_the_default_label_is_predicted():
    assert opened(neighbours(samples=[])).predict({"x": [1.0, 2.0]}) == {"label": "none"}


def test_parts_that_do_not_fit_are_refused():
    spec = neighbours()
    spec.kNearestNeighborsClassifier.nearestNeighborsIndex.floatSamples[1].vector.append(1)
    with pytest.raises(RequantError, match="a sample has not 2 numbers"):
        opened(spec)
    spec = neighbours()
    spec.kNearestNeighborsClassifier.stringClassLabels.vector.append("d")
    with pytest.raises(RequantError, match="it has 5 samples and 6 labels"):
        opened(spec)
    spec = neighbours(samples=[])
    spec.kNearestNeighborsClassifier.ClearField("DefaultClassLabel")
    with pytest.raises(RequantError, match="no samples and no default label"):
        opened(spec)
