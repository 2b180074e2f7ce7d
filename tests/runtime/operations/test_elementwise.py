import inspect

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import types
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from tests.building import numbers
from tests.runtime.reference import close
from tests.runtime.running import run_program

A, B = numbers(2, 3, 4), numbers(2, 3, 4, seed=1)
INTEGERS = st.lists(st.tuples(st.integers(-(2**31) + 1, 2**31 - 1), st.integers(-1000, 1000)), min_size=1, max_size=8)
BINARY = {
    "equal": np.equal,
    "floor_div": lambda x, y: np.floor(x / y),
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "mod": np.mod,
    "not_equal": np.not_equal,
    "real_div": np.divide,
}
UNARY = {
    "abs": np.abs,
    "atan": np.arctan,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "erf": special.erf,
    "exp": np.exp,
    "exp2": np.exp2,
    "floor": np.floor,
    "sign": np.sign,
    "sin": np.sin,
    "sinh": np.sinh,
    "square": np.square,
    "tan": np.tan,
}
BOUNDED = {"acos": np.arccos, "asin": np.arcsin, "atanh": np.arctanh}


def as_numbers(function):
    """Return a function whose result may be bools or integers as one whose result is numbers."""
    if len(inspect.signature(function).parameters) == 1:
        return lambda x: mb.cast(x=function(x), dtype="fp32")
    return lambda x, y: mb.cast(x=function(x, y), dtype="fp32")


def as_integers(function):
    return lambda x, y: mb.cast(x=function(mb.cast(x=x, dtype="int32"), mb.cast(x=y, dtype="int32")), dtype="fp32")


@pytest.mark.parametrize("name", BINARY)
def test_binary(name):
    x, y = A.copy(), B[:, :1]
    x[0, 1] = np.broadcast_to(y, x.shape)[0, 1]
    found = run_program(as_numbers(lambda x, y: getattr(mb, name)(x=x, y=y)), x, y)[0]
    close(found, BINARY[name](x, y).astype(np.float32), 1e-4)


@pytest.mark.parametrize("name", BINARY)
def test_binary_of_integers(name):
    x, y = np.float32([[7, -7, 7, -7, 6, -6]]), np.float32([[2, 2, -2, -2, 3, 6]])
    found = run_program(as_integers(lambda x, y: getattr(mb, name)(x=x, y=y)), x, y)[0]
    expected = BINARY[name](x, y) if name != "real_div" else np.trunc(x / y)
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=20, deadline=None)
@given(INTEGERS)
def test_quotients_and_remainders_of_any_integers(pairs):
    x, y = (np.array([pair], np.int32) for pair in zip(*pairs, strict=True))
    y[y == 0] = 1

    def function(x, y):
        return mb.floor_div(x=x, y=y), mb.mod(x=x, y=y)

    specifications = [mb.TensorSpec(x.shape, types.int32) for _ in range(2)]
    quotient, rest = run_program(function, x, y, shapes=specifications)
    np.testing.assert_array_equal(quotient, x // y)
    np.testing.assert_array_equal(rest, x % y)


def test_a_division_of_integers_by_zero_does_not_end_the_process():
    x, y = np.float32([[1, 2]]), np.float32([[0, 2]])
    for name in ("floor_div", "mod", "real_div"):
        found = run_program(as_integers(lambda x, y, name=name: getattr(mb, name)(x=x, y=y)), x, y)[0]
        assert found[0, 1] == (0 if name == "mod" else 1)


@pytest.mark.parametrize("kind", ["fp32", "int32"])
def test_power(kind):
    x, y = np.float32([[3, 2, 5]]), np.float32([[2, 10, 0]])
    function = as_integers if kind == "int32" else as_numbers
    np.testing.assert_allclose(run_program(function(lambda x, y: mb.pow(x=x, y=y)), x, y)[0], x**y)


@pytest.mark.parametrize("name", ["logical_and", "logical_or", "logical_xor"])
def test_logic(name):
    x, y = np.float32([[0, 0, 1, 1]]), np.float32([[0, 1, 0, 1]])

    def function(x, y):
        return getattr(mb, name)(x=mb.cast(x=x, dtype="bool"), y=mb.cast(x=y, dtype="bool"))

    np.testing.assert_array_equal(run_program(as_numbers(function), x, y)[0], getattr(np, name)(x, y))


def test_not():
    x = np.float32([[0, 2]])
    function = as_numbers(lambda x: mb.logical_not(x=mb.cast(x=x, dtype="bool")))
    np.testing.assert_array_equal(run_program(function, x)[0], [[1, 0]])


@pytest.mark.parametrize("name", UNARY)
def test_unary(name):
    close(run_program(lambda x: getattr(mb, name)(x=x), A)[0], UNARY[name](A))


@pytest.mark.parametrize("name", BOUNDED)
def test_unary_of_numbers_below_one(name):
    close(run_program(lambda x: getattr(mb, name)(x=x), np.tanh(A))[0], BOUNDED[name](np.tanh(A)))


@pytest.mark.parametrize("name", ["abs", "sign", "square", "exp2"])
def test_unary_of_integers(name):
    x = np.float32([[0, 1, 3, 7]]) if name == "exp2" else np.float32([[-5, -1, 0, 9]])
    function = as_numbers(lambda x: getattr(mb, name)(x=mb.cast(x=x, dtype="int32")))
    np.testing.assert_array_equal(run_program(function, x)[0], UNARY[name](x))


def test_halves_are_rounded_to_even_numbers():
    x = np.float32([[-1.5, -0.5, 0.5, 1.5, 2.5]])
    np.testing.assert_array_equal(run_program(lambda x: mb.round(x=x), x)[0], [[-2, 0, 0, 2, 2]])


@pytest.mark.parametrize("epsilon", [None, 0.5])
@pytest.mark.parametrize("name", ["inverse", "log", "rsqrt"])
def test_an_epsilon_is_added_first(name, epsilon):
    x, options = np.abs(A) + 0.1, {"epsilon": epsilon} if epsilon else {}
    added = x + (epsilon or {"inverse": 1e-4}.get(name, 0))
    expected = {"inverse": lambda: 1 / added, "log": lambda: np.log(added), "rsqrt": lambda: added**-0.5}[name]()
    close(run_program(lambda x: getattr(mb, name)(x=x, **options), x)[0], expected)


def test_a_threshold_of_numbers_and_of_integers():
    x = np.float32([[-3, 0, 5]])
    np.testing.assert_array_equal(run_program(lambda x: mb.threshold(x=x, alpha=0.5), x)[0], [[0.5, 0.5, 5]])
    function = as_numbers(lambda x: mb.threshold(x=mb.cast(x=x, dtype="int32"), alpha=2))
    np.testing.assert_array_equal(run_program(function, x)[0], [[2, 2, 5]])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
def test_a_cast_to_a_narrow_type_drops_fraction_and_high_bits(dtype):
    x = np.float32([[0, 1.9, -1.9, 127, 128, 255, 256, -129, 40000, 70000]])

    def function(x):
        return mb.cast(x=mb.cast(x=x, dtype=dtype), dtype="fp32")

    found = run_program(function, x, target=ct.target.iOS17)[0]
    np.testing.assert_array_equal(found, x.astype(np.int32).astype(dtype).astype(np.float32))
