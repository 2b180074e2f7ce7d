import numpy as np
import pytest

from tests.building import numbers
from tests.runtime.reference import close
from tests.runtime.running import add_layer, run_network

A = numbers(4, 3, 5)
CHANGES = {
    "UPDATE": lambda a, b: b, "ADD": np.add, "SUB": np.subtract, "MUL": np.multiply, "DIV": np.divide,
    "MAX": np.maximum, "MIN": np.minimum,
}  # fmt: skip


@pytest.mark.parametrize("opened", [(), ("x", "i")], ids=["known", "open"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gathering(axis, opened):
    indices = np.float32([[0, 2], [-1, 1], [1, 1]])
    found = run_network(add_layer("gather", "i", axis=axis), opened=opened, x=A, i=indices)[0]
    close(found, np.take(A, indices.astype(int), axis))


@pytest.mark.parametrize("axis", [0, -2])
def test_gathering_along_an_axis(axis):
    indices = np.random.default_rng(0).integers(-3, 3, (4, 3, 5))
    found = run_network(add_layer("gather_along_axis", "i", axis=axis), x=A, i=indices.astype(np.float32))[0]
    close(found, np.take_along_axis(A, indices, axis))


def test_gathering_at_several_axes():
    indices = np.float32([[0, 2], [3, 1]])
    close(run_network(add_layer("gather_nd", "i"), x=A, i=indices)[0], A[[0, 3], [2, 1]])


@pytest.mark.parametrize("mode", CHANGES)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_scattering(mode, axis):
    places = [0, -1]
    changes = numbers(*(2 if i == axis % 3 else size for i, size in enumerate(A.shape)))
    expected = np.moveaxis(A, axis, 0).copy()
    expected[places] = CHANGES[mode](expected[places], np.moveaxis(changes, axis, 0))
    found = run_network(add_layer("scatter", "i", "u", axis=axis, mode=mode), x=A, i=np.float32(places), u=changes)[0]
    close(found, np.moveaxis(expected, 0, axis))


@pytest.mark.parametrize("mode", CHANGES)
def test_scattering_along_an_axis(mode):
    places, changes = np.array([[[1], [0], [3]]] * 4), numbers(4, 3, 1)
    expected = A.copy()
    np.put_along_axis(expected, places, CHANGES[mode](np.take_along_axis(A, places, -1), changes), -1)
    layers = add_layer("scatter_along_axis", "i", "u", axis=-1, mode=mode)
    close(run_network(layers, x=A, i=places.astype(np.float32), u=changes)[0], expected)


@pytest.mark.parametrize("mode", CHANGES)
def test_scattering_at_several_axes(mode):
    places, changes = np.array([[0, 2], [3, 1]]), numbers(2, 5)
    expected = A.copy()
    expected[[0, 3], [2, 1]] = CHANGES[mode](A[[0, 3], [2, 1]], changes)
    found = run_network(add_layer("scatter_nd", "i", "u", mode=mode), x=A, i=places.astype(np.float32), u=changes)[0]
    close(found, expected)
