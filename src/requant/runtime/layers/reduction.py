"""Reductions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from requant.runtime.graph import Tensor
from requant.runtime.layers.context import Array, Context
from requant.runtime.layers.registry import layer
from requant.runtime.operations import reduction as operations

_EPSILON = 1e-6
_AXES = ((-3, -2, -1), (-2, -1), (-3,), (-2,), (-1,))  # CHW, HW, C, H, W
_LOGSUM, _ARGMAX = 3, 9
_MODES: dict[int, Callable[..., Tensor]] = {
    0: operations.reduce_sum,
    1: operations.reduce_mean,
    2: operations.reduce_prod,
    _LOGSUM: operations.reduce_sum,
    4: operations.reduce_sum_square,
    5: operations.reduce_l1_norm,
    6: operations.reduce_l2_norm,
    7: operations.reduce_max,
    8: operations.reduce_min,
}
_REDUCTIONS: dict[str, Callable[..., Tensor]] = {
    "reduceL1": operations.reduce_l1_norm,
    "reduceL2": operations.reduce_l2_norm,
    "reduceLogSum": operations.reduce_log_sum,
    "reduceLogSumExp": operations.reduce_log_sum_exp,
    "reduceMax": operations.reduce_max,
    "reduceMean": operations.reduce_mean,
    "reduceMin": operations.reduce_min,
    "reduceProd": operations.reduce_prod,
    "reduceSum": operations.reduce_sum,
    "reduceSumSquare": operations.reduce_sum_square,
}


@layer("reduce")
def reduce(context: Context, layer: Any, x: Array) -> list[Tensor]:
    """A reduction over channel, height and width or some of them, which keep the size 1."""
    params, graph, tensor = layer.reduce, context.graph, x.tensor
    axes = _AXES[params.axis]
    if params.mode == _ARGMAX:
        return [graph.cast(operations.reduce_argmax(graph, tensor, axes[0], keep_dims=True), "float32")]
    if params.mode == _LOGSUM:
        tensor = graph.node("Log", graph.node("Add", tensor, graph.scalar(params.epsilon or _EPSILON)))
    return [_MODES[params.mode](graph, tensor, axes, True)]


def _register(kind: str, function: Callable[..., Tensor]) -> None:
    @layer(kind)
    def translate(context: Context, layer: Any, x: Array) -> list[Array]:
        params = getattr(layer, kind)
        axes = None if params.reduceAll else tuple(params.axes)
        result = function(context.graph, context.full(x), axes, params.keepDims)
        result = result if result.rank else context.graph.reshape(result, 1)
        return [Array(result, result.rank)]


for _kind, _function in _REDUCTIONS.items():
    _register(_kind, _function)
