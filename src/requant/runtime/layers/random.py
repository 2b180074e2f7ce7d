"""Layers that draw random numbers; `requant.runtime.operations.random` says how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from requant.runtime.graph import Tensor
from requant.runtime.layers.context import Array, Context
from requant.runtime.layers.registry import layer
from requant.runtime.operations import random as mil


def _uniform(context: Context, params: Any, shape: Tensor) -> Tensor:
    return mil.random_uniform(context.graph, shape, params.minVal, params.maxVal, params.seed)


def _normal(context: Context, params: Any, shape: Tensor) -> Tensor:
    return mil.random_normal(context.graph, shape, params.mean, params.stdDev, params.seed)


def _bernoulli(context: Context, params: Any, shape: Tensor) -> Tensor:
    return mil.random_bernoulli(context.graph, shape, params.prob, params.seed)


def _register(name: str, draw: Callable[[Context, Any, Tensor], Tensor]) -> None:
    """Register the three layers of a distribution, whose shape is an input's, constant, or an input."""

    @layer(f"{name}Like")
    def like(context: Context, layer: Any, x: Array) -> list[Array]:
        drawn = draw(context, getattr(layer, f"{name}Like"), context.graph.shape_of(context.full(x)))
        return [Array(drawn, drawn.rank)]

    @layer(f"{name}Static")
    def static(context: Context, layer: Any) -> list[Array]:
        params = getattr(layer, f"{name}Static")
        drawn = draw(context, params, context.graph.constant(np.array(params.outputShape, np.int64)))
        return [Array(drawn, drawn.rank)]

    @layer(f"{name}Dynamic")
    def dynamic(context: Context, layer: Any, shape: Array) -> list[Array]:
        sizes = context.graph.cast(context.graph.reshape(shape.tensor, -1), "int64")
        drawn = draw(context, getattr(layer, f"{name}Dynamic"), sizes)
        return [Array(drawn, drawn.rank)]


for _name, _draw in (("randomNormal", _normal), ("randomUniform", _uniform), ("randomBernoulli", _bernoulli)):
    _register(_name, _draw)


@layer("categoricalDistribution")
def categorical_distribution(context: Context, layer: Any, x: Array) -> list[Array]:
    """Indices along the last axis, drawn with replacement."""
    params, graph, weights = layer.categoricalDistribution, context.graph, context.full(x)
    temperature, mode = params.temperature or 1.0, "logits"
    if not params.isLogits:
        weights, mode = graph.node("Max", weights, graph.scalar(params.eps)), "probs"
    if temperature != 1:
        logits = weights if params.isLogits else graph.node("Log", weights)
        weights, mode = graph.node("Div", logits, graph.scalar(temperature)), "logits"
    drawn = mil.random_categorical(graph, weights, mode, params.numSamples, params.seed)
    return [Array(drawn, drawn.rank)]
