import numpy as np
import pytest

from tests.building import numbers
from tests.runtime.reference import close
from tests.runtime.running import run_network


@pytest.mark.parametrize(("left", "right", "transposed"), [
    ((2, 3, 4), (4, 5), (False, False)),
    ((2, 4, 3), (2, 5, 4), (True, True)),
    ((4,), (2, 4, 5), (False, False)),
    ((2, 3, 4), (4,), (False, False)),
])  # fmt: skip
def test_a_product_of_two_inputs(left, right, transposed):
    x, z = numbers(*left), numbers(*right)
    found = run_network(
        lambda b: b.add_batched_mat_mul("l", ["x", "z"], "y", transpose_a=transposed[0], transpose_b=transposed[1]),
        x=x, z=z,
    )[0]  # fmt: skip
    a = x[np.newaxis] if x.ndim == 1 else np.swapaxes(x, -1, -2) if transposed[0] else x
    c = z[:, np.newaxis] if z.ndim == 1 else np.swapaxes(z, -1, -2) if transposed[1] else z
    close(found, a @ c)


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4)])
def test_a_product_with_a_constant_matrix(shape):
    x, weights, bias = numbers(*shape), numbers(4, 5), numbers(5)
    found = run_network(
        lambda b: b.add_batched_mat_mul(
            "l", ["x"], "y", weight_matrix_rows=4, weight_matrix_columns=5, W=weights, bias=bias
        ),
        x=x,
    )[0]
    close(found, x @ weights + bias)


def in_int8(x):
    """Return numbers after they went through int8 with one scale for all, without zero point."""
    scale = np.abs(x).max() / 127 or 1
    return np.round(x / scale) * scale


@pytest.mark.parametrize("x", [numbers(3, 6), np.zeros((3, 6), np.float32)])
def test_an_input_that_is_quantized_on_the_fly(x):
    weights = numbers(6, 4)
    adds = {
        "innerProduct": lambda b: b.add_inner_product("l", weights.T, None, 6, 4, False, "x", "y"),
        "batchedMatmul": lambda b: b.add_batched_mat_mul(
            "l", ["x"], "y", weight_matrix_rows=6, weight_matrix_columns=4, W=weights
        ),
    }
    for kind, add in adds.items():

        def layers(b, kind=kind, add=add):
            add(b)
            getattr(b.spec.neuralNetwork.layers[0], kind).int8DynamicQuantize = True

        close(run_network(layers, x=x)[0], in_int8(x) @ weights)


@pytest.mark.parametrize("bias", [False, True])
def test_embedding(bias):
    x, table, offset = np.float32([3, 0, 7]).reshape(3, 1, 1, 1), numbers(5, 9), numbers(5)
    found = run_network(lambda b: b.add_embedding("l", table, offset if bias else None, 9, 5, bias, "x", "y"), x=x)[0]
    close(found, (table.T[[3, 0, 7]] + offset * bias)[..., np.newaxis, np.newaxis])


def test_embedding_of_the_last_axis():
    x, table = np.float32([[[3], [0]], [[7], [8]]]), numbers(5, 9)
    found = run_network(lambda b: b.add_embedding_nd("l", "x", "y", 9, 5, table), x=x)[0]
    close(found, table.T[[[3, 0], [7, 8]]])
