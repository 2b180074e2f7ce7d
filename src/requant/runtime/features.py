"""What goes into a model and what comes out of it: pictures, arrays, dictionaries and labels, and their conversion.

The types are those of coremltools' `MLModel.predict`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from requant.coreml.description import Feature
from requant.errors import RequantError

Inputs = Mapping[str, Any]
Outputs = dict[str, Any]
_MODES = {"RGB": "RGB", "BGR": "RGB", "GRAYSCALE": "L", "GRAYSCALE_FLOAT16": "F"}


def require_inputs(inputs: Inputs, features: list[Feature]) -> None:
    """Make sure that the inputs are those that a model declares.

    Raises:
        RequantError: if one is missing or unknown.
    """
    known = [feature.name for feature in features]
    for name in inputs:
        if name not in known:
            raise RequantError(f"the model has no input {name!r}. Its inputs are {', '.join(known)}.")
    for feature in features:
        if feature.name not in inputs and not feature.optional:
            raise RequantError(f"the input {feature.name!r} is missing: give {expected(feature)}.")


def expected(feature: Feature) -> str:
    """Return what a model takes for an input, in words."""
    if feature.type == "picture":
        return f"a picture of {_allowed(feature)} pixels"
    if feature.type == "array":
        return f"an array of shape {_allowed(feature)}" if feature.shape else "an array"
    return {"dictionary": "a dictionary", "sequence": "a sequence", "label": "a label"}.get(feature.type, "a number")


def picture_to_tensor(value: Any, feature: Feature) -> NDArray[np.float32]:
    """Return a picture as float32 (1, channels, height, width), 0 to 255, in the model's colour layout.

    The numbers of a picture of floats (`GRAYSCALE_FLOAT16`) are any, rounded to float16.

    Args:
        value: what `as_picture` takes.
        feature: the input that it is for.

    Raises:
        RequantError: as `as_picture`.
    """
    pixels = np.asarray(as_picture(value, feature), np.float32)
    if feature.colour == "GRAYSCALE_FLOAT16":
        pixels = pixels.astype(np.float16).astype(np.float32)
    planes = pixels[np.newaxis] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return np.ascontiguousarray(planes[np.newaxis, ::-1] if feature.colour == "BGR" else planes[np.newaxis])


def as_picture(value: Any, feature: Feature) -> Image.Image:
    """Return a picture as the PIL image that coremltools takes: of mode `RGB`, `L`, or `F` for a picture of floats.

    Args:
        value: a PIL image of 8 bits per channel, or an array (height, width) or (height, width, 3), RGB, whose numbers
            are rounded and saturated. For a picture of floats also a PIL image of mode `F`, or any numbers.
        feature: the input that it is for.

    Raises:
        RequantError: if it has another size than the model declares, or is no picture of such numbers.
    """
    mode = _MODES.get(feature.colour)
    if not mode:
        raise RequantError(f"the input {feature.name!r} is declared as a picture without a colour space.")
    if isinstance(value, Image.Image):
        picture: Image.Image = value
    else:
        array = _picture_array(value, feature.name)
        floats = mode == "F" and array.ndim == 2
        picture = Image.fromarray(
            array.astype(np.float32) if floats else np.clip(np.round(array), 0, 255).astype(np.uint8)
        )
    if picture.mode.startswith(("I", "F")) and picture.mode != mode:
        raise RequantError(
            f"the input {feature.name!r} is a picture of 8 bits per channel, but got a PIL image of mode "
            f"{picture.mode!r}: bring its numbers to 0 to 255 and convert it to {mode!r}."
        )
    if not feature.accepts((picture.height, picture.width)):
        raise RequantError(
            f"the input {feature.name!r} is a picture of {_allowed(feature)} pixels, but got "
            f"{picture.width} x {picture.height}."
        )
    if picture.mode == mode:
        return picture
    return picture.convert("L").convert("F") if mode == "F" else picture.convert(mode)


def _picture_array(value: Any, name: str) -> NDArray[Any]:
    pixels = _array(value, name, f"the input {name!r} is a picture")
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise RequantError(
            f"the input {name!r} is a picture: give a PIL image or an array (height, width) or (height, width, 3), not "
            f"{type(value).__name__} of shape {pixels.shape}."
        )
    return pixels


def tensor_to_picture(tensor: NDArray[Any], feature: Feature) -> Image.Image:
    """Return a tensor (..., channels, height, width) as a picture: rounded, and saturated at 0 and 255.

    A picture of floats is neither: it is a PIL image of mode `F` with numbers of float16.

    Raises:
        RequantError: if the tensor is no single picture.
    """
    channels = 1 if feature.colour.startswith("GRAYSCALE") else 3
    if tensor.ndim < 3 or tensor.shape[-3] != channels or int(np.prod(tensor.shape[:-3])) != 1:
        raise RequantError(
            f"the output {feature.name!r} is declared as a {feature.colour} picture, but the model computes an array "
            f"of shape {tensor.shape}."
        )
    planes = tensor.reshape(tensor.shape[-3:])
    if feature.colour == "GRAYSCALE_FLOAT16":
        return Image.fromarray(planes[0].astype(np.float16).astype(np.float32))
    planes = np.clip(np.round(planes), 0, 255).astype(np.uint8)
    if channels == 1:
        return Image.fromarray(planes[0])
    ordered = planes[::-1] if feature.colour == "BGR" else planes
    return Image.fromarray(np.ascontiguousarray(ordered.transpose(1, 2, 0)))


def _allowed(feature: Feature) -> str:
    """Return which shapes a model takes, in words: width x height for pictures."""
    shapes = [feature.shape]
    if feature.sizes:
        shapes = list(feature.sizes)
    if feature.bounds:
        ranges = [_range(low, high) for low, high in feature.bounds]
        return " x ".join(reversed(ranges)) if feature.type == "picture" else f"({', '.join(ranges)})"
    if feature.type == "picture":
        return " or ".join(f"{width} x {height}" for height, width in shapes)
    return " or ".join(str(shape) for shape in shapes)


def _range(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high if high >= 0 else 'any number'}"


def array_to_tensor(value: Any, feature: Feature, sequence_axes: bool = False) -> NDArray[Any]:
    """Return an array in the type that a model declares.

    Args:
        value: the array.
        feature: the input that it is for.
        sequence_axes: whether it may have the axes (sequence, batch) or (batch) before those that the model declares.

    Raises:
        RequantError: if it has another shape than the model declares, or is not made of numbers.
    """
    array = _array(value, feature.name, f"the input {feature.name!r} is an array of numbers")
    leading = array.ndim - len(feature.shape) if sequence_axes and feature.shape else 0
    if not feature.accepts(array.shape[leading:] if 0 < leading <= 2 else array.shape):
        raise RequantError(
            f"the input {feature.name!r} is an array of shape {_allowed(feature)}, but got one of shape {array.shape}."
            + _as_core_ml_says(feature, array.shape)
        )
    wanted = np.dtype(feature.dtype)
    if wanted.kind in "iu" and array.dtype.kind == "f" and not np.array_equal(array, np.trunc(array)):
        raise RequantError(f"the input {feature.name!r} is an array of {wanted.name}, but got numbers with a fraction.")
    return array.astype(wanted)


def array_as_declared(array: NDArray[Any], feature: Feature) -> NDArray[Any]:
    """Return an array in the element type of the output that it is for, and in its shape if that is fixed."""
    fixed = feature.shape and not (feature.sizes or feature.bounds) and array.size == int(np.prod(feature.shape))
    return array.astype(feature.dtype).reshape(feature.shape if fixed else array.shape)


def _as_core_ml_says(feature: Feature, shape: tuple[int, ...]) -> str:
    """Return what Core ML says of a shape that is not allowed, for those who search for its message."""
    if feature.sizes:
        sizes = " x ".join(map(str, shape))
        return f" (MultiArray Shape ({sizes}) was not in enumerated set of allowed shapes)"
    for axis, (size, (low, high)) in enumerate(zip(shape, feature.bounds, strict=False)):
        if size < low or 0 <= high < size:
            return (
                f" (Size ({size}) of dimension ({axis}) is not in allowed range ({low}..{high if high >= 0 else -1}))"
            )
    return ""


def _array(value: Any, name: str, what: str) -> NDArray[Any]:
    """Return numbers as an array; `what` begins the message if they are none."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise RequantError(f"the input {name!r} has rows of different lengths.") from error
    if array.dtype.kind not in "iufb":
        raise RequantError(f"{what}, not {type(value).__name__}.")
    return array


def number_to_tensor(value: Any, feature: Feature) -> NDArray[Any]:
    """Return a number as a tensor without axes.

    Raises:
        RequantError: if it is not a number.
    """
    if not isinstance(value, int | float | np.number):
        raise RequantError(f"the input {feature.name!r} is a number, not {type(value).__name__}.")
    return np.asarray(value, np.float32)


def to_tensor(value: Any, feature: Feature) -> NDArray[Any]:
    """Return any input as the tensor that the network computes with."""
    if feature.type == "picture":
        return picture_to_tensor(value, feature)
    if feature.type == "array":
        return array_to_tensor(value, feature)
    if feature.type in ("number", "integer", "label"):
        return number_to_tensor(value, feature)
    raise RequantError(f"the input {feature.name!r} is of a type that requant can't pass yet ({feature.type}).")
