"""One prediction, from files and text to files and text: what `requant predict` does."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from requant.errors import RequantError
from requant.evaluate.data.pictures import fitted, read_picture
from requant.records import write_whole

if TYPE_CHECKING:
    from requant.coreml.description import Feature

_SHOWN_CLASSES = 5
_SHOWN_NUMBERS = 6


def read_inputs(given: Sequence[str], features: Sequence[Feature]) -> dict[str, Any]:
    """Return a model's inputs from what was given on the command line.

    Args:
        given: `NAME=VALUE` each, or only `VALUE` for a model with one input. The value of a picture is a file, which is
            cropped and scaled to the size that the model wants; of an array an `.npy` file, an `.npz` file (its array
            of that name, or its only one) or JSON; of a dictionary a `.json` file or JSON; of a sequence JSON;
            otherwise text or a number.
        features: the model's inputs.

    Raises:
        RequantError: if an input is unknown, is given twice, or its value can't be read.
    """
    by_name = {feature.name: feature for feature in features}
    inputs: dict[str, Any] = {}
    for text in given:
        name, value = _split(text, features)
        if name not in by_name:
            raise RequantError(f"the model has no input {name!r}. Its inputs are {', '.join(by_name)}.")
        if name in inputs:
            raise RequantError(f"the input {name!r} is given twice.")
        inputs[name] = _read(value, by_name[name])
    return inputs


def _split(text: str, features: Sequence[Feature]) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if separator and any(feature.name == name for feature in features):
        return name, value
    if len(features) == 1 and (not separator or Path(text).exists()):
        return features[0].name, text
    if separator:
        return name, value
    names = ", ".join(feature.name for feature in features)
    raise RequantError(f"say which input {text!r} is: NAME={text}. The model's inputs are {names}.")


def _read(value: str, feature: Feature) -> Any:
    if feature.type == "picture":
        picture = read_picture(Path(value))
        return picture if feature.accepts((picture.height, picture.width)) else fitted(picture, feature)
    if feature.type == "array" and value.endswith((".npy", ".npz")):
        return _read_array(Path(value), feature.name)
    if feature.type == "dictionary" and value.endswith(".json"):
        try:
            value = Path(value).read_text()
        except OSError as error:
            raise RequantError(f"{value} can't be read: {error.strerror or error}.") from error
    if feature.type in ("array", "dictionary", "sequence", "number", "integer"):
        return _parse(value, feature)
    return value


def _parse(value: str, feature: Feature) -> Any:
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise RequantError(
            f"the value of the input {feature.name!r} is neither a file nor JSON, as {_example(feature)}: {error}."
        ) from error


def _example(feature: Feature) -> str:
    examples = {"array": "[1, 2.5]", "dictionary": '{"word": 2}', "sequence": "[1, 2]", "integer": "2"}
    return examples.get(feature.type, "2.5")


def _read_array(path: Path, name: str) -> NDArray[Any]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            if name not in loaded.files and len(loaded.files) != 1:
                raise RequantError(f"{path} has no array {name!r}; it has {', '.join(loaded.files)}.")
            array: NDArray[Any] = loaded[name if name in loaded.files else loaded.files[0]]
            return array
    except RequantError:
        raise
    except Exception as error:  # of damaged files, numpy raises whatever comes of them
        raise RequantError(f"{path} can't be read as an array: {error}.") from error


def describe_outputs(outputs: Mapping[str, Any]) -> str:
    """Return outputs in words, a line or a few each: labels with their probabilities, figures of arrays."""
    return "\n".join(f"{name}: {_in_words(value)}" for name, value in outputs.items())


def _in_words(value: Any) -> str:
    if isinstance(value, Image.Image):
        return f"a picture of {value.width} x {value.height} pixels"
    if isinstance(value, dict):
        ordered = sorted(value.items(), key=lambda item: -item[1])[:_SHOWN_CLASSES]
        return ", ".join(f"{label} {number:.4f}" for label, number in ordered)
    if isinstance(value, np.ndarray) and value.ndim:
        return _array_in_words(value)
    return str(value)


def _array_in_words(array: NDArray[Any]) -> str:
    shape = " x ".join(map(str, array.shape))
    if not array.size:
        return f"{array.dtype} {shape}, empty"
    start = ", ".join(f"{number:.5g}" for number in array.reshape(-1)[:_SHOWN_NUMBERS].tolist())
    more = ", ..." if array.size > _SHOWN_NUMBERS else ""
    numbers = array.astype(np.float64)
    return (
        f"{array.dtype} {shape}, {numbers.min():.5g} to {numbers.max():.5g}, mean {numbers.mean():.5g}: {start}{more}"
    )


def write_outputs(outputs: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write outputs into a folder and return the files: pictures as NAME.png, arrays in outputs.npz, others as text.

    A label or a number becomes NAME.txt, a dictionary NAME.json.

    Raises:
        RequantError: if the folder can't be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = {name: value for name, value in outputs.items() if isinstance(value, np.ndarray)}
        contents = {folder / f"{_file_name(n)}{s}": data for n, v in outputs.items() for s, data in _content(v)}
        if arrays:
            buffer = io.BytesIO()
            np.savez(buffer, **arrays)
            contents[folder / "outputs.npz"] = buffer.getvalue()
        for path, data in contents.items():
            write_whole(path, data)
    except OSError as error:
        raise RequantError(f"{folder} can't be written to: {error.strerror or error}.") from error
    return list(contents)


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)


def _content(value: Any) -> list[tuple[str, bytes]]:
    """Return the ending and the bytes of a value's own file; none for an array."""
    if isinstance(value, np.ndarray):
        return []
    if isinstance(value, Image.Image):
        buffer = io.BytesIO()
        value.save(buffer, "PNG")
        return [(".png", buffer.getvalue())]
    if isinstance(value, dict):
        return [(".json", (json.dumps({str(k): v for k, v in value.items()}, indent=1) + "\n").encode())]
    return [(".txt", f"{value}\n".encode())]
