"""Activation functions."""

from __future__ import annotations

from typing import Any

from requant.runtime.graph import Tensor
from requant.runtime.layers.context import Array, Context, unsupported, vector
from requant.runtime.layers.registry import layer
from requant.runtime.operations import activation as operations

_PLAIN = {"ReLU": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "softsign": "Softsign", "softplus": "Softplus"}
_GELU_MODES = ("EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION")


@layer("activation")
def activation(context: Context, layer: Any, x: Array) -> list[Tensor]:
    """An activation, whichever nonlinearity it names."""
    return [apply(context, layer.activation, x.tensor)]


def apply(context: Context, params: Any, x: Tensor) -> Tensor:
    """Return a tensor after the activation that an `ActivationParams` message names."""
    kind = params.WhichOneof("NonlinearityType")
    graph = context.graph
    if kind in _PLAIN:
        return graph.node(_PLAIN[kind], x)
    if kind == "linear":
        return operations.linear_activation(graph, x, params.linear.alpha, params.linear.beta)
    if kind == "leakyReLU":
        return operations.leaky_relu(graph, x, params.leakyReLU.alpha)
    if kind == "ELU":
        return operations.elu(graph, x, params.ELU.alpha)
    if kind == "thresholdedReLU":
        return operations.thresholded_relu(graph, x, params.thresholdedReLU.alpha)
    if kind == "sigmoidHard":
        return operations.sigmoid_hard(graph, x, params.sigmoidHard.alpha, params.sigmoidHard.beta)
    if kind == "scaledTanh":
        return operations.scaled_tanh(graph, x, params.scaledTanh.alpha, params.scaledTanh.beta)
    if kind == "PReLU":
        return graph.node("PRelu", x, _per_channel(context, params.PReLU.alpha))
    if kind == "parametricSoftplus":
        alpha, beta = (
            _per_channel(context, p) for p in (params.parametricSoftplus.alpha, params.parametricSoftplus.beta)
        )
        return graph.node("Mul", graph.node("Softplus", graph.node("Mul", x, beta)), alpha)
    raise unsupported(f"the activation {kind}")


def _per_channel(context: Context, params: Any) -> Tensor:
    return operations.per_channel(context.graph, context.graph.constant(vector(params)), 2)


@layer("clampedReLU")
def clamped_relu(context: Context, layer: Any, x: Array) -> list[Tensor]:
    """`min(beta, x)` where `x` is not negative, `min(beta, alpha * x)` elsewhere."""
    return [operations.clamped_relu(context.graph, x.tensor, layer.clampedReLU.alpha, layer.clampedReLU.beta)]


@layer("gelu")
def gelu(context: Context, layer: Any, x: Array) -> list[Tensor]:
    """The Gaussian error linear unit."""
    return [operations.gelu(context.graph, x.tensor, _GELU_MODES[layer.gelu.mode])]


@layer("softmax")
def softmax(context: Context, layer: Any, x: Array) -> list[Tensor]:
    """A softmax over the channels, which are the third axis from the end."""
    del layer
    return [context.graph.node("Softmax", x.tensor, axis=-3)]


@layer("softmaxND")
def softmax_nd(context: Context, layer: Any, x: Array) -> list[Array]:
    """A softmax along any axis."""
    return [Array(context.graph.node("Softmax", context.full(x), axis=layer.softmaxND.axis), x.rank)]
