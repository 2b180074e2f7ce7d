"""Arithmetic on elements, one or two at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813

from requant.convert.onnx.operators.registry import Node, operator
from requant.convert.onnx.values import Value, cast, computed_as, is_known, is_variable, kind_of, scalar_like, variable
from requant.errors import RequantError

_FLOAT_OPERATIONS = {
    "Acos": "acos", "Asin": "asin", "Atan": "atan", "Atanh": "atanh", "Ceil": "ceil", "Cos": "cos", "Cosh": "cosh",
    "Erf": "erf", "Exp": "exp", "Floor": "floor", "Log": "log", "Round": "round", "Sin": "sin", "Sinh": "sinh",
    "Sqrt": "sqrt", "Tan": "tan", "Tanh": "tanh",
}  # fmt: skip
_ANY_OPERATIONS = {"Abs": "abs", "Sign": "sign"}
_BINARY = {"Add": "add", "Sub": "sub", "Mul": "mul"}
_VARIADIC = {"Sum": "add", "Max": "maximum", "Min": "minimum"}
_LARGEST = 3.4028235e38


@operator(*_FLOAT_OPERATIONS)
def unary(node: Node) -> Value:
    """A function of each number."""
    return getattr(mb, _FLOAT_OPERATIONS[node.kind])(x=node.tensor(0))


@operator(*_ANY_OPERATIONS)
def unary_of_any(node: Node) -> Value:
    """A function of each number, which may be an integer."""
    return getattr(mb, _ANY_OPERATIONS[node.kind])(x=node.tensor(0))


@operator("Neg")
def negated(node: Node) -> Value:
    """Each number with the other sign."""
    x = node.tensor(0)
    return mb.mul(x=x, y=scalar_like(-1, x))


@operator("Reciprocal")
def reciprocal(node: Node) -> Value:
    """One by each number."""
    return mb.real_div(x=np.float32(1), y=node.tensor(0))


@operator("Acosh")
def acosh(node: Node) -> Value:
    """`log(x + sqrt(x² - 1))`."""
    x = node.tensor(0)
    return mb.log(x=mb.add(x=x, y=mb.sqrt(x=mb.sub(x=mb.mul(x=x, y=x), y=np.float32(1)))))


@operator("Asinh")
def asinh(node: Node) -> Value:
    """`sign(x) * log(|x| + sqrt(x² + 1))`, which loses nothing for negative numbers."""
    x = node.tensor(0)
    size = mb.add(x=mb.abs(x=x), y=mb.sqrt(x=mb.add(x=mb.mul(x=x, y=x), y=np.float32(1))))
    return mb.mul(x=mb.sign(x=x), y=mb.log(x=size))


@operator(*_BINARY)
def binary(node: Node) -> Value:
    """The sum, difference or product of two arrays, broadcast."""
    return getattr(mb, _BINARY[node.kind])(x=node.tensor(0), y=node.tensor(1))


@operator("Div")
def division(node: Node) -> Value:
    """The quotient of two arrays; of integers, without what is after the point."""
    x, y = node.tensor(0), node.tensor(1)
    if kind_of(x) == "float":
        return mb.real_div(x=x, y=y)
    if _is_size(x):
        return mb.floor_div(x=x, y=y)
    size = mb.floor_div(x=mb.abs(x=x), y=mb.abs(x=y))
    return mb.mul(x=size, y=mb.mul(x=mb.sign(x=x), y=mb.sign(x=y)))


def _is_size(value: Any) -> bool:
    """Return whether a variable is a size, which is never negative: coremltools follows those as symbols."""
    return is_variable(value) and value.sym_val is not None


@operator("Mod")
def modulo(node: Node) -> Value:
    """The remainder, with the sign of the divisor, or with `fmod` of the dividend."""
    x, y = node.tensor(0), node.tensor(1)
    if not node.attribute("fmod", 0):
        return mb.mod(x=x, y=y)
    size = mb.mod(x=mb.abs(x=x), y=mb.abs(x=y))
    return mb.mul(x=size, y=mb.sign(x=x))


@operator("Pow")
def power(node: Node) -> Value:
    """`x` to the power of `y`, in the type of `x`."""
    x, exponent = node.tensor(0), node.given(1)
    if is_known(exponent) and exponent.size == 1 and exponent.ndim <= len(x.shape) and exponent.reshape(-1)[0] == 2:
        return mb.mul(x=x, y=x)
    y = cast(node.tensor(1), "float")
    return computed_as("float", lambda base: mb.pow(x=base, y=y), x)


@operator(*_VARIADIC)
def variadic(node: Node) -> Value:
    """The sum, the greatest or the smallest of any number of arrays, broadcast."""
    function = getattr(mb, _VARIADIC[node.kind])
    return combined(node, lambda x, y: function(x=x, y=y))


@operator("Mean")
def mean(node: Node) -> Value:
    """The mean of any number of arrays, broadcast."""
    total = combined(node, lambda x, y: mb.add(x=x, y=y))
    return mb.real_div(x=total, y=np.float32(len(node.inputs)))


def combined(node: Node, function: Callable[[Any, Any], Any]) -> Value:
    """Return all inputs of a node, brought together two by two."""
    values = [node.tensor(index) for index in range(len(node.inputs))]
    return reduce(function, values) if len(values) > 1 else mb.identity(x=values[0])


@operator("Clip")
def clip(node: Node) -> Value:
    """Each number, not below one limit nor above another."""
    x = node.tensor(0)
    limits: list[Any] = [node.value(1), node.value(2)]
    if node.opset < 11:
        limits = [np.array(node.attribute(*each), np.float32) for each in (("min", -_LARGEST), ("max", _LARGEST))]
    low, high = limits
    if kind_of(x) == "float" and _is_number(low) and _is_number(high) and float(low) <= float(high):
        return mb.clip(x=x, alpha=np.float32(low), beta=np.float32(high))
    if low is not None:
        x = mb.maximum(x=x, y=variable(low))
    if high is not None:
        x = mb.minimum(x=x, y=variable(high))
    return mb.identity(x=x) if low is None and high is None else x


def _is_number(value: Any) -> bool:
    return value is not None and is_known(value) and value.ndim == 0


@operator("Identity", "Dropout")
def identity(node: Node) -> list[Value]:
    """What goes in: a dropout drops nothing once a network is trained.

    Raises:
        RequantError: if a dropout's mask is used, or it is in training mode.
    """
    training = node.value(2) if node.kind == "Dropout" else None
    if node.uses(1) or (training is not None and (not is_known(training) or training.any())):
        raise RequantError("it drops values as in training, which a finished network does not. Export it for inference")
    return [node.given(0)]
