import itertools

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import get_new_symbol, types

from requant.errors import RequantError
from tests.building import IOS15, IOS16, IOS17, numbers
from tests.runtime.running import run_program

A = numbers(3, 4, 5)
MODES = ("update", "add", "sub", "mul", "div", "max", "min")
COMBINED = {
    "update": lambda old, new: new,
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
}


def spec(*shape, dtype=types.fp32):
    return mb.TensorSpec(shape=tuple(get_new_symbol() if size is None else size for size in shape), dtype=dtype)


def run(function, *arrays, open_sizes=False, target=IOS16):
    """Run a function of floats and integers; all sizes may be left open, but those of the last axis of integers."""
    shapes = []
    for array in arrays:
        whole = array.dtype.kind == "i"
        shape = [None] * array.ndim if open_sizes and not (whole and array.ndim > 1) else array.shape
        shapes.append(spec(*shape, dtype=types.int32 if whole else types.fp32))
    return run_program(function, *arrays, shapes=shapes, target=target)[0]


def indices(*shape, below, seed=0):
    return np.random.default_rng([seed, *shape]).integers(-below, below, shape).astype(np.int32)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("shape", [(6,), (2, 2)])
@pytest.mark.parametrize("open_sizes", [False, True])
def test_gather(axis, shape, open_sizes):
    places = indices(*shape, below=A.shape[axis])
    found = run(lambda x, i: mb.gather(x=x, indices=i, axis=axis), A, places, open_sizes=open_sizes)
    np.testing.assert_array_equal(found, np.take(A, places, axis))


def test_gather_at_one_place():
    found = run_program(lambda x: mb.gather(x=x, indices=np.int32(-2), axis=1), A)[0]
    np.testing.assert_array_equal(found, A[:, -2])


def batched(x, places, axis, batch_dims):
    """Take each of the batch alone."""
    if not batch_dims:
        return np.take(x, places, axis)
    return np.stack([batched(*pair, axis - 1, batch_dims - 1) for pair in zip(x, places, strict=True)])


@pytest.mark.parametrize(
    ("shape", "axis", "batch_dims"),
    [((3, 2), 1, 1), ((3, 2), 2, 1), ((3,), 2, 1), ((3, 4), 2, 2), ((3, 4, 2), -1, 2), ((3, 2, 2), 1, 1)],
)
def test_gather_in_a_batch(shape, axis, batch_dims):
    places = indices(*shape, below=A.shape[axis])
    found = run(lambda x, i: mb.gather(x=x, indices=i, axis=axis, batch_dims=batch_dims), A, places)
    np.testing.assert_array_equal(found, batched(A, places, axis % 3, batch_dims))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather_along_axis(axis):
    shape = list(A.shape)
    shape[axis] = 7
    places = indices(*shape, below=A.shape[axis])
    found = run(lambda x, i: mb.gather_along_axis(x=x, indices=i, axis=axis), A, places)
    np.testing.assert_array_equal(found, np.take_along_axis(A, places, axis))


@pytest.mark.parametrize(("depth", "batch_dims"), [(1, 0), (2, 0), (3, 0), (1, 1), (2, 1), (1, 2)])
def test_gather_nd(depth, batch_dims):
    shape = (*A.shape[:batch_dims], 6, depth)
    places = np.stack([indices(*shape[:-1], below=A.shape[batch_dims + i], seed=i) for i in range(depth)], -1)
    found = run(lambda x, i: mb.gather_nd(x=x, indices=i, batch_dims=batch_dims), A, places)
    expected = [A[batch][tuple(places[(*batch, k)])] for batch in np.ndindex(*A.shape[:batch_dims]) for k in range(6)]
    np.testing.assert_array_equal(found, np.reshape(expected, found.shape))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("open_sizes", [False, True])
