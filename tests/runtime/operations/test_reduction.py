import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import get_new_symbol
from scipy import special

from tests.building import numbers
from tests.runtime.reference import close
from tests.runtime.running import run_program

X = np.abs(numbers(2, 3, 4)) + 0.1
REDUCTIONS = {
    "reduce_l1_norm": lambda x, **o: np.abs(x).sum(**o),
    "reduce_l2_norm": lambda x, **o: np.sqrt((x**2).sum(**o)),
    "reduce_log_sum": lambda x, **o: np.log(x.sum(**o)),
    "reduce_log_sum_exp": special.logsumexp,
    "reduce_max": np.max,
    "reduce_mean": np.mean,
    "reduce_min": np.min,
    "reduce_prod": np.prod,
    "reduce_sum": np.sum,
    "reduce_sum_square": lambda x, **o: (x**2).sum(**o),
}


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("axes", [None, (1,), (-1, 0)])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reduction(name, axes, keep, opened):
    options = {"keep_dims": keep} | ({"axes": axes} if axes else {})
    shapes = [mb.TensorSpec((get_new_symbol(), 3, get_new_symbol()))] if opened else None
    found = run_program(lambda x: getattr(mb, name)(x=x, **options), X, shapes=shapes)[0]
    expected = REDUCTIONS[name](X, axis=axes, keepdims=keep)
    close(np.reshape(found, np.shape(expected)), expected)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_of_integers_are_integers(name):
    x = np.float32([[3, 1, 4], [1, 5, 2]])
    signs = 1 if "log" in name else -1

    def function(x):
        return mb.cast(x=getattr(mb, name)(x=mb.cast(x=x, dtype="int32"), axes=[1]), dtype="fp32")

    np.testing.assert_array_equal(run_program(function, signs * x)[0], np.trunc(REDUCTIONS[name](signs * x, axis=1)))


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_arguments(name, keep, axis):
    found = run_program(lambda x: getattr(mb, f"reduce_{name}")(x=x, axis=axis, keep_dims=keep), X)[0]
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, getattr(np, name)(X, axis=axis, keepdims=keep))


def test_arguments_of_a_narrow_type():
    def function(x):
        return mb.cast(x=mb.reduce_argmax(x=x, axis=1, output_dtype="uint16"), dtype="fp32")

    np.testing.assert_array_equal(run_program(function, X, target=ct.target.iOS17)[0], X.argmax(1))
