import functools
import itertools

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import get_new_symbol, types
from hypothesis import given, settings
from hypothesis import strategies as st

from requant.errors import RequantError
from tests.building import IOS15, IOS16, IOS17, numbers
from tests.runtime.reference import close
from tests.runtime.running import node_kinds, run_program
from tests.runtime.sampling import SAMPLING_MODES, cut, resampled, resized

X = numbers(2, 3, 5, 4)
OPEN = (2, 3, get_new_symbol(), get_new_symbol())
SIZES = [(5, 4), (10, 12), (1, 1), (3, 2), (7, 9), (1, 6)]
MODES_OF_UPSAMPLING = {
    (True, None): "STRICT_ALIGN_CORNERS",
    (False, None): "UNALIGN_CORNERS",
    (False, True): "UNALIGN_CORNERS",
    (False, False): "DEFAULT",
}


def either(x):
    """Return the shapes to test with: fixed and open sizes."""
    return [[x.shape], [OPEN]]


@pytest.mark.parametrize("shapes", either(X), ids=["fixed", "open"])
@pytest.mark.parametrize(("mode", "size"), itertools.product(SAMPLING_MODES, SIZES))
def test_resize_bilinear(mode, size, shapes):
    def function(x):
        return mb.resize_bilinear(x=x, target_size_height=size[0], target_size_width=size[1], sampling_mode=mode)

    (found,) = run_program(function, X, shapes=shapes)
    close(found, resized(X, *size, mode))


