import numpy as np
import pytest
from coremltools.models._interface_management import set_regressor_interface_params
from scipy.special import expit, softmax
from scipy.stats import norm

from requant.errors import RequantError
from tests.building import numbers
from tests.runtime.classical.specs import DOUBLE, INT64, array, classifier, empty, opened, regressor

X = np.array([0.5, -1.25, 2.0])
LINKS = {"NoTransform": lambda score: score, "Logit": expit, "Probit": norm.cdf}


def glm(labels, rows, encoding="OneVsRest", link="Logit"):
    spec = classifier("glmClassifier", labels)
    body = spec.glmClassifier
    body.classEncoding = body.ClassEncoding.Value(encoding)
    body.postEvaluationTransform = body.PostEvaluationTransform.Value(link)
    for row, offset in zip(numbers(rows, 3), numbers(rows), strict=True):
        body.weights.add().value.extend(row.tolist())
        body.offset.append(float(offset))
    return spec


def scores(rows):
    return numbers(rows, 3).astype(float) @ X + numbers(rows).astype(float)


@pytest.mark.parametrize("link", LINKS)
def test_a_regressor_is_a_linear_function_and_a_link(link):
    spec = regressor()
    body = spec.glmRegressor
    body.postEvaluationTransform = body.PostEvaluationTransform.Value(link)
    body.weights.add().value.extend([1.0, 2.0, -0.5])
    body.offset.append(0.25)
    found = opened(spec).predict({"x": X})
    assert found == {"y": pytest.approx(LINKS[link](0.5 - 2.5 - 1.0 + 0.25), abs=1e-12)}
    assert isinstance(found["y"], float)


def test_inputs_are_lined_up_in_their_order():
    inputs = [("a", DOUBLE), ("b", array(2)), ("c", INT64)]
    spec = set_regressor_interface_params(empty(), inputs, [("y", DOUBLE)])
    spec.glmRegressor.weights.add().value.extend([1.0, 10.0, 100.0, 1000.0])
    spec.glmRegressor.offset.append(0)
    assert opened(spec).predict({"c": 4, "a": 1.0, "b": [2.0, 3.0]}) == {"y": 4321.0}


@pytest.mark.parametrize("labels", [["no", "yes"], [7, -3]])
@pytest.mark.parametrize("encoding", ["OneVsRest", "ReferenceClass"])
@pytest.mark.parametrize("link", ["Logit", "Probit"])
def test_two_classes_have_one_score(labels, encoding, link):
    second = LINKS[link](scores(1)[0])
    found = opened(glm(labels, 1, encoding, link)).predict({"x": X})
    assert found["p"] == pytest.approx({labels[0]: 1 - second, labels[1]: second})
    assert found["label"] == labels[int(second > 0.5)]


def test_classes_against_the_rest_share_their_probabilities():
    shares = expit(scores(4))
    found = opened(glm(list("abcd"), 4)).predict({"x": X})
    assert found["p"] == pytest.approx(dict(zip("abcd", shares / shares.sum(), strict=True)))
    assert found["label"] == "abcd"[shares.argmax()]


def test_the_reference_class_has_the_score_zero():
    expected = softmax([0, *scores(3)])
    found = opened(glm(list("abcd"), 3, "ReferenceClass")).predict({"x": X})
    assert found["p"] == pytest.approx(dict(zip("abcd", expected, strict=True)))
    assert found["label"] == "abcd"[expected.argmax()]


def test_great_scores_do_not_overflow():
    spec = glm(["a", "b"], 1)
    with np.errstate(over="raise"):
        for factor, expected in ((1e6, "b"), (-1e6, "a")):
            found = opened(spec).predict({"x": factor * numbers(1, 3)[0]})
            assert found["label"] == expected
            assert sorted(found["p"].values()) == [0.0, 1.0]


def test_parts_that_do_not_fit_are_refused():
    with pytest.raises(RequantError, match="has 2 rows of weights; its 3 classes take 3"):
        opened(glm(list("abc"), 2))
    with pytest.raises(RequantError, match="probit link function for 3 classes; it is for two only"):
        opened(glm(list("abc"), 3, link="Probit"))
    spec = glm(["a", "b"], 1)
    spec.glmClassifier.offset.append(1)
    with pytest.raises(RequantError, match="is damaged: its weights and offsets are not of one size"):
        opened(spec)
    spec = glm(["a", "b"], 1)
    spec.glmClassifier.weights[0].value.append(1)
    with pytest.raises(RequantError, match="has weights for 4 numbers, but its inputs hold 3"):
        opened(spec).predict({"x": X})
