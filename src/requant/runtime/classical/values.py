"""The inputs and outputs of models that are no networks, as plain values of the types that the model declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from requant.coreml.description import Feature
from requant.coreml.model import Model
from requant.errors import RequantError
from requant.runtime.features import Inputs, array_as_declared, array_to_tensor

_NUMERIC = ("array", "number", "integer")


def plain_value(value: Any, feature: Feature) -> Any:
    """Return an input in the type that the model declares.

    Returns:
        An array in the declared element type, a float, an int, a str, a dictionary from strings or ints to floats,
        or a list; a picture as it is.

    Raises:
        RequantError: if it is of another type.
    """
    if feature.type == "array":
        return array_to_tensor(_in_declared_shape(np.asarray(value), feature), feature)
    if feature.type == "number":
        return _number(value, feature.name)
    if feature.type in ("string", "integer", "label"):
        return _key(value, "integer" if "integer" in (feature.type, feature.keys) else "string", feature.name)
    if feature.type == "dictionary":
        if not isinstance(value, Mapping):
            raise RequantError(f"the input {feature.name!r} is a dictionary, not {type(value).__name__}.")
        # A converted `DictVectorizer` of integers declares strings, so that both have to be taken whatever is declared.
        kinds = {key: "string" if isinstance(key, str) else "integer" for key in value}
        return {_key(key, kinds[key], feature.name): _number(item, feature.name) for key, item in value.items()}
    if feature.type == "sequence":
        if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray):
            raise RequantError(f"the input {feature.name!r} is a sequence, not {type(value).__name__}.")
        return [_key(item, feature.keys, feature.name) for item in value]
    return value


def _in_declared_shape(array: NDArray[Any], feature: Feature) -> NDArray[Any]:
    """Return an array without the axes of size 1 that it has before those that the model declares.

    Core ML takes a row of a table, (1, n), for (n,): coremltools' tests of its converters hold it to that.
    """
    extra = array.ndim - len(feature.shape)
    return array.reshape(array.shape[extra:]) if extra > 0 and set(array.shape[:extra]) == {1} else array


def _number(value: Any, name: str) -> float:
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if not isinstance(value, int | float | np.number):
        raise RequantError(f"the input {name!r} takes a number, not {type(value).__name__}.")
    return float(value)


def _key(value: Any, kind: str, name: str) -> str | int:
    if kind == "string":
        if not isinstance(value, str):
            raise RequantError(f"the input {name!r} takes strings, not {type(value).__name__}.")
        return str(value)
    number = _number(value, name)
    if number != int(number):
        raise RequantError(f"the input {name!r} takes whole numbers, not {number}.")
    return int(value)


def declared_value(value: Any, feature: Feature) -> Any:
    """Return what was computed in the type of the output that it is for.

    Raises:
        RequantError: if the output is an integer and the value is not, or the sizes do not fit.
    """
    if feature.type == "array":
        return array_as_declared(np.asarray(value), feature)
    if feature.type in ("number", "integer"):
        flat = np.asarray(value).reshape(-1)
        if flat.size != 1:
            raise RequantError(f"the output {feature.name!r} is one number, but the model computes {flat.size}.")
        number = flat[0].item()
        if feature.type == "integer" and number != np.floor(number):
            raise RequantError(f"the output {feature.name!r} is a whole number, but the model computes {number}.")
        return int(number) if feature.type == "integer" else float(number)
    return value


def one_input(model: Model, inputs: list[Feature]) -> Feature:
    """Return the only input of a model that has to have just one.

    Raises:
        RequantError: if it has none or several.
    """
    if len(inputs) != 1:
        raise RequantError(f"{model.path}: a model of this type has one input, but this one declares {len(inputs)}.")
    return inputs[0]


def require_numeric(model: Model, features: list[Feature]) -> None:
    """Make sure that inputs can be lined up in one vector.

    Raises:
        RequantError: if one is neither an array nor a number.
    """
    for feature in features:
        if feature.type not in _NUMERIC:
            raise RequantError(
                f"{model.path}: the input {feature.name!r} is neither an array nor a number, as models of this type "
                "take them."
            )


def required(inputs: Inputs, name: str) -> Any:
    """Return an input that the model can't do without, though it may declare it as optional.

    Raises:
        RequantError: if it was left out.
    """
    if name not in inputs:
        raise RequantError(f"the input {name!r} was left out, and the model does not say what stands for it.")
    return inputs[name]


def vector_of(inputs: Inputs, features: list[Feature], missing: float | None = None) -> NDArray[np.float64]:
    """Return all inputs in one vector, float64, in the order in which the model declares them.

    Args:
        inputs: arrays and numbers by name.
        features: the inputs that the model declares.
        missing: stands for each element of an input that was left out.

    Raises:
        RequantError: if an input was left out and nothing stands for it.
    """
    parts = []
    for feature in features:
        left_out = missing is not None and feature.name not in inputs
        value = np.full(feature.shape, missing) if left_out else required(inputs, feature.name)
        parts.append(np.asarray(value, np.float64).reshape(-1))
    return np.concatenate(parts) if parts else np.zeros(0)
