import math
from itertools import combinations

import numpy as np
import pytest
from scipy.optimize import minimize

from requant.errors import RequantError
from requant.runtime.classical.support_vector_machine import couple
from tests.building import numbers
from tests.runtime.classical.specs import classifier, opened, regressor

X = np.array([0.5, -1.25, 2.0])
KERNELS = {
    "linearKernel": ({}, lambda u, v: float(u @ v)),
    "rbfKernel": ({"gamma": 0.3}, lambda u, v: math.exp(-0.3 * float((u - v) @ (u - v)))),
    "polyKernel": ({"gamma": 0.3, "c": 0.5, "degree": 3}, lambda u, v: (0.3 * float(u @ v) + 0.5) ** 3),
    "sigmoidKernel": ({"gamma": 0.3, "c": 0.5}, lambda u, v: math.tanh(0.3 * float(u @ v) + 0.5)),
}


def add_kernel(body, kernel):
    message = getattr(body.kernel, kernel)
    message.SetInParent()
    for key, value in KERNELS[kernel][0].items():
        setattr(message, key, value)


def add_vectors(body, vectors, sparse):
    """Add support vectors; the sparse ones leave zeros out, and the last number of all."""
    if not sparse:
        body.denseSupportVectors.SetInParent()
        for vector in vectors:
            body.denseSupportVectors.vectors.add().values.extend(vector.tolist())
        return
    for vector in vectors:
        message = body.sparseSupportVectors.vectors.add()
        for index, value in enumerate(vector.tolist()):
            if value:
                message.nodes.add(index=index + 1, value=value)


def some_vectors(count, sparse):
    vectors = numbers(count, 3).astype(float)
    if sparse:
        vectors[::2, 0] = 0
        vectors[:, 2] = 0
    return vectors


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_regressor_adds_up_the_kernel_functions(kernel, sparse):
    spec, vectors, alpha = regressor(), some_vectors(5, sparse), numbers(5).astype(float)
    body = spec.supportVectorRegressor
    add_kernel(body, kernel)
    add_vectors(body, vectors, sparse)
    body.coefficients.alpha.extend(alpha.tolist())
    body.rho = 0.75
    expected = sum(a * KERNELS[kernel][1](v, X) for a, v in zip(alpha, vectors, strict=True)) - 0.75
    assert opened(spec).predict({"x": X}) == {"y": pytest.approx(expected, abs=1e-12)}


def svc(labels, kernel="rbfKernel", sparse=False, probabilities=False):
    """Return a classifier with as many support vectors of a class as its number plus 1."""
    spec = classifier("supportVectorClassifier", labels, probabilities=probabilities)
    body, classes = spec.supportVectorClassifier, len(labels)
    count, pairs = classes * (classes + 1) // 2, classes * (classes - 1) // 2
    add_kernel(body, kernel)
    add_vectors(body, some_vectors(count, sparse), sparse)
    body.numberOfSupportVectorsPerClass.extend(range(1, classes + 1))
    for row in numbers(classes - 1, count).tolist():
        body.coefficients.add().alpha.extend(row)
    body.rho.extend(numbers(pairs, scale=0.1).tolist())
    if probabilities:
        body.probA.extend((-1 - abs(numbers(pairs, seed=1))).tolist())
        body.probB.extend(numbers(pairs, seed=2, scale=0.3).tolist())
    return spec


def decisions(body, kernel, sparse):
    """Return LIBSVM's decision of each pair of classes, by its own walk through the coefficients."""
    sizes = list(body.numberOfSupportVectorsPerClass)
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    vectors = some_vectors(sum(sizes), sparse)
    values = [KERNELS[kernel][1](v, X) for v in vectors]
    found = {}
    for number, (i, j) in enumerate(combinations(range(len(sizes)), 2)):
        total = -body.rho[number]
        for k in range(sizes[i]):
            total += body.coefficients[j - 1].alpha[starts[i] + k] * values[starts[i] + k]
        for k in range(sizes[j]):
            total += body.coefficients[i].alpha[starts[j] + k] * values[starts[j] + k]
        found[i, j] = total
    return found


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("labels", [["no", "yes"], [4, 2, 9], list("abcde")])
def test_the_class_with_the_most_votes_is_predicted(labels, kernel, sparse):
    spec = svc(labels, kernel, sparse)
    votes = [0] * len(labels)
    for (i, j), decision in decisions(spec.supportVectorClassifier, kernel, sparse).items():
        votes[i if decision > 0 else j] += 1
    assert opened(spec).predict({"x": X}) == {"label": labels[votes.index(max(votes))]}


