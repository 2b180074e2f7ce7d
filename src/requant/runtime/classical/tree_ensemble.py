"""Ensembles of decision trees (`TreeEnsemble.proto`), in double precision, as their thresholds and values are.

All trees take one step at a time together, so that the number of steps is the depth of the deepest tree. An input that
is left out counts as missing, like a NaN.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from requant.coreml.description import inputs_of, outputs_of
from requant.coreml.model import Model
from requant.errors import RequantError
from requant.runtime.classical.classes import class_outputs, labels_of, logistic, softmax
from requant.runtime.classical.registry import Predict, body_of, family
from requant.runtime.classical.values import declared_value, require_numeric, vector_of
from requant.runtime.features import Inputs, Outputs

Vector = NDArray[np.float64]
LEAF = 6
_MOST_DIMENSIONS = 1_000_000  # numbers or classes that a model predicts at once
# `TreeNodeBehavior` in the order of its numbers.
_COMPARISONS = (np.less_equal, np.less, np.greater_equal, np.greater, np.equal, np.not_equal)
NO_TRANSFORM, SOFTMAX, LOGISTIC = 0, 1, 2
_TRANSFORMS = ("NoTransform", "Classification_SoftMax", "Regression_Logistic",
               "Classification_SoftMaxWithZeroClassReference")  # fmt: skip


class _Trees:
    """The nodes of all trees, a row each; a leaf is its own child on both sides."""

    def __init__(self, model: Model, parameters: Any) -> None:
        nodes = parameters.nodes
        rows = {(node.treeId, node.nodeId): row for row, node in enumerate(nodes)}
        if len(rows) != len(nodes):
            raise RequantError(f"{model.path} is damaged: a tree has two nodes of one number.")
        try:
            self.true_children, self.false_children = (
                np.array(
                    [row if node.nodeBehavior == LEAF else rows[node.treeId, getattr(node, field)]
                     for row, node in enumerate(nodes)], np.int64,
                )
                for field in ("trueChildNodeId", "falseChildNodeId")
            )  # fmt: skip
        except KeyError as error:
            raise RequantError(
                f"{model.path} is damaged: the tree {error.args[0][0]} has no node {error.args[0][1]}."
            ) from error
        self.behaviors = np.array([node.nodeBehavior for node in nodes], np.int64)
        self.features = np.array([node.branchFeatureIndex for node in nodes], np.int64)
        self.thresholds = np.array([node.branchFeatureValue for node in nodes], np.float64)
        self.missing = np.array([node.missingValueTracksTrueChild for node in nodes], bool)
        self.roots = self._roots(model, [node.treeId for node in nodes])
        self.used = int(self.features[self.behaviors != LEAF].max(initial=-1)) + 1
        self._read_leaves(model, parameters)

    def _roots(self, model: Model, trees: list[int]) -> NDArray[np.int64]:
        inner = self.behaviors != LEAF
        children = np.concatenate([self.true_children[inner], self.false_children[inner]])
        parents = np.bincount(children, minlength=len(trees))
        roots = np.flatnonzero(parents == 0)
        counts = Counter(trees[root] for root in roots)
        if (parents > 1).any() or set(counts.values()) - {1} or set(counts) != set(trees):
            raise RequantError(f"{model.path} is damaged: its nodes do not form trees with one root each.")
        return roots

    def _read_leaves(self, model: Model, parameters: Any) -> None:
        self.dimensions = int(parameters.numPredictionDimensions)
        if self.dimensions > _MOST_DIMENSIONS:
            raise RequantError(f"{model.path} is damaged: it predicts {self.dimensions:,} numbers at once.")
        base = list(parameters.basePredictionValue) or [0.0] * self.dimensions
        self.base = np.array(base, np.float64)
        infos = [node.evaluationInfo for node in parameters.nodes]
        self.counts = np.array([len(info) for info in infos], np.int64)
        self.starts = np.cumsum(self.counts) - self.counts
        self.indices = np.array([entry.evaluationIndex for info in infos for entry in info], np.int64)
        self.values = np.array([entry.evaluationValue for info in infos for entry in info], np.float64)
        if len(base) != self.dimensions or self.indices.max(initial=0) >= self.dimensions:
            raise RequantError(
                f"{model.path} is damaged: it has values for other dimensions than its {self.dimensions}."
            )

    def __call__(self, vector: Vector) -> Vector:
        """Return the base prediction and the values of all leaves that are reached, added up in the trees' order."""
        if self.used > vector.size:
            raise RequantError(f"the trees look at {self.used} numbers, but the inputs hold {vector.size}.")
        current = self.roots
        while (self.behaviors[current] != LEAF).any():
            current = np.where(self._goes_to_true_child(current, vector),
                               self.true_children[current], self.false_children[current])  # fmt: skip
        counts = self.counts[current]
        ends = np.cumsum(counts)
        entries = np.arange(counts.sum()) + np.repeat(self.starts[current] - (ends - counts), counts)
        result = self.base.copy()
        np.add.at(result, self.indices[entries], self.values[entries])
        return result

    def _goes_to_true_child(self, current: NDArray[np.int64], vector: Vector) -> NDArray[np.bool_]:
        inner = self.behaviors[current] != LEAF
        found = np.zeros(len(current))
        found[inner] = vector[self.features[current[inner]]]
        answers = [compare(found, self.thresholds[current]) for compare in _COMPARISONS]
        answer = np.choose(np.where(inner, self.behaviors[current], 0), answers)
        return np.where(np.isnan(found), self.missing[current], answer)