@pytest.mark.parametrize("mode", ["DEFAULT", "STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "UNALIGN_CORNERS"])
def test_a_bilinear_resize_is_one_node(mode):
    def function(x):
        return mb.resize_bilinear(x=x, target_size_height=7, target_size_width=3, sampling_mode=mode)

    assert node_kinds(function, X.shape) == ["Resize"]


@settings(max_examples=30, deadline=None)
@given(mode=st.sampled_from(SAMPLING_MODES), old=st.integers(1, 50), new=st.integers(1, 80))
def test_every_size_becomes_every_other_one(mode, old, new):
    x = numbers(1, 1, 1, old)
    (found,) = run_program(
        lambda x: mb.resize_bilinear(x=x, target_size_height=1, target_size_width=new, sampling_mode=mode), x
    )
    close(found, resized(x, 1, new, mode), 1e-4)


@pytest.mark.parametrize("shape", [(5, 4, 3), (1, 2, 2, 4, 3)])
def test_a_resize_keeps_the_other_axes(shape):
    x = numbers(*shape)
    (found,) = run_program(lambda x: mb.resize_bilinear(x=x, target_size_height=6, target_size_width=2), x)
    close(found, resized(x, 6, 2, "DEFAULT"))
    (found,) = run_program(lambda x: mb.upsample_nearest_neighbor(x=x, scale_factor_height=2, scale_factor_width=3), x)
    close(found, x.repeat(2, -2).repeat(3, -1))


@pytest.mark.parametrize("shapes", either(X), ids=["fixed", "open"])
@pytest.mark.parametrize(
    ("factors", "corners"), itertools.product([(2, 3), (2.5, 1.3), (0.5, 0.75)], MODES_OF_UPSAMPLING)
)
def test_upsample_bilinear(factors, corners, shapes):
    align, centers = corners
    options = {} if centers is None else {"half_pixel_centers": centers}

    def function(x):
        return mb.upsample_bilinear(
            x=x, scale_factor_height=factors[0], scale_factor_width=factors[1], align_corners=align, **options
        )

    (found,) = run_program(function, X, shapes=shapes, target=IOS15 if centers is None else IOS16)
    size = int(5 * factors[0]), int(4 * factors[1])
    close(found, resized(X, *size, MODES_OF_UPSAMPLING[corners]))


def test_corners_and_half_pixels_exclude_each_other():
    def function(x):
        return mb.upsample_bilinear(x=x, scale_factor_height=2, align_corners=True, half_pixel_centers=True)

    with pytest.raises(RequantError, match="align_corners and half_pixel_centers"):
        run_program(function, X, target=IOS16)


@pytest.mark.parametrize("shapes", either(X), ids=["fixed", "open"])
@pytest.mark.parametrize("factors", [(1, 1), (3, 2), (1.4, 2.6), (0.6, 0.5), (2.0, 1.25)])
def test_upsample_nearest_neighbor(factors, shapes):
    def function(x):
        return mb.upsample_nearest_neighbor(x=x, scale_factor_height=factors[0], scale_factor_width=factors[1])

    (found,) = run_program(function, X, shapes=shapes)
    height, width = int(np.float32(5) * np.float32(factors[0])), int(np.float32(4) * np.float32(factors[1]))
    rows, columns = np.arange(height) * 5 // height, np.arange(width) * 4 // width
    np.testing.assert_array_equal(found, X[:, :, rows][..., columns])


def test_an_upsampling_by_whole_factors_is_one_node():
    def function(x):
        return mb.upsample_nearest_neighbor(x=x, scale_factor_height=2, scale_factor_width=3)

    assert node_kinds(function, X.shape) == ["Resize"]


@pytest.mark.parametrize("shapes", either(X), ids=["fixed", "open"])
@pytest.mark.parametrize("size", SIZES)
def test_resize_nearest_neighbor(size, shapes):
    def function(x):
        return mb.resize_nearest_neighbor(x=x, target_size_height=size[0], target_size_width=size[1])

    (found,) = run_program(function, X, shapes=shapes)
    rows, columns = ((2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(size, (5, 4), strict=True))
    np.testing.assert_array_equal(found, X[:, :, rows][..., columns])


@pytest.mark.parametrize("mode", SAMPLING_MODES)
@pytest.mark.parametrize(("shape", "expected"), [([7, 9], (7, 9)), ([8, 0, 6], (5, 6)), ([1, 1], (1, 1))])
def test_resize_linear(shape, expected, mode):
    def constant(x):
        return mb.resize(x=x, shape=shape, resized_dims=np.uint32(2), sampling_mode=mode)

    def computed(x, shape):
        return mb.resize(x=x, shape=shape, resized_dims=np.uint32(2), sampling_mode=mode)

    wanted = resized(X, *expected, mode)
    if 0 not in shape:
        close(run_program(constant, X, target=IOS17)[0], wanted)
    shapes = [mb.TensorSpec(X.shape), mb.TensorSpec((len(shape),), types.int32)]
    close(run_program(computed, X, np.array(shape, np.int32), shapes=shapes, target=IOS17)[0], wanted)


def test_resize_of_one_and_of_three_axes():
    def one(x):
        return mb.resize(x=x, shape=[7], resized_dims=np.uint32(1), sampling_mode="UNALIGN_CORNERS")

    def three(x):
        return mb.resize(x=x, shape=[6, 10, 2], resized_dims=np.uint32(3), sampling_mode="STRICT_ALIGN_CORNERS")

    close(run_program(one, X, target=IOS17)[0], resized(X, 5, 7, "UNALIGN_CORNERS"))
    planes = resized(X, 10, 2, "STRICT_ALIGN_CORNERS")
    deep = resized(planes.reshape(2, 3, 20), 6, 20, "STRICT_ALIGN_CORNERS")
    close(run_program(three, X, target=IOS17)[0], deep.reshape(2, 6, 10, 2))


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_resize_nearest(dtype):
    x = (10 * X).astype(dtype)

    def function(x):
        return mb.resize(x=x, shape=[7, 3], resized_dims=np.uint32(2), interpolation_mode="NEAREST_NEIGHBOR")

    specification = mb.TensorSpec(x.shape, types.fp32 if dtype == np.float32 else types.int32)
    (found,) = run_program(function, x, shapes=[specification], target=IOS17)
    rows, columns = (2 * np.arange(7) + 1) * 5 // 14, (2 * np.arange(3) + 1) * 4 // 6
    np.testing.assert_array_equal(found, x[:, :, rows][..., columns])


def test_integers_are_not_interpolated():
    specification = mb.TensorSpec(X.shape, types.int32)

    def function(x):
        return mb.resize(x=x, shape=[7, 3], resized_dims=np.uint32(2))

    with pytest.raises(RequantError, match="interpolates integers"):
        run_program(function, X.astype(np.int32), shapes=[specification], target=IOS17)


def test_the_nearest_pixel_of_another_grid_is_refused():
    def function(x):
        return mb.resize(
            x=x,
            shape=[7, 3],
            resized_dims=np.uint32(2),
            interpolation_mode="NEAREST_NEIGHBOR",
            sampling_mode="ALIGN_CORNERS",
        )

    with pytest.raises(RequantError, match="nearest pixel with the sampling mode ALIGN_CORNERS"):
        run_program(function, X, target=IOS17)


@pytest.mark.parametrize("shapes", either(X), ids=["fixed", "open"])
@pytest.mark.parametrize("amounts", [((1, 2), (0, 1)), ((0, 0), (3, 0)), ((4, 0), (0, 3))])
def test_crop(amounts, shapes):
    (found,) = run_program(lambda x: mb.crop(x=x, crop_height=amounts[0], crop_width=amounts[1]), X, shapes=shapes)
    (top, bottom), (left, right) = amounts
    np.testing.assert_array_equal(found, X[:, :, top : 5 - bottom, left : 4 - right])


CORNERS = np.array([[0, 0, 4, 3], [1, 0.5, 3.5, 2.5], [-0.5, 1, 2, 4.2], [2, 2, 2, 2], [3, 3, 1, 0]], np.float32)
BOXES = {
    "CORNERS_HEIGHT_FIRST": CORNERS,
    "CORNERS_WIDTH_FIRST": CORNERS[:, [1, 0, 3, 2]],
    "CENTER_SIZE_HEIGHT_FIRST": np.hstack([(CORNERS[:, :2] + CORNERS[:, 2:]) / 2, CORNERS[:, 2:] - CORNERS[:, :2]]),
}
BOXES["CENTER_SIZE_WIDTH_FIRST"] = BOXES["CENTER_SIZE_HEIGHT_FIRST"][:, [1, 0, 3, 2]]
BOX_MODES = ("DEFAULT", "STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "OFFSET_CORNERS")


@pytest.mark.parametrize("shapes", either(X), ids=["fixed", "open"])
@pytest.mark.parametrize(("layout", "mode"), itertools.product(BOXES, BOX_MODES))
def test_crop_resize_in_every_layout(layout, mode, shapes):
    count = 4 if mode in ("DEFAULT", "OFFSET_CORNERS") else 5  # those do not define boxes that are turned round
    boxes = BOXES[layout][:count]
    options = {"box_coordinate_mode": layout, "sampling_mode": mode, "target_height": 3, "target_width": 5}

    def old(x):
        return mb.crop_resize(x=x, roi=boxes.reshape(-1, 1, 4, 1, 1), **options)

    (found,) = run_program(old, X, shapes=shapes)
    close(found, [[cut(picture, box, 3, 5, mode, 0) for picture in X] for box in CORNERS[:count]])


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (6, 9)])
@pytest.mark.parametrize("mode", BOX_MODES)
def test_crop_resize_of_numbered_pictures(mode, size):
    numbered = np.hstack([[[1], [0], [1]], CORNERS[:3]]).astype(np.float32)

    def old(x, roi):
        return mb.crop_resize(
            x=x, roi=roi, target_height=size[0], target_width=size[1], sampling_mode=mode, pad_value=7.0
        )

    def new(x, boxes):
        return mb.crop_resize(
            x=x,
            boxes=boxes,
            box_indices=[1, 0, 1],
            target_height=size[0],
            target_width=size[1],
            sampling_mode=mode,
            pad_value=7.0,
        )

    expected = np.stack([cut(X[int(b)], box, *size, mode, 7.0) for b, *box in numbered])
    close(run_program(old, X, numbered.reshape(3, 1, 5, 1, 1), target=IOS16)[0], expected[:, np.newaxis])
    close(run_program(new, X, CORNERS[:3], target=IOS17)[0], expected)


def test_boxes_are_normalized_by_the_last_pixel_and_scaled():
    boxes = CORNERS[:2] / [4, 3, 4, 3]

    def function(x, boxes):
        return mb.crop_resize(
            x=x,
            boxes=boxes,
            target_height=4,
            target_width=4,
            normalized_coordinates=True,
            spatial_scale=0.5,
            sampling_mode="ALIGN_CORNERS",
        )

    (found,) = run_program(function, X, boxes.astype(np.float32), target=IOS17)
    close(found, [cut(X[i], CORNERS[i] / 2, 4, 4, "ALIGN_CORNERS", 0) for i in (0, 1)])


def test_the_sampling_mode_without_a_meaning_for_boxes_is_refused():
    def function(x):
        return mb.crop_resize(x=x, boxes=CORNERS[:2], sampling_mode="UNALIGN_CORNERS")

    with pytest.raises(RequantError, match="UNALIGN_CORNERS, which is not defined for boxes"):
        run_program(function, X, target=IOS17)


POINTS = np.random.default_rng(3).uniform(-1.7, 1.7, (2, 3, 6, 2)).astype(np.float32)
COORDINATES = {
    "normalized_minus_one_to_one": POINTS,
    "normalized_zero_to_one": POINTS / 2 + np.float32(0.5),
    "unnormalized": POINTS * 5 + np.float32(2),
}


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("padding", ["constant", "border", "reflection", "symmetric"])
@pytest.mark.parametrize(("sampling", "mode"), itertools.product(["bilinear", "nearest"], COORDINATES))
def test_resample(sampling, mode, padding, align_corners):
    for value in (0.0, 6.5) if padding == "constant" else (0.0,):
        options = {
            "sampling_mode": sampling,
            "padding_mode": padding,
            "padding_value": value,
            "coordinates_mode": mode,
            "align_corners": align_corners,
        }
        function = functools.partial(mb.resample, **options)
        (found,) = run_program(lambda x, at: function(x=x, coordinates=at), X, COORDINATES[mode])  # noqa: B023
        close(found, resampled(X, COORDINATES[mode], sampling, padding, value, mode, align_corners), 5e-5)


@pytest.mark.parametrize("padding", ["border", "reflection", "symmetric"])
def test_resample_of_one_pixel(padding):
    x = numbers(2, 3, 1, 1)
    options = {"padding_value": 0.0, "coordinates_mode": "unnormalized", "align_corners": False}

    def function(x, at):
        return mb.resample(x=x, coordinates=at, sampling_mode="bilinear", padding_mode=padding, **options)

    (found,) = run_program(function, x, COORDINATES["unnormalized"])
    close(found, np.broadcast_to(x, found.shape))


@pytest.mark.parametrize("open_sizes", [False, True])
def test_resample_at_whole_numbers(open_sizes):
    at = np.random.default_rng(0).integers(-3, 8, (2, 4, 5, 2)).astype(np.int32)

    def function(x, at):
        return mb.resample(
            x=x,
            coordinates=at,
            sampling_mode="bilinear",
            padding_mode="constant",
            padding_value=-1.0,
            coordinates_mode="unnormalized",
            align_corners=False,
        )

    shape = (2, get_new_symbol(), get_new_symbol(), 2) if open_sizes else at.shape
    shapes = [mb.TensorSpec(OPEN if open_sizes else X.shape), mb.TensorSpec(shape, types.int32)]
    (found,) = run_program(function, X, at, shapes=shapes)
    close(found, resampled(X, at, "bilinear", "constant", -1.0, "unnormalized", False))


def test_a_usual_resample_is_one_node():
    def function(x, at):
        return mb.resample(
            x=x,
            coordinates=at,
            sampling_mode="bilinear",
            padding_mode="constant",
            padding_value=0.0,
            coordinates_mode="normalized_minus_one_to_one",
            align_corners=False,
        )

    assert node_kinds(function, X.shape, POINTS.shape) == ["GridSample"]


@pytest.mark.parametrize("matrices", [1, 2])
def test_affine(matrices):
    matrix = numbers(matrices, 6, scale=0.7)

    def function(x, matrix):
        return mb.affine(
            x=x,
            transform_matrix=matrix,
            output_height=4,
            output_width=3,
            sampling_mode="bilinear",
            padding_mode="constant",
            padding_value=0.0,
            coordinates_mode="normalized_minus_one_to_one",
            align_corners=True,
        )

    down, right = np.meshgrid(np.linspace(-1, 1, 4), np.linspace(-1, 1, 3), indexing="ij")
    points = np.stack([right, down, np.ones_like(right)], -1)
    at = np.stack([points @ m.reshape(2, 3).T for m in np.broadcast_to(matrix, (2, 6))])
    expected = resampled(X, at, "bilinear", "constant", 0.0, "normalized_minus_one_to_one", True)
    close(run_program(function, X, matrix)[0], expected)


def test_flexible_pictures_are_resized_with_any_size():
    """A size that `ct.convert` declares as a range stays open in the program."""
    symbol = get_new_symbol()
    specification = mb.TensorSpec((1, 3, symbol, 8))
    ranged = ct.TensorType("x", ct.Shape((1, 3, ct.RangeDim(2, 12, default=4), 8)))

    def function(x):
        return mb.upsample_bilinear(x=x, scale_factor_height=2, scale_factor_width=2, align_corners=False)

    for height in (2, 7, 12):
        x = numbers(1, 3, height, 8)
        (found,) = run_program(function, x, shapes=[specification], inputs=[ranged], plain=False)
        close(found, resized(x, 2 * height, 16, "UNALIGN_CORNERS"))
