"""Layers that compute each number from the numbers in its place. Truth is 1, its opposite 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from requant.runtime.graph import Graph, Tensor
from requant.runtime.layers.context import Array, Context
from requant.runtime.layers.registry import layer
from requant.runtime.operations import elementwise_binary as binary
from requant.runtime.operations import elementwise_unary as unary

_EPSILON = 1e-6
_NODES = {
    "acos": "Acos", "acosh": "Acosh", "asin": "Asin", "asinh": "Asinh", "atan": "Atan", "atanh": "Atanh",
    "ceil": "Ceil", "cos": "Cos", "cosh": "Cosh", "erf": "Erf", "floor": "Floor", "round": "Round", "sign": "Sign",
    "sin": "Sin", "sinh": "Sinh", "tan": "Tan", "tanh": "Tanh",
}  # fmt: skip
_BROADCASTABLE = {
    "addBroadcastable": binary.add,
    "divideBroadcastable": binary.real_div,
    "floorDivBroadcastable": binary.floor_div,
    "maxBroadcastable": binary.maximum,
    "minBroadcastable": binary.minimum,
    "modBroadcastable": binary.mod,
    "multiplyBroadcastable": binary.mul,
    "powBroadcastable": binary.pow_,
    "subtractBroadcastable": binary.sub,
}
_COMPARISONS = {
    "equal": binary.equal,
    "greaterEqual": binary.greater_equal,
    "greaterThan": binary.greater,
    "lessEqual": binary.less_equal,
    "lessThan": binary.less,
    "notEqual": binary.not_equal,
}
_LOGIC = {"logicalAnd": binary.logical_and, "logicalOr": binary.logical_or, "logicalXor": binary.logical_xor}
_SQRT, _RSQRT, _INVERSE, _POWER, _EXP, _LOG, _ABS, _THRESHOLD = range(8)

Function = Callable[[Graph, Tensor, Tensor], Tensor]


@layer("unary")
def unary_function(context: Context, layer: Any, x: Array) -> list[Tensor]:
    """One of eight functions of `scale * x + shift`; the logarithm adds the epsilon, too, as in Apple's tests."""
    params, graph = layer.unary, context.graph
    epsilon, tensor = params.epsilon or _EPSILON, x.tensor
    if params.scale not in (0, 1):
        tensor = graph.node("Mul", tensor, graph.scalar(params.scale))
    if params.shift:
        tensor = graph.node("Add", tensor, graph.scalar(params.shift))
    functions: dict[int, Callable[[], Tensor]] = {
        _SQRT: lambda: unary.sqrt(graph, tensor),
        _RSQRT: lambda: unary.rsqrt(graph, tensor, epsilon),
        _INVERSE: lambda: unary.inverse(graph, tensor, epsilon),
        _POWER: lambda: graph.node("Pow", tensor, graph.scalar(params.alpha)),
        _EXP: lambda: unary.exp(graph, tensor),
        _LOG: lambda: unary.log(graph, tensor, epsilon),
        _ABS: lambda: unary.abs_(graph, tensor),
        _THRESHOLD: lambda: unary.threshold(graph, tensor, params.alpha),
    }
    return [functions[params.type]()]


def _register_node(kind: str, node: str) -> None:
    @layer(kind)
    def translate(context: Context, layer: Any, x: Array) -> list[Tensor]:
        del layer
        return [context.graph.node(node, x.tensor)]


def _register_binary(kind: str, function: Function) -> None:
    @layer(kind)
    def translate(context: Context, layer: Any, x: Array, y: Array) -> list[Tensor]:
        del layer
        return [context.graph.cast(function(context.graph, x.tensor, y.tensor), "float32")]


def _register_comparison(kind: str, function: Function) -> None:
    @layer(kind)
    def translate(context: Context, layer: Any, x: Array, *others: Array) -> list[Tensor]:
        graph = context.graph
        other = others[0].tensor if others else graph.scalar(getattr(layer, kind).alpha)
        return [graph.cast(function(graph, x.tensor, other), "float32")]


for _kind, _node in _NODES.items():
    _register_node(_kind, _node)
for _kind, _function in (_BROADCASTABLE | _LOGIC).items():
    _register_binary(_kind, _function)
for _kind, _function in _COMPARISONS.items():
    _register_comparison(_kind, _function)


@layer("clip")
def clip(context: Context, layer: Any, x: Array) -> list[Tensor]:
    """`min(max(x, minVal), maxVal)`."""
    return [unary.clip(context.graph, x.tensor, layer.clip.minVal, layer.clip.maxVal)]


@layer("exp2")
def exp2(context: Context, layer: Any, x: Array) -> list[Tensor]:
    """The power of 2."""
    del layer
    return [unary.exp2(context.graph, x.tensor)]


@layer("logicalNot")
def logical_not(context: Context, layer: Any, x: Array) -> list[Tensor]:
    """1 where a number is 0, and 0 elsewhere."""
    del layer
    return [context.graph.cast(unary.logical_not(context.graph, x.tensor), "float32")]


@layer("add")
def add(context: Context, layer: Any, *inputs: Array) -> list[Tensor]:
    """A sum, or the sum of one tensor and a number."""
    return [_combined(context, binary.add, inputs, layer.add.alpha)]


@layer("multiply")
def multiply(context: Context, layer: Any, *inputs: Array) -> list[Tensor]:
    """A product, or the product of one tensor and a number."""
    return [_combined(context, binary.mul, inputs, layer.multiply.alpha)]


@layer("average")
def average(context: Context, layer: Any, *inputs: Array) -> list[Tensor]:
    """The mean of the tensors."""
    del layer
    total = _combined(context, binary.add, inputs)
    return [context.graph.node("Div", total, context.graph.scalar(len(inputs)))]


@layer("max")
def maximum(context: Context, layer: Any, *inputs: Array) -> list[Tensor]:
    """The greatest of the tensors' numbers."""
    del layer
    return [_combined(context, binary.maximum, inputs)]


@layer("min")
def minimum(context: Context, layer: Any, *inputs: Array) -> list[Tensor]:
    """The least of the tensors' numbers."""
    del layer
    return [_combined(context, binary.minimum, inputs)]


def _combined(context: Context, function: Function, inputs: tuple[Array, ...], alone: float | None = None) -> Tensor:
    """Return all tensors combined; one alone is combined with a number, if that is given."""
    graph, result = context.graph, inputs[0].tensor
    if len(inputs) == 1 and alone is not None:
        return function(graph, result, graph.scalar(alone))
    for other in inputs[1:]:
        result = function(graph, result, other.tensor)
    return result
