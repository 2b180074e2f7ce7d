"""Models of other people that are no networks, held against a computation by hand from the numbers in their files."""

import math

import numpy as np
import pytest

from requant.coreml.model import load as load_model
from requant.errors import RequantError
from requant.runtime import load, open_model


def walked(nodes, x):
    """Return the value of the leaf that a tree of `XGBoost` comes to: less goes to the true child."""
    node = nodes[0]
    while node.nodeBehavior != node.LeafNode:
        assert node.nodeBehavior == node.BranchOnValueLessThan
        node = nodes[
            node.trueChildNodeId if x[node.branchFeatureIndex] < node.branchFeatureValue else node.falseChildNodeId
        ]
    return node.evaluationInfo[0].evaluationValue


def test_boosted_trees_give_the_mark_of_a_student(real_models):
    model = load_model(real_models / "xgb-student/student_performance.mlmodel")
    parameters = model.spec.treeEnsembleRegressor.treeEnsemble
    trees = {}
    for node in parameters.nodes:
        trees.setdefault(node.treeId, {})[node.nodeId] = node
    runner = open_model(model, "onnxruntime")
    for x in np.random.default_rng(0).integers(0, 6, (50, 5)).astype(float):
        expected = parameters.basePredictionValue[0] + sum(walked(nodes, x) for nodes in trees.values())
        found = runner.predict(dict(zip([f.name for f in runner.inputs], x, strict=True)))
        assert found == {"target": pytest.approx(expected, rel=1e-12)}
        assert 0 < found["target"] < 100


def test_a_pipeline_tells_good_words_from_bad_ones(real_models):
    model = load_model(real_models / "sentiment-pipeline/SentimentPolarity.mlmodel")
    vectorize, last = model.spec.pipelineClassifier.pipeline.models
    words = list(vectorize.pipeline.models[0].dictVectorizer.stringToIndex.vector)
    weights, offset = last.glmClassifier.weights[0].value, last.glmClassifier.offset[0]
    runner = open_model(model, "onnxruntime")
    for bag, label in (
        ({"great": 1, "best": 1, "excellent": 1}, "Pos"),
        ({"worst": 1, "boring": 2, "waste": 1}, "Neg"),
        ({"no-such-word": 5}, None),
        ({}, None),
    ):
        score = offset + sum(count * weights[words.index(word)] for word, count in bag.items() if word in words)
        second = 1 / (1 + math.exp(-score))
        found = runner.predict({"input": bag})
        assert found["classProbability"] == pytest.approx({"Neg": 1 - second, "Pos": second}, rel=1e-12)
        assert found["classLabel"] == (label or ("Pos" if second > 0.5 else "Neg"))


def test_a_linear_regressor_is_a_product(real_models):
    runner = load(real_models / "tiny-oddities/PlotCVPredict.mlmodel", "onnxruntime")
    body = load_model(real_models / "tiny-oddities/PlotCVPredict.mlmodel").spec.glmRegressor
    x = np.random.default_rng(0).normal(size=13)
    expected = sum(w * v for w, v in zip(body.weights[0].value, x, strict=True)) + body.offset[0]
    assert runner.predict({"input": x}) == {"prediction": pytest.approx(expected, rel=1e-12)}


def test_a_pipeline_of_one_hot_encoders_sets_one_element_per_column(real_models):
    model = load_model(real_models / "tiny-oddities/onehot_simple.mlmodel")
    encoders = [m.oneHotEncoder for m in model.spec.pipeline.models if m.WhichOneof("Type") == "oneHotEncoder"]
    categories = [list(encoder.int64Categories.vector) for encoder in encoders]
    runner = open_model(model, "onnxruntime")
    random = np.random.default_rng(0)
    for _ in range(20):
        x = [random.choice(values) for values in categories]
        expected = [float(value == choice) for values, choice in zip(categories, x, strict=True) for value in values]
        np.testing.assert_array_equal(runner.predict({"input": x})["transformed_features"], expected)
    with pytest.raises(RequantError, match=r"in the model 'model.*which is none of the categories"):
        runner.predict({"input": [99] * len(categories)})
