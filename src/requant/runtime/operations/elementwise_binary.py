"""Elementwise operations on two tensors, which broadcast as numpy does.

Integers are int32. A quotient, remainder or power of integers is an integer, too, for MIL gives results the type of
their operands.
"""

from __future__ import annotations

import numpy as np

from requant.runtime.graph import Graph, Tensor
from requant.runtime.operations.registry import operation


@operation
def add(graph: Graph, x: Tensor, y: Tensor) -> Tensor:
    """`x + y`."""
    return _arithmetic(graph, "Add", x, y)


@operation
def sub(graph: Graph, x: Tensor, y: Tensor) -> Tensor:
    """`x - y`."""
    return _arithmetic(graph, "Sub", x, y)


@operation
def mul(graph: Graph, x: Tensor, y: Tensor) -> Tensor:
    """`x * y`."""
    return _hard_swish(graph, x, y) or _hard_swish(graph, y, x) or _arithmetic(graph, "Mul", x, y)


def _hard_swish(graph: Graph, x: Tensor, y: Tensor) -> Tensor | None:
    """Return `x * y` as one node, where it is what coremltools writes for `hard_swish`; else None.

    That is `t * sigmoid_hard(t)` with `t = thresholded_relu(z)`; ONNX Runtime joins the one node with a convolution.
    """
    if not (x.maker and y.maker and x.maker.kind == "ThresholdedRelu" and y.maker.kind == "HardSigmoid"):
        return None
    slopes = y.maker.attributes
    is_hard_swish = (
        y.maker.inputs[0].name == x.name
        and np.isclose(x.maker.attributes["alpha"], -3)
        and np.isclose(slopes["alpha"], 1 / 6)
        and slopes["beta"] == 0.5
    )
    return graph.node("HardSwish", x.maker.inputs[0]) if is_hard_swish else None


@operation
def maximum(graph: Graph, x: Tensor, y: Tensor) -> Tensor:
    """The greater of both."""
    return _arithmetic(graph, "Max", x, y)


@operation
def minimum(graph: Graph, x: Tensor, y: Tensor) -> Tensor:
    """The lesser of both."""
    return _arithmetic(graph, "Min", x, y)


@operation
def real_div(graph: Graph, x: Tensor, y: Tensor) -> Tensor:
    """`x / y`; of integers, the quotient without its fraction."""
    x, y = alike(graph, x, y)
    if x.dtype == "float32":
        return graph.node("Div", x, y)
    return graph.cast(graph.node("Div", graph.cast(x, "float64"), graph.cast(y, "float64")), x.dtype)


@operation
def floor_div(graph: Graph, x: Tensor, y: Tensor) -> Tensor:
    """`x / y`, rounded towards negative infinity."""
    x, y = alike(graph, x, y)
    known = _known(x, y)
    if known:
        return graph.constant(np.floor_divide(*known))
    if x.dtype == "float32":
        return graph.node("Floor", graph.node("Div", x, y))
    return graph.cast(_whole_quotient(graph, x, y), x.dtype)


@operation
def mod(graph: Graph, x: Tensor, y: Tensor) -> Tensor:
    """The remainder of `x / y`, which has the sign of `y`."""
    x, y = alike(graph, x, y)
    known = _known(x, y)
    if known:
        return graph.constant(np.mod(*known))
    if x.dtype != "float32":
        quotient = graph.cast(_whole_quotient(graph, x, y), x.dtype)
        return graph.node("Sub", x, graph.node("Mul", quotient, y))
    rest, zero = graph.node("Mod", x, y, fmod=1), graph.scalar(0)
    signs_differ = graph.node("Less", graph.node("Mul", graph.node("Sign", rest), graph.node("Sign", y)), zero)
    return graph.node("Where", signs_differ, graph.node("Add", rest, y), rest)


@operation
def pow_(graph: Graph, x: Tensor, y: Tensor) -> Tensor:
    """`x` to the power of `y`."""
    return _arithmetic(graph, "Pow", x, y)


@operation
def equal(graph: Graph, x: Tensor, y: Tensor) -> Tensor:
    """Whether both are the same."""
    return graph.node("Equal", *alike(graph, x, y))


@operation
def not_equal(graph: Graph, x: Tensor, y: Tensor) -> Tensor:
    """Whether both differ."""
    return graph.node("Not", equal(graph, x, y))


@operation
def greater(graph: Graph, x: Tensor, y: Tensor) -> Tensor:
    """Whether `x` is greater than `y`."""
    return _arithmetic(graph, "Greater", x, y)


@operation
def greater_equal(graph: Graph, x: Tensor, y: Tensor) -> Tensor:
    """Whether `x` is greater than `y` or the same."""
    return _arithmetic(graph, "GreaterOrEqual", x, y)


@operation
def less(graph: Graph, x: Tensor, y: Tensor) -> Tensor:
    """Whether `x` is less than `y`."""
    return _arithmetic(graph, "Less", x, y)


@operation
def less_equal(graph: Graph, x: Tensor, y: Tensor) -> Tensor:
    """Whether `x` is less than `y` or the same."""
    return _arithmetic(graph, "LessOrEqual", x, y)


@operation
def logical_and(graph: Graph, x: Tensor, y: Tensor) -> Tensor:
    """Whether both hold."""
    return graph.node("And", graph.cast(x, "bool"), graph.cast(y, "bool"))


@operation
def logical_or(graph: Graph, x: Tensor, y: Tensor) -> Tensor:
    """Whether one of both holds, or both do."""
    return graph.node("Or", graph.cast(x, "bool"), graph.cast(y, "bool"))


@operation
def logical_xor(graph: Graph, x: Tensor, y: Tensor) -> Tensor:
    """Whether one of both holds."""
    return graph.node("Xor", graph.cast(x, "bool"), graph.cast(y, "bool"))


def alike(graph: Graph, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return both tensors in the type that holds the numbers of both."""
    kinds = {x.dtype, y.dtype}
    if len(kinds) == 1:
        return x, y
    dtype = next(name for name in ("float32", "int64", "int32") if name in kinds)
    return graph.cast(x, dtype), graph.cast(y, dtype)


def _arithmetic(graph: Graph, kind: str, x: Tensor, y: Tensor) -> Tensor:
    """Add a node that knows no bools."""
    x, y = alike(graph, x, y)
    if x.dtype == "bool":
        x, y = graph.cast(x, "int32"), graph.cast(y, "int32")
    return graph.node(kind, x, y)


def _known(x: Tensor, y: Tensor) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the values of integers that are known before the model runs and can be divided."""
    if x.value is None or y.value is None or x.dtype == "float32" or not y.value.all():
        return None
    return x.value, y.value


def _whole_quotient(graph: Graph, x: Tensor, y: Tensor) -> Tensor:
    """Return a quotient of integers, rounded down, in float64.

    That is exact for 32 bits, and a division by zero does not end the process, as one of integers does.
    """
    return graph.node("Floor", graph.node("Div", graph.cast(x, "float64"), graph.cast(y, "float64")))
