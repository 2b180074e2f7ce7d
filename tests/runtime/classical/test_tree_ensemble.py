import operator

import numpy as np
import pytest
from coremltools.models import datatypes
from coremltools.models.tree_ensemble import TreeEnsembleClassifier, TreeEnsembleRegressor
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, softmax

from requant.errors import RequantError
from tests.runtime.classical.specs import opened

BEHAVIORS = {
    "BranchOnValueLessThanEqual": operator.le,
    "BranchOnValueLessThan": operator.lt,
    "BranchOnValueGreaterThanEqual": operator.ge,
    "BranchOnValueGreaterThan": operator.gt,
    "BranchOnValueEqual": operator.eq,
    "BranchOnValueNotEqual": operator.ne,
}
FEATURES = [("a", datatypes.Array(3)), ("b", datatypes.Double())]
VALUES = [-1.0, 0.0, 0.5, 2.0]
leaves = st.dictionaries(st.integers(0, 2), st.sampled_from(VALUES), min_size=1)
nodes = st.recursive(
    leaves,
    lambda inner: st.tuples(
        st.sampled_from(sorted(BEHAVIORS)), st.integers(0, 3), st.sampled_from(VALUES), st.booleans(), inner, inner
    ),
    max_leaves=12,
)


def add(builder, tree, node, number=0):
    """Add a node and those below it, numbered as in a heap, the root last, to show that the order is of no account."""
    if isinstance(node, dict):
        builder.add_leaf_node(tree, number, node)
        return
    behavior, feature, value, missing, left, right = node
    add(builder, tree, right, 2 * number + 2)
    add(builder, tree, left, 2 * number + 1)
    builder.add_branch_node(
        tree, number, feature, value, behavior, 2 * number + 1, 2 * number + 2, missing_value_tracks_true_child=missing
    )


def walked(node, x):
    """Return the leaf that a tree comes to."""
    while not isinstance(node, dict):
        behavior, feature, value, missing, left, right = node
        answer = missing if np.isnan(x[feature]) else BEHAVIORS[behavior](x[feature], value)
        node = left if answer else right
    return node


def classifier(trees, transform, base=(0.25, -0.5, 1.0), labels=("x", "y", "z")):
    builder = TreeEnsembleClassifier(FEATURES, list(labels), ["label", "p"])
    builder.set_default_prediction_value(list(base))
    builder.set_post_evaluation_transform(transform)
    for tree, node in enumerate(trees):
        add(builder, tree, node)
    return builder.spec


def regressor(value=0.0, transform="NoTransform"):
    builder = TreeEnsembleRegressor(FEATURES, [("y", datatypes.Double())])
    builder.set_default_prediction_value(value)
    builder.set_post_evaluation_transform(transform)
    return builder


@given(st.lists(nodes, min_size=1, max_size=5), st.lists(st.sampled_from([*VALUES, np.nan]), min_size=4, max_size=4))
def test_trees_come_to_the_leaves_that_a_walk_comes_to(trees, x):
    expected = np.array([0.25, -0.5, 1.0])
    for tree in trees:
        for index, value in walked(tree, x).items():
            expected[index] += value
    for transform, function in (("NoTransform", np.asarray), ("Classification_SoftMax", softmax)):
        found = opened(classifier(trees, transform)).predict({"a": x[:3], "b": x[3]})
        np.testing.assert_allclose(list(found["p"].values()), function(expected), atol=1e-12)
        assert found["label"] == "xyz"[int(np.argmax(list(found["p"].values())))]


@pytest.mark.parametrize("behavior", BEHAVIORS)
@pytest.mark.parametrize("x", [1.0, 2.0, 3.0])
def test_a_branch_compares_as_its_name_says(behavior, x):
    builder = regressor(10)
    builder.add_branch_node(0, 0, 3, 2.0, behavior, 1, 2)
    builder.add_leaf_node(0, 1, 1)
    builder.add_leaf_node(0, 2, -1)
    found = opened(builder.spec).predict({"a": np.zeros(3), "b": x})
    assert found == {"y": 11.0 if BEHAVIORS[behavior](x, 2.0) else 9.0}


