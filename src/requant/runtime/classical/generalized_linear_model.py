"""Generalized linear models (`GLMRegressor.proto`, `GLMClassifier.proto`), in double precision, as their weights are.

How the scores of one-vs-rest classifiers become probabilities is fixed by coremltools' converter, whose tests hold the
model against scikit-learn's: a logistic function per class, then divided by the sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from requant.coreml.description import inputs_of, outputs_of
from requant.coreml.model import Model
from requant.errors import RequantError
from requant.runtime.classical.classes import class_outputs, logistic, require_labels, softmax
from requant.runtime.classical.registry import Predict, body_of, family
from requant.runtime.classical.values import declared_value, require_numeric, vector_of
from requant.runtime.features import Inputs, Outputs

Vector = NDArray[np.float64]


class _Scores:
    """The linear part: `weights x + offset`, one score per row of weights."""

    def __init__(self, model: Model, body: Any) -> None:
        self.inputs = inputs_of(model)
        require_numeric(model, self.inputs)
        sizes = {len(row.value) for row in body.weights}
        if len(sizes) != 1 or len(body.weights) != len(body.offset):
            raise RequantError(f"{model.path} is damaged: its weights and offsets are not of one size.")
        self.weights = np.array([row.value for row in body.weights], np.float64)
        self.offsets = np.array(body.offset, np.float64)
        self.path = model.path

    def __call__(self, inputs: Inputs) -> Vector:
        vector = vector_of(inputs, self.inputs)
        if vector.size != self.weights.shape[1]:
            raise RequantError(
                f"{self.path} has weights for {self.weights.shape[1]} numbers, but its inputs hold {vector.size}."
            )
        return np.asarray(self.weights @ vector + self.offsets)


def _probit(scores: Vector) -> Vector:
    """Return the cumulative distribution of the normal distribution."""
    return np.array([0.5 * math.erfc(-score / math.sqrt(2)) for score in scores])


@family("glmRegressor")
def regressor(model: Model) -> Predict:
    """Open a generalized linear regressor."""
    body = body_of(model)
    scores, (output,) = _Scores(model, body), outputs_of(model)
    links: dict[int, Callable[[Vector], Vector]] = {body.Logit: logistic, body.Probit: _probit}
    link = links.get(body.postEvaluationTransform, np.asarray)
    return lambda inputs: {output.name: declared_value(link(scores(inputs)), output)}


@family("glmClassifier")
def classifier(model: Model) -> Predict:
    """Open a generalized linear classifier.

    Raises:
        RequantError: if its weights do not fit its classes and their encoding.
    """
    body = body_of(model)
    labels, scores = require_labels(model, body), _Scores(model, body)
    binary, link = len(labels) == 2, logistic if body.postEvaluationTransform == body.Logit else _probit
    reference = body.classEncoding == body.ReferenceClass
    rows = len(labels) - 1 if binary or reference else len(labels)
    if len(scores.weights) != rows:
        raise RequantError(
            f"{model.path} has {len(scores.weights)} rows of weights; its {len(labels)} classes take {rows}."
        )
    if not binary and link is _probit:
        raise RequantError(f"{model.path} has the probit link function for {len(labels)} classes; it is for two only.")

    def predict(inputs: Inputs) -> Outputs:
        found = scores(inputs)
        if binary:
            second = link(found)[0]
            probabilities = np.array([1 - second, second])
        elif reference:
            probabilities = softmax(np.concatenate([[0.0], found]))
        else:
            shares = link(found)
            probabilities = shares / shares.sum()
        return class_outputs(model, labels, int(probabilities.argmax()), probabilities)

    return predict
