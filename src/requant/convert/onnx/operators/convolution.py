"""Convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813

from requant.convert.onnx.operators.registry import Node, operator
from requant.convert.onnx.values import Value, is_known, rank_of, shape_of
from requant.errors import RequantError

_IOS16 = 16


@operator("Conv")
def conv(node: Node) -> Value:
    """A convolution of one to three dimensions."""
    x, weight = node.tensor(0), node.tensor(1)
    kernel = [int(size) for size in weight.shape[2:]]
    strides = node.attribute("strides", [1] * len(kernel))
    dilations = node.attribute("dilations", [1] * len(kernel))
    bias = node.value(2)
    is_plain = bias is None or is_known(bias)
    result = mb.conv(
        x=x,
        weight=weight,
        bias=node.tensor(2) if bias is not None and is_plain else None,
        strides=strides,
        dilations=dilations,
        groups=node.attribute("group", 1),
        **borders(node, x, kernel, strides, dilations),
    )
    return result if is_plain else mb.add(x=result, y=_of_channels(bias, rank_of(x)))


def _of_channels(bias: Value, rank: int) -> Value:
    """Return a vector with axes of size 1, so that it belongs to the channels."""
    return mb.expand_dims(x=bias, axes=[0, *range(2, rank)])


def borders(node: Node, x: Value, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> Any:
    """Return MIL's parameters for what a convolution or pooling adds around its input.

    Raises:
        RequantError: if it adds more at the beginning, for sizes that are left open, which needs iOS 16.
    """
    mode = node.attribute("auto_pad", "NOTSET")
    if mode in ("NOTSET", ""):
        return _custom(node.attribute("pads", [0] * (2 * len(kernel))))
    if mode == "VALID":
        return {"pad_type": "valid"}
    sizes = shape_of(x)[2:]
    if None not in sizes:
        return _custom(same_borders(sizes, kernel, strides, dilations, mode))  # type: ignore[arg-type]
    if mode == "SAME_UPPER":
        return {"pad_type": "same"}
    if node.system < _IOS16:
        raise RequantError("its borders (auto_pad SAME_LOWER) need iOS 16 where sizes are left open")
    return {"pad_type": "same_lower"}


def _custom(pads: Sequence[int]) -> dict[str, Any]:
    half = len(pads) // 2
    pairs = [size for axis in range(half) for size in (pads[axis], pads[axis + half])]
    return {"pad_type": "custom", "pad": pairs} if any(pairs) else {"pad_type": "valid"}


def same_borders(
    sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], mode: str
) -> list[int]:
    """Return the borders, first all at beginnings and then all at ends, with which a step in the input is one out."""
    begins, ends = [], []
    for size, reach, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        steps = -(-size // stride)
        total = max((steps - 1) * stride + (reach - 1) * dilation + 1 - size, 0)
        less, more = total // 2, total - total // 2
        begins.append(more if mode == "SAME_LOWER" else less)
        ends.append(less if mode == "SAME_LOWER" else more)
    return [*begins, *ends]


@operator("ConvTranspose")
def conv_transpose(node: Node) -> Value:
    """A transposed convolution of one to three dimensions.

    What is cut off its result or added to it at the end is worked out here, for MIL has no output padding.
    """
    x, weight = node.tensor(0), node.tensor(1)
    node.constant(1)
    kernel = [int(size) for size in weight.shape[2:]]
    strides = node.attribute("strides", [1] * len(kernel))
    dilations = node.attribute("dilations", [1] * len(kernel))
    cuts = _cuts(node, x, kernel, strides, dilations)
    common = {
        "x": x, "weight": weight, "strides": strides, "dilations": dilations, "groups": node.attribute("group", 1),
    }  # fmt: skip
    bias = node.value(2)
    if all(begin == end >= 0 for begin, end in cuts) and (bias is None or is_known(bias)):
        pairs = [size for pair in cuts for size in pair]
        given = node.tensor(2) if bias is not None else None
        return mb.conv_transpose(bias=given, pad_type="custom" if any(pairs) else "valid", pad=pairs, **common)
    result = _cut(mb.conv_transpose(pad_type="valid", **common), cuts)
    return result if bias is None else mb.add(x=result, y=_spread_bias(node, rank_of(x)))


def _spread_bias(node: Node, rank: int) -> Value:
    bias = node.given(2)
    if is_known(bias):
        return node.weight(bias.reshape(1, -1, *[1] * (rank - 2)), 2)
    return _of_channels(bias, rank)


def _cuts(
    node: Node, x: Value, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> list[tuple[int, int]]:
    """Return what is cut off the whole result at the beginning and end of each axis; less than 0 is added."""
    count = len(kernel)
    extra = node.attribute("output_padding", [0] * count)
    wanted, mode = node.attribute("output_shape"), node.attribute("auto_pad", "NOTSET")
    if wanted is None and mode in ("NOTSET", "", "VALID"):
        pads = node.attribute("pads", [0] * (2 * count)) if mode != "VALID" else [0] * (2 * count)
        return [(pads[axis], pads[axis + count] - extra[axis]) for axis in range(count)]
    sizes = shape_of(x)[2:]
    cuts = []
    for axis in range(count):
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        size = sizes[axis]
        if wanted is not None and size is None:
            raise RequantError("it has a fixed output_shape for sizes that are left open")
        if wanted is not None and size is not None:
            total = (size - 1) * strides[axis] + reach - wanted[-count + axis]
        else:  # the result is as many times larger as the stride says
            total = reach - strides[axis]
        # Where more is wanted than there is, all of it is added at the end.
        less = max(total, 0) // 2
        begin = max(total, 0) - less if mode == "SAME_LOWER" else less
        cuts.append((begin, total - begin))
    return cuts


def _cut(x: Value, cuts: Sequence[tuple[int, int]]) -> Value:
    """Return a value with some of each of its last axes cut off, or zeros added where that is less than nothing."""
    rank, count = rank_of(x), len(cuts)
    added = [max(-size, 0) for pair in cuts for size in pair]
    if any(added):
        x = mb.pad(x=x, pad=added, mode="constant", constant_val=np.float32(0))
    if not any(size > 0 for pair in cuts for size in pair):
        return x
    lead = rank - count
    begins = [0] * lead + [max(begin, 0) for begin, _ in cuts]
    ends = [0] * lead + [-max(end, 0) for _, end in cuts]
    masks = [end == 0 for end in ends]
    return mb.slice_by_index(x=x, begin=begins, end=ends, end_mask=masks)
