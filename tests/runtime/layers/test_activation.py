import numpy as np
import pytest
from scipy import special

from tests.building import numbers
from tests.runtime.reference import close
from tests.runtime.running import run_network

X = numbers(2, 3, 4, scale=3)
GELU = {
    "EXACT": lambda x: x * special.ndtr(x),
    "TANH_APPROXIMATION": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "SIGMOID_APPROXIMATION": lambda x: x * special.expit(1.702 * x),
}


@pytest.mark.parametrize("mode", GELU)
def test_gelu(mode):
    close(run_network(lambda b: b.add_gelu("l", "x", "y", mode), x=X)[0], GELU[mode](X))


def test_clamped_relu():
    found = run_network(lambda b: b.add_clamped_relu("l", "x", "y", alpha=0.5, beta=1.2), x=X)[0]
    close(found, np.minimum(1.2, np.where(X >= 0, X, 0.5 * X)))


def test_a_softplus_with_factors_per_channel():
    alpha, beta = numbers(2), np.abs(numbers(2, seed=1))
    c = (slice(None), np.newaxis, np.newaxis)
    found = run_network(lambda b: b.add_activation("l", "PARAMETRICSOFTPLUS", "x", "y", [alpha, beta]), x=X)[0]
    close(found, alpha[c] * np.logaddexp(0, beta[c] * X))
