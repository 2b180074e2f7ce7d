"""Support vector machines (`SVM.proto`), in double precision, computed as LIBSVM does, whose terms the format has.

Sources: Chang and Lin, "LIBSVM: A Library for Support Vector Machines" (decision values, votes, probabilities); Wu, Lin
and Weng, "Probability Estimates for Multi-class Classification by Pairwise Coupling" (2004), their second method.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from requant.coreml.description import inputs_of, outputs_of, predicted_names
from requant.coreml.model import Model
from requant.errors import RequantError
from requant.runtime.classical.classes import Labels, class_outputs, logistic, require_labels
from requant.runtime.classical.registry import Predict, body_of, family
from requant.runtime.classical.values import declared_value, require_numeric, vector_of
from requant.runtime.features import Inputs, Outputs

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
LEAST_PROBABILITY = 1e-7
MOST_ROUNDS = 100


class _Kernel:
    """The kernel function of the inputs with each support vector."""

    def __init__(self, model: Model, body: Any) -> None:
        self.inputs = inputs_of(model)
        require_numeric(model, self.inputs)
        self.name = body.kernel.WhichOneof("kernel") or ""
        if not self.name:
            raise RequantError(f"{model.path} does not say which kernel function it has.")
        self.parameters = getattr(body.kernel, self.name)
        kind = body.WhichOneof("supportVectors")
        self.sparse = kind == "sparseSupportVectors"
        vectors = getattr(body, kind).vectors if kind else []
        self.vectors = _sparse(vectors) if self.sparse else _dense(model, vectors)

    def __call__(self, inputs: Inputs) -> Vector:
        x, vectors = vector_of(inputs, self.inputs), self.vectors
        width = max(x.size, vectors.shape[1])
        if self.sparse:  # what a sparse vector does not mention is zero
            x, vectors = (np.pad(a, [*[(0, 0)] * (a.ndim - 1), (0, width - a.shape[-1])]) for a in (x, vectors))
        elif len(vectors) and x.size != vectors.shape[1]:
            raise RequantError(f"the support vectors have {vectors.shape[1]} numbers, but the inputs hold {x.size}.")
        if self.name == "rbfKernel":
            return np.asarray(np.exp(-self.parameters.gamma * np.square(vectors - x).sum(axis=1)))
        products = vectors @ x
        if self.name == "linearKernel":
            return np.asarray(products)
        shifted = self.parameters.gamma * products + self.parameters.c
        return np.asarray(shifted**self.parameters.degree if self.name == "polyKernel" else np.tanh(shifted))

    @property
    def count(self) -> int:
        """How many support vectors there are."""
        return len(self.vectors)


def _dense(model: Model, vectors: Any) -> Matrix:
    if len({len(vector.values) for vector in vectors}) > 1:
        raise RequantError(f"{model.path} is damaged: its support vectors are not of one size.")
    return np.array([vector.values for vector in vectors], np.float64).reshape(len(vectors), -1)


def _sparse(vectors: Any) -> Matrix:
    """Return sparse vectors, whose indices count from 1, as the rows of a matrix."""
    width = max((node.index for vector in vectors for node in vector.nodes), default=0)
    dense = np.zeros((len(vectors), width))
    for row, vector in enumerate(vectors):
        for node in vector.nodes:
            dense[row, node.index - 1] = node.value
    return dense


@family("supportVectorRegressor")
def regressor(model: Model) -> Predict:
    """Open a support vector regressor: `sum_i alpha_i K(x_i, x) - rho`.

    Raises:
        RequantError: if it has not one coefficient for each support vector.
    """
    body, (output,) = body_of(model), outputs_of(model)
    kernel, coefficients = _Kernel(model, body), np.array(body.coefficients.alpha, np.float64)
    if len(coefficients) != kernel.count:
        raise RequantError(f"{model.path} has {len(coefficients)} coefficients for {kernel.count} support vectors.")
    return lambda inputs: {output.name: declared_value(coefficients @ kernel(inputs) - body.rho, output)}


@family("supportVectorClassifier")
def classifier(model: Model) -> Predict:
    """Open a support vector classifier.

    Where the model has probabilities, the most probable class is predicted, as by LIBSVM's `svm_predict_probability`;
    elsewhere the class with the most votes of the pairwise decisions.

    Raises:
        RequantError: if the sizes of its parts do not fit, or it declares probabilities that it can't tell.
    """
    body = body_of(model)
    labels, kernel = require_labels(model, body), _Kernel(model, body)
    coefficients = _pairwise_coefficients(model, body, labels, kernel.count)
    rho, a, b = (np.array(field, np.float64) for field in (body.rho, body.probA, body.probB))
    pairs = len(coefficients)
    if len(rho) != pairs or len(a) != len(b) or len(a) not in (0, pairs):
        raise RequantError(f"{model.path} is damaged: {len(labels)} classes take {pairs} rho, probA and probB.")
    if predicted_names(model)[1] and not len(a):
        raise RequantError(f"{model.path} declares class probabilities, but has no probA and probB to tell them.")

    def predict(inputs: Inputs) -> Outputs:
        decisions = coefficients @ kernel(inputs) - rho
        if not len(a):
            return class_outputs(model, labels, _most_votes(decisions, len(labels)), None)
        firsts = np.clip(logistic(-(a * decisions + b)), LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
        probabilities = np.array([firsts[0], 1 - firsts[0]])
        if len(labels) > 2:
            probabilities = couple(_pairwise_matrix(firsts, len(labels)))
        return class_outputs(model, labels, int(probabilities.argmax()), probabilities)

    return predict


def _pairwise_coefficients(model: Model, body: Any, labels: Labels, count: int) -> Matrix:
    """Return the coefficients of each pair of classes, a row per pair and a column per support vector.

    The format keeps, like LIBSVM, one row less than there are classes: a support vector of class i has its coefficient
    against class j in row j - 1 for i < j, and in row j for i > j.
    """
    sizes = list(body.numberOfSupportVectorsPerClass)
    rows = [list(row.alpha) for row in body.coefficients]
    if len(sizes) != len(labels) or sum(sizes) != count or len(rows) != len(labels) - 1:
        raise RequantError(f"{model.path} is damaged: its support vectors do not fit its {len(labels)} classes.")
    if any(len(row) != count for row in rows):
        raise RequantError(f"{model.path} is damaged: a row of coefficients is not of {count} support vectors.")
    stored = np.array(rows, np.float64)
    owners = np.repeat(np.arange(len(sizes)), sizes)
    return np.array(
        [
            np.where(owners == i, stored[j - 1], 0) + np.where(owners == j, stored[i], 0)
            for i, j in combinations(range(len(labels)), 2)
        ]
    )


def _most_votes(decisions: Vector, classes: int) -> int:
    votes = np.zeros(classes, np.int64)
    for decision, (first, second) in zip(decisions, combinations(range(classes), 2), strict=True):
        votes[first if decision > 0 else second] += 1
    return int(votes.argmax())


def _pairwise_matrix(firsts: Vector, classes: int) -> Matrix:
    """Return `r[i, j]`, the probability of class i if it is i or j."""
    matrix = np.zeros((classes, classes))
    for probability, (i, j) in zip(firsts, combinations(range(classes), 2), strict=True):
        matrix[i, j], matrix[j, i] = probability, 1 - probability
    return matrix


def couple(pairwise: Matrix) -> Vector:
    """Return the probabilities of all classes that fit their pairwise probabilities best.

    They minimize `sum_i sum_{j != i} (r_ji p_i - r_ij p_j)^2` with a sum of 1 (Wu, Lin and Weng, 2004, section 4),
    by the iteration of the paper with LIBSVM's bound and number of rounds.

    Args:
        pairwise: (classes, classes), the probability of the row's class against the column's; zeros in the diagonal.
    """
    classes = len(pairwise)
    quadratic = -pairwise.T * pairwise
    np.fill_diagonal(quadratic, np.square(pairwise).sum(axis=0))
    p = np.full(classes, 1 / classes)
    for _ in range(max(MOST_ROUNDS, classes)):
        gradient = quadratic @ p
        value = p @ gradient
        if np.abs(gradient - value).max() < 0.005 / classes:
            break
        for i in range(classes):
            step = (value - gradient[i]) / quadratic[i, i]
            p[i] += step
            value = (value + step * (step * quadratic[i, i] + 2 * gradient[i])) / (1 + step) ** 2
            gradient = (gradient + step * quadratic[i]) / (1 + step)
            p /= 1 + step
    return p
