import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import get_new_symbol
from scipy import special

from tests.building import numbers
from tests.runtime.reference import close
from tests.runtime.running import run_program


@pytest.mark.parametrize(("left", "right"), [((10, 4, 3), (5, 10, 3, 2)), ((4,), (10, 4, 3)), ((7, 4), (4, 3))])
def test_matmul_broadcasts(left, right):
    x, y = numbers(*left), numbers(*right)
    close(run_program(lambda x, y: mb.matmul(x=x, y=y), x, y)[0], x @ y)


def test_matmul_of_integers():
    x, y = np.float32([[1, 2], [3, 4]]), np.float32([[5, -6], [7, 8]])

    def function(x, y):
        return mb.cast(x=mb.matmul(x=mb.cast(x=x, dtype="int32"), y=mb.cast(x=y, dtype="int32")), dtype="fp32")

    np.testing.assert_array_equal(run_program(function, x, y)[0], x @ y)


def test_a_product_has_the_type_of_what_is_computed():
    x, whole = np.float32([[1.25, 2], [3, 4]]), np.int32([[5, -6], [7, 8]])

    def function(x):
        return mb.matmul(x=x, y=whole), mb.linear(x=x, weight=whole)

    found = run_program(function, x, target=ct.target.iOS17)
    np.testing.assert_array_equal(found[0], x @ whole)
    np.testing.assert_array_equal(found[1], x @ whole.T)


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize(
    ("equation", "left", "right"),
    [
        ("nchw,nwhu->nchu", (2, 3, 4, 5), (2, 5, 4, 6)),
        ("abcd,adce->abce", (1, 3, 4, 5), (2, 5, 1, 6)),
        ("chw,whr->chr", (3, 4, 5), (5, 4, 6)),
        ("chw,whr->chr", (3, 1, 5), (5, 4, 6)),
    ],
)
def test_einsum(equation, left, right, opened):
    x, y = numbers(*left), numbers(*right)
    shapes = [mb.TensorSpec((*left[:-1], get_new_symbol())), mb.TensorSpec(right)] if opened else None
    found = run_program(lambda x, y: mb.einsum(values=(x, y), equation=equation), x, y, shapes=shapes)[0]
    close(found, np.einsum(equation, *np.broadcast_arrays(x, x)[:1], y) if 1 not in (*left, *right) else spread(x, y))


def spread(x, y):
    """Return the product over the last axis and the third from the end, which broadcasts."""
    return np.swapaxes(np.swapaxes(x, -3, -2) @ np.swapaxes(y, -3, -2), -3, -2)


@pytest.mark.parametrize("mask", [None, "bools", "numbers"])
@pytest.mark.parametrize("opened", [False, True])
def test_attention(mask, opened):
    query, key, value = numbers(2, 3, 4, 8), numbers(2, 3, 6, 8, seed=1), numbers(2, 3, 6, 5)
    held = np.tri(4, 6, 1, dtype=np.float32)
    scores = query @ np.swapaxes(key, -1, -2) / np.sqrt(8)
    options = {}
    if mask == "bools":
        options, scores = {"attn_mask": held.astype(bool)}, np.where(held, scores, -np.inf)
    if mask == "numbers":
        options, scores = {"attn_mask": held}, scores + held
    symbols = (get_new_symbol(), get_new_symbol())
    shapes = [mb.TensorSpec((2, 3, n if mask else s, e)) for n, s, e in
              ((4, symbols[0], 8), (6, symbols[1], 8), (6, symbols[1], 5))]  # fmt: skip
    found = run_program(
        lambda q, k, v: mb.scaled_dot_product_attention(query=q, key=k, value=v, **options),
        query, key, value, shapes=shapes if opened else None, target=ct.target.iOS18,
    )[0]  # fmt: skip
    close(found, special.softmax(scores, axis=-1) @ value)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("axis", [None, 1, -1])
@pytest.mark.parametrize("shifted", [False, True])
def test_quantize_and_dequantize(dtype, axis, shifted):
    x = numbers(2, 3, 4, scale=40)
    size = x.shape[axis] if axis is not None else None
    scale = np.float32(0.25) if axis is None else np.linspace(0.25, 1, size, dtype=np.float32)
    zero = np.array(3, dtype) if axis is None else np.arange(size).astype(dtype)
    options = ({} if axis is None else {"axis": axis}) | ({"zero_point": zero} if shifted else {})

    def function(x):
        codes = mb.quantize(input=x, scale=scale, output_dtype=dtype, **options)
        return mb.cast(x=codes, dtype="fp32"), mb.dequantize(input=codes, scale=scale, **options)

    codes, back = run_program(function, x, target=ct.target.iOS17)
    spread = [1] * 3 if axis is None else [-1 if i == axis % 3 else 1 for i in range(3)]
    step, origin = np.reshape(scale, spread), np.reshape(zero, spread).astype(np.float32) * shifted
    expected = np.clip(np.round(x / step) + origin, *((-128, 127) if dtype == "int8" else (0, 255)))
    np.testing.assert_array_equal(codes, expected)
    close(back, step * (expected - origin))


def test_a_half_is_quantized_to_an_even_number():
    x = np.float32([[0.25, 0.75, 1.25, -0.25]])

    def function(x):
        return mb.cast(x=mb.quantize(input=x, scale=np.float32(0.5), output_dtype="int8"), dtype="fp32")

    np.testing.assert_array_equal(run_program(function, x, target=ct.target.iOS17)[0], [[0, 2, 2, 0]])
