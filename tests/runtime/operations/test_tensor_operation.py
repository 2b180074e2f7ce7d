import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import get_new_symbol, types

from tests.building import IOS16, IOS17, numbers
from tests.runtime.running import run_program

A = numbers(2, 3, 4)
WHOLE = np.arange(24, dtype=np.float32).reshape(2, 3, 4) - 7


def spec(*shape, dtype=types.fp32):
    return mb.TensorSpec(shape=tuple(get_new_symbol() if size is None else size for size in shape), dtype=dtype)


def as_float(x):
    return mb.cast(x=x, dtype="fp32")


def as_integer(x):
    return mb.cast(x=x, dtype="int32")


def band(x, lower, upper):
    rows, columns = np.indices(x.shape[-2:])
    inside = (lower < 0) | (rows - columns <= lower)
    return x * (inside & ((upper < 0) | (columns - rows <= upper)))


def one_hot(indices, size, axis, on=1, off=0):
    return np.moveaxis(np.where(indices[..., np.newaxis] == np.arange(size), on, off), -1, axis)


def summed(x, axis, exclusive, reverse):
    turned = np.flip(x, axis) if reverse else x
    total = np.cumsum(turned, axis) - (turned if exclusive else 0)
    return np.flip(total, axis) if reverse else total


# Operation, inputs -> what numpy computes. Each is run with the sizes as numbers, and with open sizes.
CASES = {
    "identity": (lambda x: mb.identity(x=x), A, lambda x: x),
    "shape": (lambda x: as_float(mb.shape(x=x)), A, lambda x: np.array(x.shape)),
    "stack": (lambda x: mb.stack(values=[x, x, x], axis=1), A, lambda x: np.stack([x] * 3, 1)),
    "stack last": (lambda x: mb.stack(values=[x, x], axis=-1), A, lambda x: np.stack([x] * 2, -1)),
    "flatten2d": (lambda x: mb.flatten2d(x=x, axis=2), A, lambda x: x.reshape(-1, x.shape[-1])),
    "flatten2d from the end": (lambda x: mb.flatten2d(x=x, axis=-2), A, lambda x: x.reshape(len(x), -1)),
    "fill_like": (lambda x: mb.fill_like(ref_tensor=x, value=2.5), A, lambda x: np.full(x.shape, 2.5)),
    "fill_like of integers": (
        lambda x: as_float(mb.fill_like(ref_tensor=x, value=7)),
        A,
        lambda x: np.full(x.shape, 7),
    ),
    "tile": (lambda x: mb.tile(x=x, reps=[2, 1, 3]), A, lambda x: np.tile(x, (2, 1, 3))),
    "non_zero": (lambda x: as_float(mb.non_zero(x=x)), A * (A > 0), np.argwhere),
    "band_part": (lambda x: mb.band_part(x=x, lower=1, upper=0), A, lambda x: band(x, 1, 0)),
    "band_part above": (lambda x: mb.band_part(x=x, lower=-1, upper=1), A, lambda x: band(x, -1, 1)),
    "band_part below": (lambda x: mb.band_part(x=x, lower=0, upper=-1), A, lambda x: band(x, 0, -1)),
    "band_part whole": (lambda x: mb.band_part(x=x), A, lambda x: x),
    "band_part of integers": (
        lambda x: as_float(mb.band_part(x=as_integer(x), lower=0, upper=1)),
        WHOLE,
        lambda x: band(x, 0, 1),
    ),
    "band_part of truth": (
        lambda x: as_float(mb.band_part(x=mb.cast(x=x, dtype="bool"), lower=0, upper=1)),
        WHOLE,
        lambda x: band(x != 0, 0, 1),
    ),
    "argsort": (lambda x: as_float(mb.argsort(x=x, axis=1)), A, lambda x: np.argsort(-x, 1)),
    "argsort ascending": (lambda x: as_float(mb.argsort(x=x, ascending=True)), A, lambda x: np.argsort(x, -1)),
    "argsort of integers": (
        lambda x: as_float(mb.argsort(x=as_integer(x), axis=0)),
        WHOLE,
        lambda x: np.argsort(-x, 0),
    ),
    "pad": (
        lambda x: mb.pad(x=x, pad=[1, 2, 0, 3], constant_val=2.0),
        A,
        lambda x: np.pad(x, ((0, 0), (1, 2), (0, 3)), constant_values=2),
    ),
    "pad all axes": (
        lambda x: mb.pad(x=x, pad=[0, 1, 1, 2, 0, 3]),
        A,
        lambda x: np.pad(x, ((0, 1), (1, 2), (0, 3))),
    ),
    "pad reflect": (
        lambda x: mb.pad(x=x, pad=[1, 2, 3, 0], mode="reflect"),
        A,
        lambda x: np.pad(x, ((0, 0), (1, 2), (3, 0)), mode="reflect"),
    ),
    "pad replicate": (
        lambda x: mb.pad(x=x, pad=[1, 2, 3, 0], mode="replicate"),
        A,
        lambda x: np.pad(x, ((0, 0), (1, 2), (3, 0)), mode="edge"),
    ),
    "one_hot": (
        lambda x: as_float(mb.one_hot(indices=as_integer(x), one_hot_vector_size=5)),
        WHOLE,
        lambda x: one_hot(x, 5, -1),
    ),
    "one_hot in the middle": (
        lambda x: mb.one_hot(indices=as_integer(x), one_hot_vector_size=5, axis=1, on_value=2.5, off_value=-1.0),
        WHOLE,
        lambda x: one_hot(x, 5, 1, 2.5, -1),
    ),
    "one_hot of truth": (
        lambda x: as_float(
            mb.one_hot(indices=as_integer(x), one_hot_vector_size=3, axis=-2, on_value=True, off_value=False)
        ),
        WHOLE,
        lambda x: one_hot(x, 3, -2),
    ),
    "concat of numbers": (
        lambda x: mb.concat(values=[mb.reduce_max(x=x, axes=[0, 1, 2]), mb.reduce_min(x=x, axes=[0, 1, 2])], axis=0),
        A,
        lambda x: np.array([x.max(), x.min()]),
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("open_sizes", [False, True])
def test_operation(name, open_sizes):
    function, x, expected = CASES[name]
    shapes = [spec(None, None, None)] if open_sizes else None
    if open_sizes and name.startswith("pad reflect"):
        shapes = [spec(None, 3, 4)]
    target = IOS16 if "fill_like" in name else None
    (found,) = run_program(function, x, shapes=shapes, **({"target": target} if target else {}))
    assert found.shape == expected(x).shape
    np.testing.assert_allclose(found, expected(x))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_cumsum(axis, exclusive, reverse):
    def function(x):
        options = {"axis": axis, "exclusive": exclusive, "reverse": reverse}
        return mb.cumsum(x=x, **options), as_float(mb.cumsum(x=as_integer(x), **options))

    found, of_integers = run_program(function, WHOLE)
    np.testing.assert_allclose(found, summed(WHOLE, axis, exclusive, reverse), atol=1e-5)
    np.testing.assert_array_equal(of_integers, summed(WHOLE, axis, exclusive, reverse))


@pytest.mark.parametrize("open_sizes", [False, True])
def test_split(open_sizes):
    def function(x):
        first, second = mb.split(x=x, num_splits=2, axis=0)
        one, three = mb.split(x=x, split_sizes=[1, 3], axis=-1)
        left, right = mb.split(x=x, num_splits=2, split_sizes=[1, 2], axis=1)
        return first, second, one, three, left, right

    found = run_program(function, A, shapes=[spec(None, 3, 4)] if open_sizes else None)
    expected = [A[:1], A[1:], A[..., :1], A[..., 1:], A[:, :1], A[:, 1:]]
    for part, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(part, wanted)


@pytest.mark.parametrize("ascending", [False, True])
@pytest.mark.parametrize(("axis", "k"), [(0, 1), (1, 2), (-1, 4)])
@pytest.mark.parametrize("open_sizes", [False, True])
def test_topk(ascending, axis, k, open_sizes):
    def function(x):
        values, places = mb.topk(x=x, k=k, axis=axis, ascending=ascending)
        return values, as_float(places)

    values, places = run_program(function, A, shapes=[spec(None, None, None)] if open_sizes else None)
    order = np.argsort(A if ascending else -A, axis).take(range(k), axis)
    np.testing.assert_array_equal(places, order)
    np.testing.assert_array_equal(values, np.take_along_axis(A, order, axis))


def test_topk_takes_the_first_of_equal_elements():
    x = np.float32([3, 1, 3, 1, 3])
    _, greatest, _, least = run_program(
        lambda x: tuple(y for up in (False, True) for y in mb.topk(x=x, k=2, ascending=up)), x
    )
    np.testing.assert_array_equal(greatest, [0, 2])
    np.testing.assert_array_equal(least, [1, 3])


def test_topk_since_ios_17():
    def function(x):
        everything, places = mb.topk(x=x, k=np.int8(3), axis=1, output_indices_dtype="uint16")
        return everything, mb.cast(x=places, dtype="fp32"), mb.topk(x=x, k=1, sort=False, return_indices=False)

    everything, places, greatest = run_program(function, A, target=IOS17, shapes=[spec(None, None, None)])
    np.testing.assert_array_equal(everything, -np.sort(-A, 1))
    np.testing.assert_array_equal(places, np.argsort(-A, 1))
    np.testing.assert_array_equal(greatest, A.max(-1, keepdims=True))


def computed(function, *vectors):
    """Run a function of vectors of integers that the program gets as inputs."""
    arrays = [np.array(vector, np.int32) for vector in vectors]
    return run_program(function, *arrays, shapes=[spec(*array.shape, dtype=types.int32) for array in arrays])[0]


def test_shapes_that_are_computed():
    np.testing.assert_array_equal(computed(lambda s: mb.fill(shape=s, value=1.5), [2, 3]), np.full((2, 3), 1.5))
    np.testing.assert_array_equal(computed(lambda r: mb.tile(x=A, reps=r), [1, 2, 3]), np.tile(A, (1, 2, 3)))
    np.testing.assert_array_equal(
        computed(lambda p: mb.pad(x=A, pad=p), [1, 0, 2, 3, 0, 1]), np.pad(A, ((1, 0), (2, 3), (0, 1)))
    )
    np.testing.assert_array_equal(
        computed(lambda n: as_float(mb.one_hot(indices=[0, 2, 9], one_hot_vector_size=mb.squeeze(x=n))), [4]),
        one_hot(np.array([0, 2, 9]), 4, -1),
    )


def test_a_constant_that_is_filled():
    def function(x):
        return mb.add(x=x, y=mb.fill(shape=mb.shape(x=x), value=0.5))

    np.testing.assert_array_equal(run_program(function, A)[0], A + 0.5)
    np.testing.assert_array_equal(run_program(function, A, shapes=[spec(None, 3, None)])[0], A + np.float32(0.5))


@pytest.mark.parametrize("bounds", [(0, 5, 1), (7, -3, -2), (2, 2, 1)])
def test_range_1d(bounds):
    def function(x):
        start, end, step = (mb.squeeze(x=y) for y in mb.split(x=x, num_splits=3, axis=0))
        return mb.range_1d(start=start, end=end, step=step)

    np.testing.assert_array_equal(computed(function, bounds), np.arange(*bounds))
    halves = np.float32(bounds) / 2
    np.testing.assert_array_equal(run_program(function, halves)[0], np.arange(*halves))
