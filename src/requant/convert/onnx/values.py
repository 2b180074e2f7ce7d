"""Values of a network while it is translated: numbers that are known already, and variables of the MIL program.

A known value is an array with ONNX's own types, so that what computes shapes is computed as ONNX does it. It becomes a
constant of the program where an operation takes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813 - as everybody calls it
from coremltools.converters.mil.mil import Var, types
from coremltools.converters.mil.mil.types.symbolic import is_symbolic
from numpy.typing import NDArray

from requant.errors import RequantError

Array = NDArray[Any]
Value = Any  # an Array or coremltools' Var, which has no types
Kind = Literal["float", "int", "bool"]

_INT32 = np.iinfo(np.int32)
_MIL_NAMES: dict[Kind, str] = {"float": "fp32", "int": "int32", "bool": "bool"}
_DTYPES: dict[Kind, Any] = {"float": np.float32, "int": np.int32, "bool": np.bool_}


def is_known(value: Value) -> bool:
    """Return whether a value is an array rather than computed while the model runs."""
    return isinstance(value, np.ndarray)


def kind_of(value: Value) -> Kind:
    """Return what a value's elements are."""
    if is_known(value):
        return "bool" if value.dtype == np.bool_ else "float" if value.dtype.kind == "f" else "int"
    if types.is_bool(value.dtype):
        return "bool"
    return "int" if types.is_int(value.dtype) else "float"


def shape_of(value: Value) -> tuple[int | None, ...]:
    """Return a value's shape, with None for a size that is left open."""
    return tuple(None if is_symbolic(size) else int(size) for size in value.shape)


def rank_of(value: Value) -> int:
    """Return a value's number of axes."""
    return len(value.shape)


def known_size(value: Value, axis: int, purpose: str) -> int:
    """Return a size that has to be known.

    Raises:
        RequantError: if it is left open, saying what it would be needed for.
    """
    size = shape_of(value)[axis]
    if size is None:
        raise RequantError(
            f"{purpose} needs the size of axis {axis % rank_of(value)}, which the configuration leaves open"
        )
    return size


def mil_array(array: Array) -> Array:
    """Return an array in a type that MIL has.

    Raises:
        RequantError: if it is empty, or has integers that 32 bits do not hold.
    """
    if not array.size:
        raise RequantError(f"it uses an array without elements (shape {array.shape}), which Core ML does not have")
    if array.dtype == np.bool_ or array.dtype == np.int32:
        return array
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    if array.dtype.kind not in "iu":
        raise RequantError(f"it uses {array.dtype} numbers, which Core ML does not have")
    if array.max() > _INT32.max or array.min() < _INT32.min:
        raise RequantError("it uses integers that need more than the 32 bits which Core ML has")
    return array.astype(np.int32)


def settled(value: Value) -> Value:
    """Return what coremltools could work out of a variable already as an array, any other value as it is."""
    if is_known(value) or isinstance(value, list | tuple):
        return value
    if value.op is None or value.op.op_type == "const" or value.val is None:
        return value
    found = np.asarray(value.val)
    return found.astype(np.int32) if found.dtype == object else found  # the numbers left of a shape with symbols


def cast(value: Value, kind: Kind) -> Value:
    """Return a value with elements of a kind; what is not 0 is true."""
    found = kind_of(value)
    if found == kind:
        return value
    if is_known(value):
        return value.astype(_DTYPES[kind])
    if kind == "bool":
        return mb.not_equal(x=value, y=np.zeros((), _DTYPES[found])[()])
    return mb.cast(x=value, dtype=_MIL_NAMES[kind])


def computed_as(kind: Kind, function: Callable[[Value], Value], value: Value) -> Value:
    """Return what a function makes of a value that is cast for it, cast back to what the value was."""
    return cast(function(cast(value, kind)), kind_of(value))


def without_bool(function: Callable[[Value], Value], value: Value) -> Value:
    """Return what a function makes of a value, where the function takes numbers only."""
    return computed_as("int", function, value) if kind_of(value) == "bool" else function(value)


def variable(value: Value) -> Value:
    """Return a value as a variable of the program."""
    return mb.const(val=mil_array(value)) if is_known(value) else value


def scalar_like(number: float, value: Value) -> Any:
    """Return a number in the type of a value's elements, for an operation with both."""
    return _DTYPES[kind_of(value)](number)


def size_of(value: Value, axis: int) -> int | Value:
    """Return the size of an axis: a number, or a variable without axes."""
    axis %= rank_of(value)
    known = shape_of(value)[axis]
    if known is not None:
        return known
    return mb.slice_by_index(x=mb.shape(x=value), begin=[axis], end=[axis + 1], squeeze_mask=[True])


def shape_vector(sizes: Sequence[int | Value]) -> Value:
    """Return sizes, each a number or a variable without axes, as one vector; an array if all are known."""
    if all(isinstance(size, int | np.integer) for size in sizes):
        return np.array(sizes, np.int32)
    parts = [
        np.array([size], np.int32) if isinstance(size, int | np.integer) else mb.expand_dims(x=size, axes=[0])
        for size in sizes
    ]
    return mb.concat(values=[variable(part) for part in parts], axis=0)


def reshaped(value: Value, sizes: Sequence[int | Value | None]) -> Value:
    """Return a value in another shape.

    Args:
        value: what is reshaped.
        sizes: numbers, variables without axes, and None for one size that follows from the others.
    """
    if is_known(value) and all(size is None or isinstance(size, int | np.integer) for size in sizes):
        return value.reshape([-1 if size is None else int(size) for size in sizes])
    whole = [-1 if size is None else size for size in sizes]
    computed = [index for index, size in enumerate(whole) if not isinstance(size, int | np.integer)]
    if len(computed) == 1 and -1 not in [size for size in whole if isinstance(size, int | np.integer)]:
        whole[computed[0]] = -1
    return mb.reshape(x=variable(value), shape=shape_vector(whole))


def product_of(sizes: Sequence[int | Value]) -> int | Value:
    """Return the product of sizes, each a number or a variable without axes."""
    number = math.prod(int(size) for size in sizes if isinstance(size, int | np.integer))
    result: int | Value = number
    for size in sizes:
        if not isinstance(size, int | np.integer):
            result = size if isinstance(result, int) and result == 1 else mb.mul(x=size, y=_as_operand(result))
    return result


def _as_operand(size: int | Value) -> Any:
    return np.int32(size) if isinstance(size, int) else size


def transposed(value: Value, perm: Sequence[int]) -> Value:
    """Return a value with its axes in another order."""
    if list(perm) == list(range(rank_of(value))):
        return value
    if is_known(value):
        return value.transpose(perm)
    return mb.transpose(x=value, perm=list(perm))


def is_variable(value: Any) -> bool:
    """Return whether something is a variable of the program."""
    return isinstance(value, Var)


def spread(value: Value, shape: Sequence[int]) -> Value:
    """Return a value of known shape broadcast to another known shape."""
    if is_known(value):
        return np.broadcast_to(value, shape)
    own = shape_of(value)
    missing = len(shape) - len(own)
    if missing:
        value = mb.expand_dims(x=value, axes=list(range(missing)))
    times = [1 if size == new else new for size, new in zip((1,) * missing + own, shape, strict=True)]
    return value if all(time == 1 for time in times) else mb.tile(x=value, reps=times)
