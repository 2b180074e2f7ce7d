"""Comparisons, logic, and the choice between values."""

from __future__ import annotations

from typing import Any

import numpy as np
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from onnx import TensorProto

from requant.convert.onnx.operators.registry import Node, operator
from requant.convert.onnx.values import Kind, Value, cast, kind_of, shape_of, spread, variable
from requant.errors import RequantError

_COMPARISONS = {
    "Equal": "equal", "Greater": "greater", "GreaterOrEqual": "greater_equal", "Less": "less",
    "LessOrEqual": "less_equal",
}  # fmt: skip
_LOGIC = {"And": "logical_and", "Or": "logical_or", "Xor": "logical_xor"}
_NOT_NUMBERS = (TensorProto.STRING, TensorProto.COMPLEX64, TensorProto.COMPLEX128)


@operator(*_COMPARISONS)
def comparison(node: Node) -> Value:
    """Two arrays compared element by element, broadcast."""
    x, y = (cast(each, "int") if kind_of(each) == "bool" else each for each in (node.tensor(0), node.tensor(1)))
    return getattr(mb, _COMPARISONS[node.kind])(x=x, y=y)


@operator(*_LOGIC)
def logic(node: Node) -> Value:
    """Two truths joined, broadcast."""
    return getattr(mb, _LOGIC[node.kind])(x=node.tensor(0), y=node.tensor(1))


@operator("Not")
def negation(node: Node) -> Value:
    """The other truth."""
    return mb.logical_not(x=node.tensor(0))


@operator("IsNaN")
def is_nan(node: Node) -> Value:
    """Whether a number is none, and so unequal to itself."""
    x = node.tensor(0)
    return mb.not_equal(x=x, y=x)


@operator("IsInf")
def is_infinite(node: Node) -> Value:
    """Whether a number is infinite, with one sign or with any."""
    x = node.tensor(0)
    positive, negative = node.attribute("detect_positive", 1), node.attribute("detect_negative", 1)
    if positive and negative:
        return mb.equal(x=mb.abs(x=x), y=np.float32(np.inf))
    if not positive and not negative:
        return mb.logical_and(x=mb.equal(x=x, y=x), y=mb.not_equal(x=x, y=x))
    return mb.equal(x=x, y=np.float32(np.inf if positive else -np.inf))


@operator("Where")
def where(node: Node) -> Value:
    """Elements of one array or of another, broadcast."""
    condition, x, y = (node.tensor(index) for index in range(3))
    shapes = [shape_of(value) for value in (condition, x, y)]
    if not any(None in shape for shape in shapes):
        whole = np.broadcast_shapes(*shapes)  # type: ignore[arg-type]
        condition, x, y = (variable(spread(value, whole)) for value in (node.given(0), node.given(1), node.given(2)))
        return mb.select(cond=condition, a=x, b=y)
    # MIL infers the shape of a choice from what is chosen; zeros in the condition's shape give that shape to both.
    kind = kind_of(x)
    number: Kind = "int" if kind == "bool" else kind
    zeros = mb.mul(x=cast(condition, number), y=_zero(number))
    x, y = (mb.add(x=cast(value, number), y=zeros) for value in (x, y))
    return cast(mb.select(cond=condition, a=x, b=y), kind)


def _zero(kind: Kind) -> Any:
    return np.float32(0) if kind == "float" else np.int32(0)


@operator("Cast", "CastLike")
def cast_to(node: Node) -> Value:
    """The same elements in another type: truths, 32-bit integers, or floating numbers.

    Integers of other sizes are kept in 32 bits, so that nothing wraps around.

    Raises:
        RequantError: if the type is not one of numbers.
    """
    x = node.tensor(0)
    if node.kind == "CastLike":
        return _copied(cast(x, kind_of(node.given(1))), x)
    to = node.attribute("to")
    if to in _NOT_NUMBERS:
        raise RequantError(f"it makes {TensorProto.DataType.Name(to)} of numbers, which Core ML does not have")
    kind: Kind = "bool" if to == TensorProto.BOOL else "float" if to in _FLOATS else "int"
    return _copied(cast(x, kind), x)


_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)


def _copied(value: Value, x: Value) -> Value:
    return mb.identity(x=value) if value is x else value