def _transform(model: Model, body: Any, allowed: tuple[int, ...], dimensions: int) -> int:
    transform = int(body.postEvaluationTransform)
    if transform not in allowed:
        name = _TRANSFORMS[transform] if transform < len(_TRANSFORMS) else str(transform)
        raise RequantError(
            f"{model.path} has the post-evaluation transform {name} on {dimensions} dimensions of a "
            f"{model.spec.WhichOneof('Type')}; Apple's description leaves open what that computes."
        )
    return transform


@family("treeEnsembleRegressor")
def regressor(model: Model) -> Predict:
    """Open a tree ensemble that predicts a number.

    Raises:
        RequantError: if the trees are damaged, or have a transform whose meaning is not defined.
    """
    body, inputs, (output,) = body_of(model), inputs_of(model), outputs_of(model)
    require_numeric(model, inputs)
    trees = _Trees(model, body.treeEnsemble)
    transform = _transform(model, body, (NO_TRANSFORM, LOGISTIC), trees.dimensions)

    def predict(given: Inputs) -> Outputs:
        found = trees(vector_of(given, inputs, missing=np.nan))
        return {output.name: declared_value(logistic(found) if transform == LOGISTIC else found, output)}

    return predict


@family("treeEnsembleClassifier")
def classifier(model: Model) -> Predict:
    """Open a tree ensemble that predicts a class.

    With one dimension and two classes, the value is the probability of the second class, or its logit. A value of
    just one half stands for the second class: coremltools' converter of scikit-learn's trees, which decide for the
    first one there, counts on it.

    Raises:
        RequantError: if the trees are damaged, or have a transform whose meaning is not defined.
    """
    body, inputs = body_of(model), inputs_of(model)
    require_numeric(model, inputs)
    trees = _Trees(model, body.treeEnsemble)
    binary = trees.dimensions == 1
    labels = labels_of(body) or list(range(2 if binary else trees.dimensions))
    if len(labels) != (2 if binary else trees.dimensions):
        raise RequantError(f"{model.path} has {len(labels)} class labels, but {trees.dimensions} dimensions.")
    allowed = (NO_TRANSFORM, LOGISTIC) if binary else (NO_TRANSFORM, SOFTMAX)
    transform = _transform(model, body, allowed, trees.dimensions)

    def predict(given: Inputs) -> Outputs:
        found = trees(vector_of(given, inputs, missing=np.nan))
        if not binary:
            probabilities = softmax(found) if transform == SOFTMAX else found
            return class_outputs(model, labels, int(probabilities.argmax()), probabilities)
        second = (logistic(found) if transform == LOGISTIC else found)[0]
        return class_outputs(model, labels, int(second >= 0.5), np.array([1 - second, second]))

    return predict
