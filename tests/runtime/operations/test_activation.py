import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import get_new_symbol
from scipy import special

from tests.building import numbers
from tests.runtime.reference import close
from tests.runtime.running import run_program

X = numbers(2, 3, 4, 5, scale=3)
ALPHA, BETA = numbers(3), np.abs(numbers(3, seed=1))
C = (slice(None), np.newaxis, np.newaxis)
CASES = {
    "clamped_relu": (
        lambda x: mb.clamped_relu(x=x, alpha=-0.7, beta=1.5),
        lambda x: np.minimum(1.5, np.where(x >= 0, x, -0.7 * x)),
    ),
    "elu": (lambda x: mb.elu(x=x, alpha=0.6), lambda x: np.where(x > 0, x, 0.6 * np.expm1(x))),
    "gelu": (lambda x: mb.gelu(x=x), lambda x: x * special.ndtr(x)),
    "gelu tanh": (
        lambda x: mb.gelu(x=x, mode="TANH_APPROXIMATION"),
        lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    ),
    "gelu sigmoid": (lambda x: mb.gelu(x=x, mode="SIGMOID_APPROXIMATION"), lambda x: x * special.expit(1.702 * x)),
    "leaky_relu": (lambda x: mb.leaky_relu(x=x, alpha=0.3), lambda x: np.where(x >= 0, x, 0.3 * x)),
    "linear_activation": (lambda x: mb.linear_activation(x=x, alpha=2.0, beta=-1.0), lambda x: 2 * x - 1),
    "prelu": (lambda x: mb.prelu(x=x, alpha=ALPHA), lambda x: np.where(x >= 0, x, ALPHA[C] * x)),
    "relu6": (lambda x: mb.relu6(x=x), lambda x: np.clip(x, 0, 6)),
    "scaled_tanh": (lambda x: mb.scaled_tanh(x=x, alpha=1.7, beta=0.6), lambda x: 1.7 * np.tanh(0.6 * x)),
    "sigmoid_hard": (lambda x: mb.sigmoid_hard(x=x, alpha=0.2, beta=0.4), lambda x: np.clip(0.2 * x + 0.4, 0, 1)),
    "silu": (lambda x: mb.silu(x=x), lambda x: x * special.expit(x)),
    "softplus": (lambda x: mb.softplus(x=x), lambda x: np.logaddexp(0, x)),
    "softplus_parametric": (
        lambda x: mb.softplus_parametric(x=x, alpha=ALPHA, beta=BETA),
        lambda x: ALPHA[C] * np.logaddexp(0, BETA[C] * x),
    ),
    "softsign": (lambda x: mb.softsign(x=x), lambda x: x / (1 + np.abs(x))),
    "softmax": (lambda x: mb.softmax(x=x, axis=-3), lambda x: special.softmax(x, axis=1)),
}


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_activation(name, opened):
    function, expected = CASES[name]
    shapes = [mb.TensorSpec((get_new_symbol(), 3, get_new_symbol(), 5))] if opened else None
    close(run_program(function, X, shapes=shapes)[0], expected(X.astype(np.float64)))


def test_a_threshold_itself_is_kept():
    x = np.float32([[-1, 0.5, 0.49, 2]])
    found = run_program(lambda x: mb.thresholded_relu(x=x, alpha=0.5), x)[0]
    np.testing.assert_array_equal(found, [[0, 0.5, 0, 2]])


def test_softplus_does_not_overflow():
    x = np.float32([[-200, 0, 200]])
    close(run_program(lambda x: mb.softplus(x=x), x)[0], np.logaddexp(0, x))


def test_a_slope_for_all_of_three_axes():
    x, alpha = numbers(2, 3, 7), np.full(3, 0.25, np.float32)
    close(run_program(lambda x: mb.prelu(x=x, alpha=alpha), x)[0], np.where(x >= 0, x, 0.25 * x))


@pytest.mark.parametrize(("threshold", "slope"), [(-3.0, 1 / 6), (-2.0, 1 / 6), (-3.0, 0.2)])
def test_what_is_written_for_hard_swish_and_what_is_not(threshold, slope):
    x = np.linspace(-5, 5, 41, dtype=np.float32)  # -3 and 3 among them

    def layers(x):
        kept = mb.thresholded_relu(x=x, alpha=threshold)
        return mb.mul(x=kept, y=mb.sigmoid_hard(x=kept, alpha=slope, beta=0.5))

    kept = np.where(x >= threshold, x, 0)
    close(run_program(layers, x)[0], kept * np.clip(slope * kept + 0.5, 0, 1))
