"""Layers that move, repeat or surround numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from requant.runtime.layers.context import Context, require_four_axes, unsupported

_CHANNEL_LAST = 1
_NEAREST = 0


def flatten(context: Context, layer: Any, x: str) -> list[str]:
    """Translate the flattening of channel, height and width into channels."""
    graph, batch = context.graph, list(range(context.axes[x] - 3))
    if layer.flatten.mode == _CHANNEL_LAST:
        channel = len(batch)
        x = graph.node("Transpose", x, perm=[*batch, channel + 1, channel + 2, channel])
    return [graph.node("Reshape", x, graph.integers(*[0] * len(batch), -1, 1, 1))]


def padding(context: Context, layer: Any, x: str) -> list[str]:
    """Translate a border of a constant, of reflected or of repeated pixels."""
    require_four_axes(context, layer, x)
    params, graph = layer.padding, context.graph
    kind = params.WhichOneof("PaddingType")
    amounts = list(params.paddingAmounts.borderAmounts)
    starts, ends = (
        ([a.startEdgeSize for a in amounts], [a.endEdgeSize for a in amounts]) if amounts else ([0, 0], [0, 0])
    )
    pads = graph.integers(0, 0, *starts, 0, 0, *ends)
    if kind == "constant":
        return [graph.node("Pad", x, pads, graph.scalar(params.constant.value), mode="constant")]
    return [graph.node("Pad", x, pads, mode={"reflection": "reflect", "replication": "edge"}[kind])]


def upsample(context: Context, layer: Any, x: str) -> list[str]:
    """Translate an enlargement by whole factors, by the nearest pixel."""
    require_four_axes(context, layer, x)
    params = layer.upsample
    if params.mode != _NEAREST or len(params.fractionalScalingFactor):
        raise unsupported(layer, "an interpolation other than by the nearest pixel with whole factors")
    height, width = list(params.scalingFactor) or [1, 1]
    scales = context.graph.constant(np.array([1, 1, height, width], np.float32))
    return [
        context.graph.node(
            "Resize", x, "", scales, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
        )
    ]
