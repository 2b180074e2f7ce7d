import numpy as np
import pytest
from scipy import special

from tests.building import numbers
from tests.runtime.reference import close
from tests.runtime.running import run_network

A, B = numbers(2, 3, 4), numbers(2, 3, 4, seed=1)
BELOW, ABOVE = np.tanh(A), np.abs(A) + 1
BROADCASTABLE = {
    "add": np.add, "divide": np.divide, "floor_div": lambda x, y: np.floor(x / y), "max": np.maximum, "min": np.minimum,
    "mod": np.mod, "multiply": np.multiply, "pow": np.power, "subtract": np.subtract,
}  # fmt: skip
UNARY = {
    "acos": (BELOW, np.arccos), "acosh": (ABOVE, np.arccosh), "asin": (BELOW, np.arcsin), "asinh": (A, np.arcsinh),
    "atan": (A, np.arctan), "atanh": (BELOW, np.arctanh), "ceil": (A, np.ceil), "cos": (A, np.cos),
    "cosh": (A, np.cosh), "erf": (A, special.erf), "exp2": (A, np.exp2), "floor": (A, np.floor),
    "round": (4 * A, np.round), "sign": (A, np.sign), "sin": (A, np.sin), "sinh": (A, np.sinh), "tan": (A, np.tan),
    "tanh": (A, np.tanh),
}  # fmt: skip
FUNCTIONS = {
    "sqrt": np.sqrt, "rsqrt": lambda x: (x + 0.1) ** -0.5, "inverse": lambda x: 1 / (x + 0.1),
    "power": lambda x: x**1.5, "exp": np.exp, "log": lambda x: np.log(x + 0.1), "abs": np.abs,
    "threshold": lambda x: np.maximum(x, 1.5),
}  # fmt: skip


@pytest.mark.parametrize("name", BROADCASTABLE)
def test_broadcastable(name):
    def layers(b):
        getattr(b, f"add_{name}_broadcastable")(name="l", input_names=["x", "z"], output_name="y")

    x, z = ABOVE, np.abs(B[0, :1]) + 0.5
    close(run_network(layers, x=x, z=z)[0], BROADCASTABLE[name](x, z))


@pytest.mark.parametrize("name", UNARY)
def test_unary_layer(name):
    x, function = UNARY[name]
    close(run_network(lambda b: getattr(b, f"add_{name}")("l", "x", "y"), x=x)[0], function(x))


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_unary_function(name, exact):
    alpha = 1.5
    found = run_network(
        lambda b: b.add_unary("l", "x", "y", name, alpha=alpha, shift=0.5, scale=2.0, epsilon=0.1), exact, x=ABOVE
    )[0]
    close(found, FUNCTIONS[name](2 * ABOVE + 0.5))


COMPARISONS = {
    "equal": ("add_equal", {}, np.equal),
    "not equal": ("add_not_equal", {}, np.not_equal),
    "less": ("add_less_than", {}, np.less),
    "less equal": ("add_less_than", {"use_less_than_equal": True}, np.less_equal),
    "greater": ("add_greater_than", {}, np.greater),
    "greater equal": ("add_greater_than", {"use_greater_than_equal": True}, np.greater_equal),
}


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparison(name):
    add, options, function = COMPARISONS[name]
    x, z = np.round(2 * A), np.round(2 * B)
    found = run_network(lambda b: getattr(b, add)("l", ["x", "z"], "y", **options), x=x, z=z)[0]
    np.testing.assert_array_equal(found, function(x, z).astype(np.float32))
    found = run_network(lambda b: getattr(b, add)("l", ["x"], "y", alpha=1.0, **options), x=x)[0]
    np.testing.assert_array_equal(found, function(x, 1).astype(np.float32))


@pytest.mark.parametrize("mode", ["AND", "OR", "XOR", "NOT"])
def test_logic(mode):
    x, z = np.float32([0, 0, 2, -1]), np.float32([0, 1, 0, 3])
    inputs = {"x": x} if mode == "NOT" else {"x": x, "z": z}
    found = run_network(lambda b: b.add_logical("l", list(inputs), "y", mode=mode), **inputs)[0]
    np.testing.assert_array_equal(found, getattr(np, f"logical_{mode.lower()}")(*inputs.values()))


@pytest.mark.parametrize("mode", ["ADD", "MULTIPLY", "AVE", "MAX", "MIN"])
def test_several_tensors(mode):
    x, z, w = numbers(3, 4, 5), numbers(3, 4, 5, seed=1), numbers(3, 1, 1)
    values = [x, z, np.broadcast_to(w, x.shape)]
    expected = {
        "ADD": np.sum, "MULTIPLY": np.prod, "AVE": np.mean, "MAX": np.max, "MIN": np.min
    }[mode](values, axis=0)  # fmt: skip
    found = run_network(lambda b: b.add_elementwise("l", ["x", "z", "w"], "y", mode), False, x=x, z=z, w=w)[0]
    close(found, expected)


@pytest.mark.parametrize("cosine", [False, True])
def test_dot(cosine):
    x, z = numbers(5, 1, 1), numbers(5, 1, 1, seed=1)
    mode = "COS" if cosine else "DOT"
    expected = (x * z).sum()
    expected /= np.linalg.norm(x) * np.linalg.norm(z) if cosine else 1
    close(
        run_network(lambda b: b.add_elementwise("l", ["x", "z"], "y", mode), False, x=x, z=z)[0].reshape(()), expected
    )


def test_clip():
    close(run_network(lambda b: b.add_clip("l", "x", "y", -0.5, 0.25), x=A)[0], np.clip(A, -0.5, 0.25))
