import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import get_new_symbol

from tests.building import numbers
from tests.runtime.reference import close
from tests.runtime.running import node_kinds, run_program

X = numbers(2, 3, 4, 5, scale=3) + 1


def normalized(x, axes, epsilon):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("axes", [(-1,), (2, 3), (1,), (1, 2), (0, 3), (1, 2, 3), (0, 1, 2, 3)])
def test_layer_norm(axes, scaled, opened):
    sizes = [X.shape[axis] for axis in axes]
    options = {"gamma": numbers(*sizes), "beta": numbers(*sizes, seed=1)} if scaled else {}
    shapes = [mb.TensorSpec(tuple(get_new_symbol() if i not in axes else n for i, n in enumerate(X.shape)))]
    found = run_program(
        lambda x: mb.layer_norm(x=x, axes=axes, epsilon=0.01, **options), X, shapes=shapes if opened else None
    )[0]
    expected = normalized(X, axes, 0.01)
    if scaled:
        spread = [n if i in {axis % 4 for axis in axes} else 1 for i, n in enumerate(X.shape)]
        expected = expected * options["gamma"].reshape(spread) + options["beta"].reshape(spread)
    close(found, expected)


def test_a_layer_norm_over_the_last_axes_is_one_node():
    gamma, beta = numbers(5), numbers(5)
    kinds = node_kinds(lambda x: mb.layer_norm(x=x, axes=[-1], gamma=gamma, beta=beta), X.shape)
    assert kinds == ["LayerNormalization"]


def test_layer_norm_over_an_open_axis():
    shapes = [mb.TensorSpec((2, 3, 4, get_new_symbol()))]
    close(run_program(lambda x: mb.layer_norm(x=x, axes=[3]), X, shapes=shapes)[0], normalized(X, (3,), 1e-5))


@pytest.mark.parametrize("shape", [(2, 3, 7), (2, 3, 4, 5)])
@pytest.mark.parametrize("scaled", [False, True])
def test_instance_norm(shape, scaled):
    x, axes = numbers(*shape), tuple(range(2, len(shape)))
    options = {"gamma": numbers(3), "beta": numbers(3, seed=1)} if scaled else {}
    c = (slice(None), *[np.newaxis] * len(axes))
    expected = normalized(x, axes, 0.01)
    if scaled:
        expected = expected * options["gamma"][c] + options["beta"][c]
    close(run_program(lambda x: mb.instance_norm(x=x, epsilon=0.01, **options), x)[0], expected)


@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 4, 5), (2, 2, 3, 4, 5)])
def test_l2_norm_is_over_the_last_three_axes(shape):
    x = numbers(*shape)
    length = np.sqrt((x**2).sum((-3, -2, -1), keepdims=True) + 0.1)
    close(run_program(lambda x: mb.l2_norm(x=x, epsilon=0.1), x)[0], x / length)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_local_response_norm(size):
    x = numbers(2, 6, 3, 4)
    squares = np.pad(x**2, ((0, 0), (size // 2, (size - 1) // 2), (0, 0), (0, 0)))
    mean = np.lib.stride_tricks.sliding_window_view(squares, size, 1).mean(-1)
    found = run_program(lambda x: mb.local_response_norm(x=x, size=size, alpha=0.5, beta=0.6, k=2.0), x)[0]
    close(found, x / (2 + 0.5 * mean) ** 0.6)


def test_batch_norm_of_five_axes():
    x, mean, variance = numbers(2, 3, 2, 3, 4), numbers(3), np.abs(numbers(3, seed=1))
    c = (slice(None), np.newaxis, np.newaxis, np.newaxis)
    found = run_program(lambda x: mb.batch_norm(x=x, mean=mean, variance=variance), x)[0]
    close(found, (x - mean[c]) / np.sqrt(variance[c] + 1e-5))
