"""Pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813

from requant.convert.onnx.operators.convolution import borders
from requant.convert.onnx.operators.registry import Node, operator
from requant.convert.onnx.values import Value, cast, kind_of, rank_of, shape_of
from requant.errors import RequantError


@operator("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def of_everything(node: Node) -> Value:
    """One number for each channel."""
    x = node.tensor(0)
    axes = list(range(2, rank_of(x)))
    if node.kind == "GlobalLpPool":
        power = node.attribute("p", 2)
        if power not in (1, 2):
            raise RequantError(f"it pools with the power p={power}; Core ML has 1 and 2")
        function = mb.reduce_l1_norm if power == 1 else mb.reduce_l2_norm
        return function(x=x, axes=axes, keep_dims=True)
    function = mb.reduce_mean if node.kind == "GlobalAveragePool" else mb.reduce_max
    return function(x=x, axes=axes, keep_dims=True)


@operator("MaxPool")
def max_pool(node: Node) -> Value:
    """The greatest number of each window.

    Raises:
        RequantError: if the windows have gaps, or the places of the greatest numbers are wanted as well.
    """
    if node.uses(1):
        raise RequantError("the places of the greatest numbers (its output Indices) are used, which Core ML has not")
    x = node.tensor(0)
    floats = cast(x, "float")
    kernel, strides = _windows(node)
    result = mb.max_pool(x=floats, kernel_sizes=kernel, strides=strides, **_around(node, floats, kernel, strides))
    return cast(result, kind_of(x))


@operator("AveragePool")
def average_pool(node: Node) -> Value:
    """The mean of each window, in which borders count as zeros or not at all.

    What `ceil_mode` adds beyond the borders never counts; borders that count are put around the input first then.
    """
    x = node.tensor(0)
    kernel, strides = _windows(node)
    counts = bool(node.attribute("count_include_pad", 0))
    around = _around(node, x, kernel, strides)
    pads = node.attribute("pads", [0] * (2 * len(kernel)))
    beyond = node.attribute("ceil_mode", 0) and around.get("pad") != _pairs(pads)
    if counts and any(pads) and beyond and not around.get("ceil_mode"):
        x = mb.pad(x=x, pad=_pairs(pads), mode="constant", constant_val=np.float32(0))
        rest = [whole - own for whole, own in zip(around["pad"], _pairs(pads), strict=True)]
        around, counts = {"pad_type": "custom", "pad": rest}, False
    elif not any(pads):
        counts = False
    return mb.avg_pool(
        x=x, kernel_sizes=kernel, strides=strides, exclude_padding_from_average=not counts, **around
    )  # fmt: skip


@operator("LpPool")
def lp_pool(node: Node) -> Value:
    """The square root of the sum of squares of each window.

    Raises:
        RequantError: if it has another power than 2, or windows with gaps.
    """
    if node.attribute("p", 2) != 2:
        raise RequantError(f"it pools with the power p={node.attribute('p')}; Core ML has 2")
    x = node.tensor(0)
    kernel, strides = _windows(node)
    return mb.l2_pool(x=x, kernel_sizes=kernel, strides=strides, **_around(node, x, kernel, strides))


def _windows(node: Node) -> tuple[list[int], list[int]]:
    """Return the sizes of the windows and the steps between them."""
    kernel = list(node.attribute("kernel_shape"))
    if any(step != 1 for step in node.attribute("dilations", [])):
        raise RequantError("its windows have gaps (dilations), which Core ML's pooling has not")
    return kernel, list(node.attribute("strides", [1] * len(kernel)))


def _around(node: Node, x: Value, kernel: Sequence[int], strides: Sequence[int]) -> dict[str, Any]:
    """Return MIL's parameters for the borders, with what `ceil_mode` adds to them where sizes are known."""
    mode = node.attribute("auto_pad", "NOTSET")
    if not node.attribute("ceil_mode", 0) or mode.startswith("SAME"):
        found: dict[str, Any] = borders(node, x, kernel, strides, [1] * len(kernel))
        return found
    count = len(kernel)
    pads = list(node.attribute("pads", [0] * (2 * count)))
    sizes = shape_of(x)[2:]
    for axis, size in enumerate(sizes):
        if size is None:
            if pads[:count] != pads[count:]:
                raise RequantError("it has ceil_mode and uneven borders for sizes that are left open")
            return {"pad_type": "custom", "pad": _pairs(pads), "ceil_mode": True}
        pads[axis + count] += _beyond(
            size + pads[axis] + pads[axis + count], size + pads[axis], kernel[axis], strides[axis]
        )
    return {"pad_type": "custom", "pad": _pairs(pads)}


def _beyond(whole: int, begun: int, reach: int, stride: int) -> int:
    """Return how much the last window lies beyond the end, if it begins inside the input or its first border."""
    steps = -(-(whole - reach) // stride)
    if steps * stride >= begun:
        steps -= 1
    return max(steps * stride + reach - whole, 0)


def _pairs(pads: Sequence[int]) -> list[int]:
    half = len(pads) // 2
    return [size for axis in range(half) for size in (pads[axis], pads[axis + half])]
