import numpy as np
import pytest

from requant.errors import RequantError
from tests.building import numbers
from tests.runtime.reference import close
from tests.runtime.running import add_layer, run_network

A = numbers(2, 5, 7)
OPENED = pytest.mark.parametrize("opened", [(), ("x",)], ids=["known", "open"])


@OPENED
@pytest.mark.parametrize(("lower", "upper"), [(1, 2), (-1, 0), (0, -1), (-1, -1), (2, 0)])
def test_band_of_matrices(lower, upper, opened):
    rows, columns = np.arange(5)[:, None], np.arange(7)
    inside = ((lower < 0) | (rows - columns <= lower)) & ((upper < 0) | (columns - rows <= upper))
    layers = add_layer("matrix_band_part", num_lower=lower, num_upper=upper)
    close(run_network(layers, opened=opened, x=A)[0], A * inside)


@OPENED
@pytest.mark.parametrize("k", [0, 2, -1])
def test_triangles_of_matrices(k, opened):
    close(run_network(add_layer("lower_triangular", k=k), opened=opened, x=A)[0], np.tril(A, k))
    close(run_network(add_layer("upper_triangular", k=k), opened=opened, x=A)[0], np.triu(A, k))


def test_a_vector_has_no_triangle():
    with pytest.raises(RequantError, match=r"type lowerTriangular .* needs matrices, but gets an input of 1 axis"):
        run_network(add_layer("lower_triangular"), x=A[0, 0])


@OPENED
def test_places_that_are_not_zero(opened):
    x = np.float32([[1, 0, 2], [0, -3, 0]])
    close(run_network(add_layer("where_nonzero"), opened=opened, x=x)[0], np.argwhere(x))


def test_choice():
    condition, a, b = np.float32([[1], [0], [-2]]), numbers(4), numbers(2, 3, 4)
    found = run_network(add_layer("where_broadcastable", "a", "b"), x=condition, a=a, b=b)[0]
    close(found, np.where(condition != 0, a, b))
