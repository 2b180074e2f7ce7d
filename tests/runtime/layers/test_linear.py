import numpy as np
import pytest

from requant.errors import RequantError
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


def test_int8_on_the_fly_is_refused_by_name():
    def layers(b):
        b.add_batched_mat_mul("l", ["x"], "y", weight_matrix_rows=4, weight_matrix_columns=5, W=numbers(4, 5))
        b.spec.neuralNetwork.layers[0].batchedMatmul.int8DynamicQuantize = True

    with pytest.raises(RequantError, match="int8 on the fly, whose scale the format does not define"):
        run_network(layers, x=numbers(3, 4))


@pytest.mark.parametrize("bias", [False, True])
def test_embedding(bias):
    x, table, offset = np.float32([3, 0, 7]).reshape(3, 1, 1, 1), numbers(5, 9), numbers(5)
    found = run_network(lambda b: b.add_embedding("l", table, offset if bias else None, 9, 5, bias, "x", "y"), x=x)[0]
    close(found, (table.T[[3, 0, 7]] + offset * bias)[..., np.newaxis, np.newaxis])


def test_embedding_of_the_last_axis():
    x, table = np.float32([[[3], [0]], [[7], [8]]]), numbers(5, 9)
    found = run_network(lambda b: b.add_embedding_nd("l", "x", "y", 9, 5, table), x=x)[0]
    close(found, table.T[[[3, 0], [7, 8]]])
