import numpy as np
import pytest
from scipy import special

from tests.building import numbers
from tests.runtime.reference import close
from tests.runtime.running import run_network

X = np.abs(numbers(2, 3, 4)) + 0.1
REDUCTIONS = {
    "l1": lambda x, **o: np.abs(x).sum(**o),
    "l2": lambda x, **o: np.sqrt((x**2).sum(**o)),
    "logsum": lambda x, **o: np.log(x.sum(**o)),
    "logsumexp": special.logsumexp,
    "max": np.max,
    "mean": np.mean,
    "min": np.min,
    "prod": np.prod,
    "sum": np.sum,
    "sumsquare": lambda x, **o: (x**2).sum(**o),
}
MODES = {
    "sum": np.sum, "avg": np.mean, "prod": np.prod, "logsum": lambda x, **o: np.log(x + 0.01).sum(**o),
    "sumsquare": lambda x, **o: (x**2).sum(**o), "L1": lambda x, **o: np.abs(x).sum(**o),
    "L2": lambda x, **o: np.sqrt((x**2).sum(**o)), "max": np.max, "min": np.min,
}  # fmt: skip
AXES = {"CHW": (-3, -2, -1), "HW": (-2, -1), "C": -3, "H": -2, "W": -1}


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("axes", [(1,), (0, -1), None])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reduction(name, axes, keep):
    found = run_network(
        lambda b: getattr(b, f"add_reduce_{name}")("l", "x", "y", axes=axes, keepdims=keep, reduce_all=axes is None),
        x=X,
    )[0]
    close(found, np.atleast_1d(REDUCTIONS[name](X, axis=axes, keepdims=keep)))


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("mode", MODES)
def test_reduction_of_pictures(mode, axis, exact):
    found = run_network(lambda b: b.add_reduce("l", "x", "y", axis, mode, 0.01), exact, x=X)[0]
    close(found.reshape(-1), MODES[mode](X, axis=AXES[axis]).reshape(-1))


@pytest.mark.parametrize("axis", ["C", "H", "W"])
def test_the_argument_of_the_maximum(axis):
    found = run_network(lambda b: b.add_reduce("l", "x", "y", axis, "argmax"), x=X)[0]
    np.testing.assert_array_equal(found, X.argmax(AXES[axis], keepdims=True))