@pytest.mark.parametrize("tracks", [True, False])
def test_an_input_that_is_left_out_is_missing(tracks):
    builder = regressor()
    builder.add_branch_node(0, 0, 3, 2.0, "BranchOnValueNotEqual", 1, 2, missing_value_tracks_true_child=tracks)
    builder.add_leaf_node(0, 1, 1)
    builder.add_leaf_node(0, 2, -1)
    for feature in builder.spec.description.input:
        feature.type.isOptional = True
    for given_inputs in ({}, {"b": np.nan}):
        assert opened(builder.spec).predict(given_inputs) == {"y": 1.0 if tracks else -1.0}


def test_a_regressor_may_have_a_logistic_transform():
    builder = regressor(0.75, "Regression_Logistic")
    builder.add_leaf_node(0, 0, -2)
    builder.add_leaf_node(5, 3, 0.5)
    assert opened(builder.spec).predict({"a": np.zeros(3), "b": 0}) == {"y": pytest.approx(expit(-0.75))}


@pytest.mark.parametrize("value", [-1.5, 0.2, 0.5, 0.7])
def test_two_classes_have_one_dimension(value):
    for transform, second in (("NoTransform", value), ("Regression_Logistic", expit(value))):
        spec = classifier([{0: value}], transform, (0.0,), ("no", "yes"))
        found = opened(spec).predict({"a": np.zeros(3), "b": 0})
        assert found["p"] == pytest.approx({"no": 1 - second, "yes": second})
        assert found["label"] == ("yes" if second >= 0.5 else "no")


@pytest.mark.parametrize(
    ("transform", "base", "labels"),
    [
        ("Classification_SoftMaxWithZeroClassReference", (0.0, 0.0, 0.0), "xyz"),
        ("Regression_Logistic", (0.0, 0.0, 0.0), "xyz"),
        ("Classification_SoftMax", (0.0,), "xy"),
    ],
)
def test_a_transform_whose_meaning_is_not_defined_is_refused(transform, base, labels):
    with pytest.raises(RequantError, match=f"has the post-evaluation transform {transform} on {len(base)} dimensions"):
        opened(classifier([{0: 1.0}], transform, base, labels))


def damaged(change):
    builder = regressor()
    builder.add_branch_node(0, 0, 3, 2.0, "BranchOnValueEqual", 1, 2)
    builder.add_leaf_node(0, 1, 1)
    builder.add_leaf_node(0, 2, -1)
    change(builder)
    return builder.spec


def set_false_child(builder):
    builder.spec.treeEnsembleRegressor.treeEnsemble.nodes[0].falseChildNodeId = 1


def add_cycle(builder):
    builder.add_branch_node(1, 0, 0, 0, "BranchOnValueEqual", 1, 2)
    builder.add_branch_node(1, 1, 0, 0, "BranchOnValueEqual", 0, 3)
    builder.add_leaf_node(1, 2, 1)
    builder.add_leaf_node(1, 3, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b.add_leaf_node(0, 2, 1), "a tree has two nodes of one number"),
        (lambda b: b.add_branch_node(7, 0, 0, 0, "BranchOnValueEqual", 1, 2), "the tree 7 has no node 1"),
        (lambda b: b.add_leaf_node(0, 3, 1), "do not form trees with one root each"),
        (set_false_child, "do not form trees with one root each"),
        (add_cycle, "do not form trees with one root each"),
        (lambda b: b.add_leaf_node(1, 0, {4: 1.0}), "values for other dimensions than its 1"),
    ],
)
def test_trees_that_are_damaged_are_refused(change, message):
    with pytest.raises(RequantError, match=message):
        opened(damaged(change))


def test_a_branch_on_a_number_that_is_not_there_is_refused():
    spec = damaged(lambda b: b.add_leaf_node(1, 0, 1))
    spec.treeEnsembleRegressor.treeEnsemble.nodes[0].branchFeatureIndex = 4
    with pytest.raises(RequantError, match="the trees look at 5 numbers, but the inputs hold 4"):
        opened(spec).predict({"a": np.zeros(3), "b": 0})
