"""Activation functions."""

from __future__ import annotations

import numpy as np
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813

from requant.convert.onnx.operators.registry import Node, operator
from requant.convert.onnx.values import (
    Value,
    cast,
    is_known,
    kind_of,
    rank_of,
    reshaped,
    scalar_like,
    shape_of,
    size_of,
)

_SIMPLE = {"Relu": "relu", "Sigmoid": "sigmoid", "Softplus": "softplus", "Softsign": "softsign"}


@operator(*_SIMPLE)
def simple(node: Node) -> Value:
    """An activation without parameters."""
    x = node.tensor(0)
    if kind_of(x) == "int":  # a ReLU of integers
        return mb.maximum(x=x, y=scalar_like(0, x))
    return getattr(mb, _SIMPLE[node.kind])(x=x)


@operator("Elu")
def elu(node: Node) -> Value:
    """`alpha * (exp(x) - 1)` below 0."""
    return mb.elu(x=node.tensor(0), alpha=np.float32(node.attribute("alpha", 1.0)))


@operator("Selu")
def selu(node: Node) -> Value:
    """A scaled ELU."""
    alpha = node.attribute("alpha", 1.67326319217681884765625)
    gamma = node.attribute("gamma", 1.05070102214813232421875)
    return mb.mul(x=mb.elu(x=node.tensor(0), alpha=np.float32(alpha)), y=np.float32(gamma))


@operator("Celu")
def celu(node: Node) -> Value:
    """`alpha * (exp(x / alpha) - 1)` below 0."""
    alpha = np.float32(node.attribute("alpha", 1.0))
    return mb.mul(x=mb.elu(x=mb.mul(x=node.tensor(0), y=np.float32(1 / alpha)), alpha=np.float32(1)), y=alpha)


@operator("LeakyRelu")
def leaky_relu(node: Node) -> Value:
    """`alpha * x` below 0."""
    return mb.leaky_relu(x=node.tensor(0), alpha=np.float32(node.attribute("alpha", 0.01)))


@operator("PRelu")
def prelu(node: Node) -> Value:
    """`slope * x` below 0, with a slope for each channel or any array of slopes."""
    x, slope = node.tensor(0), node.given(1)
    if is_known(slope) and rank_of(x) >= 3 and _is_per_channel(slope.shape, shape_of(x)):
        return mb.prelu(x=x, alpha=node.weight(slope.reshape(-1).astype(np.float32), 1))
    if kind_of(x) == "int":
        zero = scalar_like(0, x)
        return mb.add(x=mb.maximum(x=x, y=zero), y=mb.mul(x=mb.minimum(x=x, y=zero), y=node.tensor(1)))
    below = mb.mul(x=mb.minimum(x=x, y=np.float32(0)), y=node.tensor(1))
    return mb.add(x=mb.relu(x=x), y=below)


def _is_per_channel(slope: tuple[int, ...], shape: tuple[int | None, ...]) -> bool:
    """Return whether an array of slopes, aligned with the last axes, has one for each channel."""
    whole = (1,) * (len(shape) - len(slope)) + slope
    return len(whole) == len(shape) and whole[1] == shape[1] and all(s == 1 for i, s in enumerate(whole) if i != 1)


@operator("ThresholdedRelu")
def thresholded_relu(node: Node) -> Value:
    """Numbers above `alpha`, others as 0."""
    x = node.tensor(0)
    return mb.mul(x=x, y=cast(mb.greater(x=x, y=np.float32(node.attribute("alpha", 1.0))), "float"))


@operator("HardSigmoid")
def hard_sigmoid(node: Node) -> Value:
    """`alpha * x + beta`, not below 0 nor above 1."""
    alpha, beta = node.attribute("alpha", 0.2), node.attribute("beta", 0.5)
    return mb.sigmoid_hard(x=node.tensor(0), alpha=np.float32(alpha), beta=np.float32(beta))


@operator("HardSwish")
def hard_swish(node: Node) -> Value:
    """`x` times a hard sigmoid of it."""
    x = node.tensor(0)
    return mb.mul(x=x, y=mb.sigmoid_hard(x=x, alpha=np.float32(1 / 6), beta=np.float32(0.5)))


@operator("Swish")
def swish(node: Node) -> Value:
    """`x` times a sigmoid of `alpha * x`."""
    x, alpha = node.tensor(0), node.attribute("alpha", 1.0)
    return mb.silu(x=x) if alpha == 1 else mb.mul(x=x, y=mb.sigmoid(x=mb.mul(x=x, y=np.float32(alpha))))


@operator("Mish")
def mish(node: Node) -> Value:
    """`x * tanh(softplus(x))`."""
    x = node.tensor(0)
    return mb.mul(x=x, y=mb.tanh(x=mb.softplus(x=x)))


@operator("Gelu")
def gelu(node: Node) -> Value:
    """`x` times the share of the normal distribution below it, or tanh's approximation of that."""
    mode = "TANH_APPROXIMATION" if node.attribute("approximate", "none") == "tanh" else "EXACT"
    return mb.gelu(x=node.tensor(0), mode=mode)


@operator("Shrink")
def shrink(node: Node) -> Value:
    """Numbers near 0 as 0, others moved towards it."""
    x, limit, bias = node.tensor(0), np.float32(node.attribute("lambd", 0.5)), np.float32(node.attribute("bias", 0.0))
    above = mb.mul(x=mb.sub(x=x, y=bias), y=cast(mb.greater(x=x, y=limit), "float"))
    below = mb.mul(x=mb.add(x=x, y=bias), y=cast(mb.less(x=x, y=-limit), "float"))
    return mb.add(x=above, y=below)


@operator("Softmax", "LogSoftmax", "Hardmax")
def softmax(node: Node) -> Value:
    """Shares of the whole along an axis, their logarithms, or 1 for the greatest alone.

    Up to version 12 all axes from the given one on count as one.
    """
    x = node.tensor(0)
    default = -1 if node.opset >= 13 else 1
    axis = node.attribute("axis", default) % max(rank_of(x), 1)
    if node.opset >= 13 or axis == rank_of(x) - 1:
        return _SHARES[node.kind](x, axis)
    sizes = [size_of(x, index) for index in range(rank_of(x))]
    flat = reshaped(x, [*sizes[:axis], None])
    return reshaped(_SHARES[node.kind](flat, axis), sizes)


def _softmax(x: Value, axis: int) -> Value:
    return mb.softmax(x=x, axis=axis)


def _log_softmax(x: Value, axis: int) -> Value:
    """The logarithm of the shares, which does not lose the small ones."""
    below = mb.sub(x=x, y=mb.reduce_max(x=x, axes=[axis], keep_dims=True))
    return mb.sub(x=below, y=mb.log(x=mb.reduce_sum(x=mb.exp(x=below), axes=[axis], keep_dims=True)))


def _hardmax(x: Value, axis: int) -> Value:
    best = mb.reduce_argmax(x=x, axis=axis, keep_dims=True)
    size = size_of(x, axis)
    counted = mb.range_1d(start=np.int32(0), end=size, step=np.int32(1))
    places = reshaped(counted, [None if index == axis else 1 for index in range(rank_of(x))])
    return cast(mb.equal(x=places, y=best), "float")


_SHARES = {"Softmax": _softmax, "LogSoftmax": _log_softmax, "Hardmax": _hardmax}
