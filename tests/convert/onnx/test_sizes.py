"""Parameters of all kinds, held against ONNX Runtime."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from requant.convert.settings import ConversionSettings
from tests.convert.onnx.converting import FLOAT32, both, network, node, random_inputs, saved, settings_of, snr

some = settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
FAR = st.sampled_from([2**31 - 1, 2**63 - 1, -(2**63) + 1, -(2**31)])


def require_alike(model, table=None, shapes=None, least=110.0):
    with tempfile.TemporaryDirectory() as folder:
        path = saved(model, Path(folder))
        chosen = settings_of(table)
        reference, found = both(path, chosen, random_inputs(path, chosen, shapes=shapes))
    for theirs, ours in zip(reference, found, strict=True):
        assert ours.size == theirs.size
        assert snr(theirs, ours) > least


@some
@given(st.data())
def test_slices(data):
    sizes = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    axes = data.draw(st.lists(st.integers(0, len(sizes) - 1), min_size=1, unique=True))
    place = st.one_of(st.integers(-7, 7), FAR)
    starts, ends, steps = [], [], []
    for index, axis in enumerate(axes):
        size = sizes[axis]
        taken = st.tuples(place, place, st.sampled_from([1, 2, -1, -2]))
        start, end, step = data.draw(taken.filter(lambda each, size=size: len(range(size)[slice(*each)]) > 0))
        starts, ends, steps = [*starts, start], [*ends, end], [*steps, step]
        axes[index] -= len(sizes) if data.draw(st.booleans()) else 0
    parts = {"starts": starts, "ends": ends, "axes": axes, "steps": steps}
    constants = {name: np.array(numbers, np.int64) for name, numbers in parts.items()}
    require_alike(network([node("Slice", ["x", *constants])], {"x": sizes}, constants=constants))


@some
@given(
    mode=st.sampled_from(["constant", "reflect", "edge", "wrap"]),
    sizes=st.lists(st.integers(3, 5), min_size=1, max_size=4),
    data=st.data(),
)
def test_borders(mode, sizes, data):
    amounts = data.draw(st.lists(st.integers(-1, 2), min_size=2 * len(sizes), max_size=2 * len(sizes)))
    if mode == "wrap":  # what is taken away and then goes around is read in two ways
        amounts = [abs(amount) for amount in amounts]
    constants = {"amounts": np.array(amounts, np.int64), "value": np.float32(0.5)}
    inputs = ["x", "amounts", *(["value"] if mode == "constant" else [])]
    require_alike(network([node("Pad", inputs, mode=mode)], {"x": sizes}, constants=constants, opset=19))


@some
@given(st.permutations([2, 3, 4]), st.sampled_from([[0, -1], [-1, 0], [0, 0, -1], [24], [4, -1, 2], [1, 0, -1], [-1]]))
def test_shapes(sizes, wanted):
    constants = {"shape": np.array(wanted, np.int64)}
    require_alike(network([node("Reshape", ["x", "shape"])], {"x": sizes}, constants=constants))


@some
@given(
    transformation=st.sampled_from(
        ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"]
    ),
    mode=st.sampled_from(["nearest", "linear", "cubic"]),
    rounding=st.sampled_from(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]),
    sizes=st.lists(st.integers(2, 6), min_size=2, max_size=2),
    wanted=st.lists(st.integers(1, 13), min_size=2, max_size=2),
)
def test_resizes_to_sizes(transformation, mode, rounding, sizes, wanted):
    constants = {"sizes": np.array([1, 2, *wanted], np.int64)}
    resize = node(
        "Resize",
        ["x", "", "", "sizes"],
        coordinate_transformation_mode=transformation,
        mode=mode,
        nearest_mode=rounding,
    )
    require_alike(network([resize], {"x": [1, 2, *sizes]}, constants=constants, opset=19), least=90)


@some
@given(
    transformation=st.sampled_from(["half_pixel", "align_corners", "asymmetric"]),
    mode=st.sampled_from(["nearest", "linear"]),
    factors=st.lists(st.sampled_from([0.5, 0.7, 1.0, 1.5, 2.0, 3.0]), min_size=2, max_size=2),
    sizes=st.lists(st.integers(4, 7), min_size=2, max_size=2),
)
def test_resizes_by_factors(transformation, mode, factors, sizes):
    constants = {"factors": np.array([1, 1, *factors], np.float32)}
    resize = node("Resize", ["x", "", "factors"], coordinate_transformation_mode=transformation, mode=mode)
    require_alike(network([resize], {"x": [1, 2, *sizes]}, constants=constants), least=90)


SIDE = {"min": 4, "max": 32, "default": 8}
OPEN = {**FLOAT32, "inputs": [{"name": "x", "shape": [1, 2, SIDE, SIDE]}]}


def of_sizes(*nodes, **constants):
    """Return a network for pictures of any size."""
    return network(list(nodes), {"x": (1, 2, "h", "w")}, constants=constants)


def vector(*numbers):
    return np.array(numbers, np.int64)


OPEN_NETWORKS = {
    "flattened": of_sizes(node("Flatten", ["x"], axis=2)),
    "one axis": of_sizes(node("Reshape", ["x", "s"]), s=vector(0, 2, -1)),
    "back again": of_sizes(
        node("Shape", ["x"], ["s"]),
        node("Reshape", ["x", "f"], ["flat"]),
        node("Reshape", ["flat", "s"]),
        f=vector(1, -1),
    ),
    "joined sizes": of_sizes(
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "two"], ["h"]),
        node("Unsqueeze", ["h", "zero"], ["h1"]),
        node("Concat", ["one", "h1", "rest"], ["s1"], axis=0),
        node("Reshape", ["x", "s1"]),
        two=np.array(2), zero=vector(0), one=vector(2), rest=vector(-1),
    ),
    "zero in joined sizes": of_sizes(
        node("Shape", ["x"], ["s"]),
        node("Slice", ["s", "three", "four"], ["w"]),
        node("Concat", ["zero", "rest", "w"], ["s1"], axis=0),
        node("Reshape", ["x", "s1"]),
        three=vector(3), four=vector(4), zero=vector(0), rest=vector(-1),
    ),
    "spread": of_sizes(
        node("Shape", ["x"], ["s"]),
        node("Expand", ["v", "s"], ["e"]),
        node("Add", ["x", "e"]),
        v=np.float32([[[2]], [[3]]]),
    ),
    "filled": of_sizes(node("Shape", ["x"], ["s"]), node("ConstantOfShape", ["s"], ["c"]), node("Add", ["x", "c"])),
    "cut": of_sizes(node("Slice", ["x", "a", "b", "c"]), a=vector(1, -3), b=vector(2**62, -1), c=vector(2, 3)),
    "turned": of_sizes(
        node("Slice", ["x", "a", "b", "c", "d"]), a=vector(-1), b=vector(-(2**62)), c=vector(3), d=vector(-1)
    ),
    "half": of_sizes(
        node("Shape", ["x"], ["s"]),
        node("Slice", ["s", "two", "three"], ["h"]),
        node("Div", ["h", "divisor"], ["half"]),
        node("Slice", ["x", "zero", "half", "two"]),
        two=vector(2), three=vector(3), divisor=vector(2), zero=vector(0),
    ),
    "twice": of_sizes(node("Resize", ["x", "", "f"], mode="nearest"), f=np.float32([1, 1, 2, 2])),
    "twice linearly": of_sizes(node("Resize", ["x", "", "f"], mode="linear"), f=np.float32([1, 1, 2, 2])),
    "twice by sizes": of_sizes(
        node("Shape", ["x"], ["s"]),
        node("Mul", ["s", "f"], ["s2"]),
        node("Resize", ["x", "", "", "s2"], coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        f=vector(1, 1, 2, 2),
    ),
    "twice by computed sizes": of_sizes(
        node("Shape", ["x"], ["s"]),
        node("Slice", ["s", "two", "four"], ["hw"]),
        node("Cast", ["hw"], ["hwf"], to=1),
        node("Mul", ["hwf", "factor"], ["hwf2"]),
        node("Floor", ["hwf2"], ["hwf3"]),
        node("Cast", ["hwf3"], ["hw2"], to=7),
        node("Slice", ["s", "zero", "two"], ["nc"]),
        node("Concat", ["nc", "hw2"], ["s2"], axis=0),
        node("Resize", ["x", "", "", "s2"], mode="linear"),
        two=vector(2), four=vector(4), zero=vector(0), factor=np.float32(2),
    ),
    "counted": of_sizes(
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "three"], ["w"]),
        node("Range", ["zero", "w", "one"], ["r"]),
        node("Cast", ["r"], ["rf"], to=1),
        node("Add", ["x", "rf"]),
        three=np.array(3), zero=np.array(0), one=np.array(1),
    ),
    "chosen": of_sizes(
        node("Greater", ["x", "zero"], ["c"]),
        node("Where", ["c", "x", "far"]),
        zero=np.float32(0),
        far=np.float32(-np.inf),
    ),
    "pooled": of_sizes(node("MaxPool", ["x"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])),
    "pooled in full": of_sizes(node("AveragePool", ["x"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)),
    "same": of_sizes(
        node("Conv", ["x", "k"], auto_pad="SAME_UPPER", strides=[2, 2]), k=np.ones((2, 2, 3, 3), np.float32)
    ),
    "grouped": of_sizes(
        node("Reshape", ["x", "g"], ["i"]),
        node("InstanceNormalization", ["i", "one", "zero"], ["n"]),
        node("Shape", ["x"], ["s"]),
        node("Reshape", ["n", "s"]),
        g=vector(0, 2, -1), one=np.ones(2, np.float32), zero=np.zeros(2, np.float32),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OPEN_NETWORKS)
def test_sizes_that_are_left_open(name):
    for shape in ((1, 2, 8, 8), (1, 2, 5, 12)):
        require_equal(OPEN_NETWORKS[name], shape)


def require_equal(model, shape):
    with tempfile.TemporaryDirectory() as folder:
        path, chosen = saved(model, Path(folder)), ConversionSettings.of(OPEN)
        (theirs,), (ours,) = both(path, chosen, random_inputs(path, chosen, shapes=[shape]))
    np.testing.assert_allclose(ours.reshape(theirs.shape), theirs, rtol=1e-5, atol=1e-5)
