import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import types
from scipy import special, stats

from requant.runtime.onnx_runner import OnnxRunner
from tests.building import numbers, program
from tests.runtime.running import run_program

MANY = np.array([40, 50, 10], np.int32)
X = np.zeros(1, np.float32)
DRAWS = {
    "uniform": lambda shape, **o: mb.random_uniform(shape=shape, low=-3.0, high=5.0, **o),
    "normal": lambda shape, **o: mb.random_normal(shape=shape, mean=2.0, stddev=0.5, **o),
    "bernoulli": lambda shape, **o: mb.random_bernoulli(shape=shape, prob=0.3, **o),
}
CDFS = {"uniform": stats.uniform(-3, 8).cdf, "normal": stats.norm(2, 0.5).cdf}


def drawn(draw, shape=MANY):
    """Return numbers of a constant shape and of a computed one."""
    yield run_program(lambda x: draw(shape), X)[0]
    specification = mb.TensorSpec(shape.shape, types.int32)
    yield run_program(lambda size: draw(size), shape, shapes=[specification])[0]  # noqa: PLW0108 - a named input


@pytest.mark.parametrize("name", CDFS)
def test_numbers_follow_their_distribution(name):
    for found in drawn(DRAWS[name]):
        assert found.shape == tuple(MANY)
        assert stats.kstest(found.reshape(-1), CDFS[name]).pvalue > 1e-3


def test_uniform_numbers_stay_in_their_range():
    for found in drawn(DRAWS["uniform"]):
        assert found.min() >= -3
        assert found.max() < 5


@pytest.mark.parametrize("prob", [0.0, 0.3, 1.0])
def test_bernoulli(prob):
    for found in drawn(lambda shape: mb.random_bernoulli(shape=shape, prob=prob)):
        assert set(np.unique(found)) <= {0.0, 1.0}
        assert abs(found.mean() - prob) < 0.02


@pytest.mark.parametrize("draw", ["uniform", "normal"])
def test_a_distribution_without_width_is_one_number(draw):
    draws = {
        "uniform": lambda shape: mb.random_uniform(shape=shape, low=2.5, high=2.5),
        "normal": lambda shape: mb.random_normal(shape=shape, mean=2.5, stddev=0.0),
    }
    for found in drawn(draws[draw]):
        np.testing.assert_array_equal(found, np.full(MANY, 2.5))


@pytest.mark.parametrize("mode", ["logits", "probs"])
def test_categorical(mode):
    logits = numbers(2, 3, 4)
    given = logits if mode == "logits" else special.softmax(logits, -1)
    (found,) = run_program(lambda x: mb.random_categorical(x=x, mode=mode, size=4000), given)
    assert found.shape == (2, 3, 4000)
    shares = np.stack([(found == index).mean(-1) for index in range(4)], -1)
    np.testing.assert_allclose(shares, special.softmax(logits, -1), atol=0.04)


def test_a_class_without_probability_is_never_drawn():
    given = np.array([[0, 0.5, 0, 0.5, 0]], np.float32)
    (found,) = run_program(lambda x: mb.random_categorical(x=x, mode="probs", size=2000), given)
    assert set(np.unique(found)) == {1.0, 3.0}


@pytest.mark.parametrize("name", DRAWS)
def test_a_model_that_is_loaded_again_draws_the_same(name):
    for options in ({"seed": 7}, {}):
        model = _model(name, options)
        runs = [OnnxRunner(model) for _ in range(2)]
        first, second = ([next(iter(run.predict({"x": X}).values())) for _ in range(2)] for run in runs)
        np.testing.assert_array_equal(first, second)
        assert not np.array_equal(first[0], first[1])


def _model(name, options):
    return program(lambda x: mb.add(x=mb.reduce_sum(x=x), y=DRAWS[name](MANY, **options)), (1,), plain=True)


def test_operations_without_a_seed_draw_differently():
    def function(x):
        return [mb.random_normal(shape=MANY, name=f"{i}") for i in range(2)]

    first, second = run_program(lambda x: tuple(function(x)), X)
    assert not np.array_equal(first, second)
