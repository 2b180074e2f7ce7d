import numpy as np
import pytest
from scipy import special, stats

from tests.building import numbers
from tests.runtime.running import run_network

SHAPE = (30, 20, 10)
X, SIZES = np.zeros(SHAPE, np.float32), np.array(SHAPE, np.float32)
CDFS = {"normal": stats.norm(1, 2).cdf, "uniform": stats.uniform(-1, 3).cdf}
PARAMETERS = {"normal": {"mean": 1.0, "stddev": 2.0}, "uniform": {"minval": -1.0, "maxval": 2.0}, "bernoulli": {}}


def drawn(name, form):
    options = PARAMETERS[name] | ({"prob": 0.2} if name == "bernoulli" else {})

    def layers(b):
        add = getattr(b, f"add_random_{name}_{form}")
        if form == "static":
            add("random", "y", output_shape=SHAPE, **options)
        else:
            key = "input_name" if form == "like" else "input_names"
            add("random", **{key: "x" if form == "like" else ["x"]}, output_name="y", **options)

    return run_network(layers, x=SIZES if form == "dynamic" else X)[0]


@pytest.mark.parametrize("form", ["like", "static", "dynamic"])
@pytest.mark.parametrize("name", CDFS)
def test_numbers_follow_their_distribution(name, form):
    found = drawn(name, form)
    assert found.shape == SHAPE
    assert stats.kstest(found.reshape(-1), CDFS[name]).pvalue > 1e-3


@pytest.mark.parametrize("form", ["like", "static", "dynamic"])
def test_bernoulli(form):
    found = drawn("bernoulli", form)
    assert found.shape == SHAPE
    assert set(np.unique(found)) == {0.0, 1.0}
    assert abs(found.mean() - 0.2) < 0.03


@pytest.mark.parametrize("logits", [True, False])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_categorical(logits, temperature):
    scores = numbers(2, 5)
    given = scores if logits else special.softmax(scores, -1)

    def layers(b):
        b.add_categorical_distribution(
            "draw", "x", "y", num_samples=4000, is_logits=logits, temperature=temperature, eps=1e-10
        )

    (found,) = run_network(layers, x=given)
    shares = np.stack([(found == index).mean(-1) for index in range(5)], -1)
    np.testing.assert_allclose(shares, special.softmax(scores / temperature, -1), atol=0.04)
