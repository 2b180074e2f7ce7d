import numpy as np
import pytest
from scipy import special

from tests.building import numbers
from tests.runtime.reference import close
from tests.runtime.running import run_network

X = numbers(2, 3, 4, 5, scale=2) + 1


def normalized(x, axes, epsilon):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)


def test_batch_normalization_with_the_mean_of_the_batch():
    gamma, beta = numbers(3), numbers(3, seed=1)

    def layers(b):
        b.add_batchnorm("l", 3, gamma, beta, np.zeros(3), np.ones(3), "x", "y", epsilon=0.01)
        b.spec.neuralNetwork.layers[0].batchnorm.computeMeanVar = True

    found = run_network(layers, x=X)[0]
    c = (slice(None), np.newaxis, np.newaxis)
    close(found, normalized(X, (0, 2, 3), 0.01) * gamma[c] + beta[c])


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("variance", [False, True])
def test_mean_variance_normalization(variance, across):
    axes = (1, 2, 3) if across else (2, 3)
    found = run_network(lambda b: b.add_mvn("l", "x", "y", across, variance, 0.01), x=X)[0]
    close(found, normalized(X, axes, 0.01) if variance else X - X.mean(axes, keepdims=True))


def test_l2_normalization():
    found = run_network(lambda b: b.add_l2_normalize("l", "x", "y", 0.1), x=X)[0]
    close(found, X / np.sqrt((X**2).sum((1, 2, 3), keepdims=True) + 0.1))


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_layer_normalization(axes):
    shape = X.shape[-axes:]
    gamma, beta = numbers(*shape), numbers(*shape, seed=1)
    found = run_network(lambda b: b.add_layer_normalization("l", "x", "y", shape, gamma, beta, 0.01), x=X)[0]
    close(found, normalized(X, tuple(range(-axes, 0)), 0.01) * gamma + beta)


@pytest.mark.parametrize("size", [2, 3])
def test_local_response_normalization(size):
    squares = np.pad(X**2, ((0, 0), (size // 2, (size - 1) // 2), (0, 0), (0, 0)))
    mean = np.lib.stride_tricks.sliding_window_view(squares, size, 1).mean(-1)
    found = run_network(lambda b: b.add_lrn("l", "x", "y", 0.5, 0.75, size, k=2.0), x=X)[0]
    close(found, X / (2 + 0.5 * mean) ** 0.75)


@pytest.mark.parametrize("axis", [0, 2, -1])
def test_softmax_along_an_axis(axis):
    close(run_network(lambda b: b.add_softmax_nd("l", "x", "y", axis), x=X)[0], special.softmax(X, axis))