def test_scatter(mode, axis, open_sizes):
    places = np.int32([1, -3, 1] if mode != "update" else [1, 0])
    shape = list(A.shape)
    shape[axis] = len(places)
    updates = numbers(*shape, seed=1) + 3
    found = run(
        lambda x, i, u: mb.scatter(data=x, indices=i, updates=u, axis=axis, mode=mode),
        A, places, updates, open_sizes=open_sizes,
    )  # fmt: skip
    expected = np.moveaxis(A, axis, 0).copy()
    for place, update in zip(places, np.moveaxis(updates, axis, 0), strict=True):
        expected[place] = COMBINED[mode](expected[place], update)
    np.testing.assert_allclose(found, np.moveaxis(expected, 0, axis), rtol=1e-5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("axis", [0, 2, -2])
def test_scatter_along_axis(mode, axis):
    shape = list(A.shape)
    shape[axis] = 2
    places = np.random.default_rng(3).permuted(np.indices(A.shape)[axis], axis=axis).astype(np.int32)
    places = places.take([0, 1], axis) - (A.shape[axis] if mode == "min" else 0)
    updates = numbers(*shape, seed=1) + 3
    found = run(
        lambda x, i, u: mb.scatter_along_axis(data=x, indices=i, updates=u, axis=axis, mode=mode), A, places, updates
    )
    expected = A.copy()
    old = np.take_along_axis(A, places, axis)
    np.put_along_axis(expected, places, COMBINED[mode](old, updates), axis)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_scatter_nd(mode, depth):
    places = np.int32([[0, 3, 1], [-1, 0, 2], [0, 3, 1]])[: 2 if mode == "update" else 3, :depth]
    updates = numbers(len(places), *A.shape[depth:], seed=1) + 3
    found = run(lambda x, i, u: mb.scatter_nd(data=x, indices=i, updates=u, mode=mode), A, places, updates)
    expected = A.copy()
    for place, update in zip(places, updates, strict=True):
        expected[tuple(place)] = COMBINED[mode](expected[tuple(place)], update)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_scattered_integers():
    data, places, updates = np.int32([5, 6, 7]), np.int32([0, 2]), np.int32([3, 9])
    for mode, expected in {"add": [8, 6, 16], "sub": [2, 6, -2], "mul": [15, 6, 63], "max": [5, 6, 9]}.items():
        found = run(_scatter(mode), data, places, updates)
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(RequantError, match="divides integers"):
        run(_scatter("div"), data, places, updates)


def _scatter(mode):
    return lambda x, i, u: mb.scatter(data=x, indices=i, updates=u, mode=mode)


# Indices out of bounds

GATHERING = {
    "gather": lambda x, i, **options: mb.gather(x=x, indices=i, **options),
    "gather_along_axis": lambda x, i, **options: mb.gather_along_axis(
        x=x, indices=mb.expand_dims(x=i, axes=[1]), **options
    ),
    "gather_nd": lambda x, i, **options: mb.gather_nd(x=x, indices=mb.expand_dims(x=i, axes=[1]), **options),
}
SCATTERING = {
    "scatter": lambda x, i, **options: mb.scatter(data=x, indices=i, updates=numbers(2, 1), **options),
    "scatter_along_axis": lambda x, i, **options: mb.scatter_along_axis(
        data=x, indices=mb.expand_dims(x=i, axes=[1]), updates=numbers(2, 1), **options
    ),
    "scatter_nd": lambda x, i, **options: mb.scatter_nd(
        data=x, indices=mb.expand_dims(x=i, axes=[1]), updates=numbers(2, 1), **options
    ),
}


@pytest.mark.parametrize(("name", "wrong"), itertools.product(GATHERING | SCATTERING, [-1, 4]))
def test_validated_indices_out_of_bounds_are_an_error(name, wrong):
    function = (GATHERING | SCATTERING)[name]
    with pytest.raises(RequantError, match="could not be run"):
        run(lambda x, i: function(x, i, validate_indices=True), A[0, :, :1], np.int32([0, wrong]), target=IOS17)


@pytest.mark.parametrize("name", SCATTERING)
def test_negative_indices_of_scatter_are_an_error_since_ios_17(name):
    x, places = A[0, :, :1], np.int32([0, -1])
    before, expected = run(SCATTERING[name], x, places, target=IOS15), x.copy()
    expected[[0, -1]] += numbers(2, 1)
    np.testing.assert_array_equal(before, expected)
    with pytest.raises(RequantError, match="could not be run"):
        run(SCATTERING[name], x, places, target=IOS17)


@pytest.mark.parametrize("name", GATHERING)
def test_validated_indices_within_bounds(name):
    x, places = A[0, :, :1], np.int32([3, 0])
    found = run(lambda x, i: GATHERING[name](x, i, validate_indices=True), x, places, target=IOS17)
    np.testing.assert_array_equal(found, x[places])
