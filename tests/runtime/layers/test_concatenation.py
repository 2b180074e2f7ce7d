import numpy as np
import pytest

from requant.errors import RequantError
from tests.building import numbers
from tests.runtime.reference import X, close
from tests.runtime.running import add_layer, run_network

A, B = numbers(4, 6, 5), numbers(4, 6, 5, seed=1)
OPENED = pytest.mark.parametrize("opened", [(), ("x",)], ids=["known", "open"])


def test_channels_of_an_input_and_of_a_constant():
    def layers(b):
        b.add_load_constant("constant", "constant", A[:, :, :2], [4, 6, 2])
        b.add_elementwise("concat", ["x", "constant"], "y", "CONCAT")

    x = numbers(3, 6, 2)
    close(run_network(layers, exact=False, x=x)[0], np.concatenate([x, A[:, :, :2]]))


def test_sequences():
    x = numbers(2, 1, 3, 4, 5)
    layers = lambda b: b.add_elementwise("concat", ["x", "x"], "y", "SEQUENCE_CONCAT")  # noqa: E731
    close(run_network(layers, exact=False, x=x)[0], np.concatenate([x, x]))
    repeated = lambda b: b.add_sequence_repeat("repeat", 3, "x", "y")  # noqa: E731
    close(run_network(repeated, exact=False, x=x)[0], np.tile(x, (3, 1, 1, 1, 1)))
    with pytest.raises(RequantError, match="repeats the axis of sequences, but gets an input of 3 axes"):
        run_network(repeated, x=X)


@OPENED
@pytest.mark.parametrize("axis", [0, -1])
def test_concatenation(axis, opened):
    found = run_network(add_layer("concat_nd", "z", axis=axis), opened=opened, x=A, z=B)[0]
    close(found, np.concatenate([A, B], axis))
    woven = run_network(add_layer("concat_nd", "z", axis=axis, interleave=True), opened=opened, x=A, z=B)[0]
    close(woven, np.stack([A, B], axis % 3 + 1).reshape(found.shape))


@OPENED
@pytest.mark.parametrize("axis", [0, 3, -2])
def test_stacking(axis, opened):
    close(run_network(add_layer("stack", "z", axis=axis), opened=opened, x=A, z=B)[0], np.stack([A, B], axis))


@pytest.mark.parametrize("exact", [False, True])
def test_equal_parts_of_the_channels(exact):
    found = run_network(lambda b: b.add_split("split", "x", ["p", "q"]), exact, ("p", "q"), x=A)
    for part, expected in zip(found, np.split(A, 2), strict=True):
        close(part, expected)
    with pytest.raises(RequantError, match="splits 4 channels into 3 equal parts"):
        run_network(lambda b: b.add_split("split", "x", ["p", "q", "r"]), exact, ("p", "q", "r"), x=A)


@OPENED
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_parts_along_an_axis(axis, opened):
    def layers(b):
        b.add_split_nd("split", "x", ["p", "q", "r"], axis=axis, num_splits=3)

    found = run_network(layers, True, ("p", "q", "r"), opened, x=A)
    for part, expected in zip(found, np.array_split(A, 3, axis), strict=True):
        close(part, expected)


@OPENED
def test_parts_of_given_sizes(opened):
    def layers(b):
        b.add_split_nd("split", "x", ["p", "q", "r"], axis=1, split_sizes=[1, 3, 2])

    found = run_network(layers, True, ("p", "q", "r"), opened, x=A)
    for part, expected in zip(found, np.split(A, [1, 4], 1), strict=True):
        close(part, expected)
