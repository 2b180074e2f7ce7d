import numpy as np
import pytest
from PIL import Image

from requant.coreml.description import Feature
from requant.errors import RequantError
from requant.runtime.features import (
    array_to_tensor,
    as_picture,
    number_to_tensor,
    picture_to_tensor,
    require_inputs,
    tensor_to_picture,
    to_tensor,
)

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
RGB = Feature("image", "picture", (4, 5), "uint8", "RGB")
BGR = Feature("image", "picture", (4, 5), "uint8", "BGR")
GREY = Feature("image", "picture", (4, 5), "uint8", "GRAYSCALE")
ARRAY = Feature("x", "array", (2, 3))


def test_a_picture_becomes_planes_in_the_order_of_the_model():
    expected = PIXELS.transpose(2, 0, 1)[np.newaxis].astype(np.float32)
    for value in (PIXELS, Image.fromarray(PIXELS)):
        found = picture_to_tensor(value, RGB)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(picture_to_tensor(value, BGR), expected[:, ::-1])


def test_a_picture_in_grey_is_one_plane():
    grey = np.asarray(Image.fromarray(PIXELS).convert("L"))
    np.testing.assert_array_equal(picture_to_tensor(PIXELS, GREY), grey[np.newaxis, np.newaxis])
    np.testing.assert_array_equal(picture_to_tensor(grey, GREY), grey[np.newaxis, np.newaxis])


def test_pictures_of_other_modes_are_converted():
    picture = Image.fromarray(PIXELS)
    np.testing.assert_array_equal(picture_to_tensor(picture.convert("RGBA"), RGB), picture_to_tensor(picture, RGB))
    grey = np.asarray(picture.convert("L"), np.float32)
    np.testing.assert_array_equal(picture_to_tensor(picture.convert("L"), RGB)[0], [grey, grey, grey])


def test_arrays_of_floats_are_rounded_and_saturated():
    values = np.array([[-3.0, 0.4, 0.6], [254.5, 255.4, 300.0]])
    feature = Feature("image", "picture", (2, 3), "uint8", "GRAYSCALE")
    np.testing.assert_array_equal(picture_to_tensor(values, feature)[0, 0], [[0, 0, 1], [254, 255, 255]])


def test_a_picture_of_another_size_is_refused_with_both_sizes():
    with pytest.raises(RequantError, match="'image' is a picture of 5 x 4 pixels, but got 4 x 5"):
        picture_to_tensor(PIXELS.transpose(1, 0, 2), RGB)


@pytest.mark.parametrize("shape", [(4,), (4, 5, 4), (1, 4, 5, 3), ()])
def test_an_array_that_is_no_picture_is_refused(shape):
    with pytest.raises(RequantError, match=r"'image' is a picture: give a PIL image or an array \(height, width\)"):
        picture_to_tensor(np.zeros(shape), RGB)


@pytest.mark.parametrize("feature", [RGB, BGR])
def test_a_tensor_becomes_the_picture_again(feature):
    found = tensor_to_picture(picture_to_tensor(PIXELS, feature), feature)
    assert found.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(found), PIXELS)


def test_a_picture_is_rounded_and_saturated():
    tensor = np.array([[[[-1000, -0.6, 0.4], [0.6, 255.4, 1e6]]]], np.float32)
    found = tensor_to_picture(tensor, GREY)
    assert found.mode == "L"
    np.testing.assert_array_equal(np.asarray(found), [[0, 0, 0], [1, 255, 255]])


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32"])
def test_an_array_takes_the_type_of_the_model(dtype):
    found = array_to_tensor([[1, 2, 3], [4, 5, 6]], Feature("x", "array", (2, 3), dtype))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, [[1, 2, 3], [4, 5, 6]])


def test_an_array_of_another_shape_is_refused_with_both_shapes():
    with pytest.raises(RequantError, match=r"'x' is an array of shape \(2, 3\), but got one of shape \(3, 2\)"):
        array_to_tensor(np.zeros((3, 2)), ARRAY)


@pytest.mark.parametrize("value", ["text", [["a"] * 3] * 2, None, object()])
def test_what_is_not_made_of_numbers_is_refused(value):
    with pytest.raises(RequantError, match=f"'x' is an array of numbers, not {type(value).__name__}"):
        array_to_tensor(value, ARRAY)


def test_an_open_shape_takes_any():
    assert array_to_tensor(np.zeros((7, 7)), Feature("x", "array", ())).shape == (7, 7)