def pairwise(body):
    found = decisions(body, "rbfKernel", sparse=False)
    return {
        pair: 1 / (1 + math.exp(a * found[pair] + b)) for pair, a, b in zip(found, body.probA, body.probB, strict=True)
    }


def test_two_classes_have_the_probabilities_of_their_pair():
    spec = svc(["no", "yes"], probabilities=True)
    first = pairwise(spec.supportVectorClassifier)[0, 1]
    found = opened(spec).predict({"x": X})
    assert found["p"] == pytest.approx({"no": first, "yes": 1 - first}, abs=1e-12)
    assert found["label"] == ("no" if first > 0.5 else "yes")


def best_coupling(matrix):
    """Return the minimum of the paper's formula, by a general method of optimization."""

    def error(p):
        terms = (matrix[j, i] * p[i] - matrix[i, j] * p[j] for i in range(len(p)) for j in range(len(p)) if i != j)
        return sum(term**2 for term in terms)

    count = len(matrix)
    constraint = {"type": "eq", "fun": lambda p: p.sum() - 1}
    options = {"ftol": 1e-14, "maxiter": 500}
    result = minimize(
        error, np.full(count, 1 / count), bounds=[(0, 1)] * count, constraints=[constraint], options=options
    )
    return result.x


@pytest.mark.parametrize("classes", [3, 4, 7])
def test_pairwise_probabilities_are_coupled_as_the_paper_says(classes):
    matrix = np.zeros((classes, classes))
    for i, j in combinations(range(classes), 2):
        matrix[i, j] = np.random.default_rng([classes, i, j]).uniform(0.05, 0.95)
        matrix[j, i] = 1 - matrix[i, j]
    found = couple(matrix)
    assert found.sum() == pytest.approx(1)
    np.testing.assert_allclose(found, best_coupling(matrix), atol=0.005 / classes * 4)  # LIBSVM stops at 0.005


def test_pairwise_probabilities_that_agree_come_out_as_they_are():
    p = np.array([0.5, 0.3, 0.15, 0.05])
    np.testing.assert_allclose(couple(p[:, None] / (p[:, None] + p) - np.eye(4) / 2), p, atol=0.003)


def test_several_classes_have_coupled_probabilities():
    labels = list("abcd")
    spec = svc(labels, probabilities=True)
    matrix = np.zeros((4, 4))
    for (i, j), probability in pairwise(spec.supportVectorClassifier).items():
        matrix[i, j], matrix[j, i] = probability, 1 - probability
    found = opened(spec).predict({"x": X})
    np.testing.assert_allclose(list(found["p"].values()), best_coupling(matrix), atol=0.005)
    assert found["label"] == labels[int(np.argmax(list(found["p"].values())))]


def test_parts_that_do_not_fit_are_refused():
    spec = svc(["a", "b"], probabilities=True)
    del spec.supportVectorClassifier.probA[:]
    del spec.supportVectorClassifier.probB[:]
    with pytest.raises(RequantError, match="declares class probabilities, but has no probA and probB"):
        opened(spec)
    spec = svc(["a", "b"])
    spec.supportVectorClassifier.rho.append(1)
    with pytest.raises(RequantError, match="2 classes take 1 rho, probA and probB"):
        opened(spec)
    spec = svc(["a", "b", "c"])
    spec.supportVectorClassifier.numberOfSupportVectorsPerClass[0] = 2
    with pytest.raises(RequantError, match="its support vectors do not fit its 3 classes"):
        opened(spec)
    spec = svc(["a", "b"])
    spec.supportVectorClassifier.coefficients[0].alpha.append(1)
    with pytest.raises(RequantError, match="a row of coefficients is not of 3 support vectors"):
        opened(spec)
    spec = svc(["a", "b"])
    spec.supportVectorClassifier.ClearField("kernel")
    with pytest.raises(RequantError, match="does not say which kernel function it has"):
        opened(spec)
