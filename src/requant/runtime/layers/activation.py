"""Activation functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from requant.runtime.graph import Tensor
from requant.runtime.layers.context import Array, Context, unsupported, vector
from requant.runtime.layers.registry import layer

_PLAIN = {"ReLU": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "softsign": "Softsign", "softplus": "Softplus"}


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
        scaled = graph.node("Mul", x, graph.scalar(params.linear.alpha))
        return graph.node("Add", scaled, graph.scalar(params.linear.beta))
    if kind == "leakyReLU":
        return graph.node("LeakyRelu", x, alpha=params.leakyReLU.alpha)
    if kind == "ELU":
        return graph.node("Elu", x, alpha=params.ELU.alpha)
    if kind == "thresholdedReLU":
        kept = graph.node("GreaterOrEqual", x, graph.scalar(params.thresholdedReLU.alpha))
        return graph.node("Where", kept, x, graph.scalar(0))
    if kind == "sigmoidHard":
        return graph.node("HardSigmoid", x, alpha=params.sigmoidHard.alpha, beta=params.sigmoidHard.beta)
    if kind == "scaledTanh":
        inner = graph.node("Tanh", graph.node("Mul", x, graph.scalar(params.scaledTanh.beta)))
        return graph.node("Mul", inner, graph.scalar(params.scaledTanh.alpha))
    if kind == "PReLU":
        return graph.node("PRelu", x, _per_channel(context, params.PReLU.alpha))
    raise unsupported(f"the activation {kind}")


def _per_channel(context: Context, params: Any) -> Tensor:
    return context.graph.constant(np.reshape(vector(params), (-1, 1, 1)))


@layer("softmax")
def softmax(context: Context, layer: Any, x: Array) -> list[Tensor]:
    """A softmax over the channels, which are the third axis from the end."""
    del layer
    return [context.graph.node("Softmax", x.tensor, axis=-3)]