def test_a_number_is_a_tensor_without_axes():
    assert number_to_tensor(3, Feature("n", "number")).shape == ()
    with pytest.raises(RequantError, match="'n' is a number, not str"):
        number_to_tensor("3", Feature("n", "number"))


def test_other_types_can_not_be_passed():
    with pytest.raises(RequantError, match=r"'d' is of a type that requant can't pass yet \(dictionary\)"):
        to_tensor({}, Feature("d", "dictionary"))


def test_inputs_have_to_be_those_of_the_model():
    optional = Feature("more", "array", (1,), optional=True)
    require_inputs({"image": 0, "x": 0}, [RGB, ARRAY, optional])
    with pytest.raises(RequantError, match=r"no input 'imag'. Its inputs are image, x"):
        require_inputs({"imag": 0, "x": 0}, [RGB, ARRAY])
    with pytest.raises(RequantError, match="the input 'x' is missing"):
        require_inputs({"image": 0}, [RGB, ARRAY])


FLOATS = Feature("depth", "picture", (4, 5), "uint8", "GRAYSCALE_FLOAT16")


def test_a_picture_of_floats_is_neither_rounded_nor_saturated():
    numbers = np.random.default_rng(1).normal(0, 400, (4, 5)).astype(np.float32)
    expected = numbers.astype(np.float16).astype(np.float32)
    for value in (numbers, Image.fromarray(numbers)):
        np.testing.assert_array_equal(picture_to_tensor(value, FLOATS)[0, 0], expected)
    found = tensor_to_picture(numbers[np.newaxis, np.newaxis], FLOATS)
    assert found.mode == "F"
    np.testing.assert_array_equal(np.asarray(found), expected)
    grey = Image.fromarray(PIXELS[..., 0])
    np.testing.assert_array_equal(picture_to_tensor(grey, FLOATS)[0, 0], PIXELS[..., 0])


@pytest.mark.parametrize(("mode", "dtype"), [("I", np.int32), ("F", np.float32), ("I;16", np.uint16)])
@pytest.mark.parametrize("feature", [RGB, GREY])
def test_pictures_of_more_than_8_bits_are_not_cut_off_silently(feature, mode, dtype):
    picture = Image.fromarray(np.full((4, 5), 1000, dtype))
    assert picture.mode == mode
    with pytest.raises(RequantError, match=f"'image' is a picture of 8 bits per channel, .* of mode '{mode}'"):
        picture_to_tensor(picture, feature)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 4, 5), (4, 5)])
def test_an_output_that_is_no_picture_is_named(shape):
    with pytest.raises(RequantError, match="the output 'image' is declared as a RGB picture, but"):
        tensor_to_picture(np.zeros(shape), RGB)


def test_fractions_do_not_become_integers():
    feature = Feature("x", "array", (2,), "int32")
    np.testing.assert_array_equal(array_to_tensor([1.0, -3.0], feature), [1, -3])
    with pytest.raises(RequantError, match="'x' is an array of int32, but got numbers with a fraction"):
        array_to_tensor([1.0, 0.5], feature)


def test_rows_of_different_lengths_are_no_array():
    with pytest.raises(RequantError, match="'x' has rows of different lengths"):
        array_to_tensor([[1, 2, 3], [4]], ARRAY)


def test_a_missing_input_is_named_with_what_it_takes():
    with pytest.raises(RequantError, match="'image' is missing: give a picture of 5 x 4 pixels"):
        require_inputs({}, [RGB])
    with pytest.raises(RequantError, match=r"'x' is missing: give an array of shape \(2, 3\)"):
        require_inputs({}, [ARRAY])


@pytest.mark.parametrize(("feature", "mode"), [(RGB, "RGB"), (BGR, "RGB"), (GREY, "L"), (FLOATS, "F")])
@pytest.mark.parametrize("given", ["RGB", "RGBA", "L", "1", "P"])
def test_a_picture_in_the_mode_that_coremltools_takes(given, feature, mode):
    found = as_picture(Image.fromarray(PIXELS).convert(given), feature)
    assert (found.mode, found.size) == (mode, (5, 4))


def test_a_picture_without_a_colour_space_is_refused():
    with pytest.raises(RequantError, match="'image' is declared as a picture without a colour space"):
        as_picture(PIXELS, Feature("image", "picture", (4, 5), "uint8", "INVALID_COLOR_SPACE"))
