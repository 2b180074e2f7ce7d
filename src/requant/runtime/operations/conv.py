"""Convolutions."""

from __future__ import annotations

from typing import Any

from requant.errors import RequantError
from requant.runtime.graph import Graph, Tensor
from requant.runtime.operations.registry import operation


def paired(pad: tuple[int, ...]) -> list[int]:
    """Return MIL's pads (start, end per axis) as ONNX has them: all starts, then all ends."""
    return [*pad[::2], *pad[1::2]]


def border(pad_type: str, pad: tuple[int, ...] | None, axes: int) -> dict[str, Any]:
    """Return ONNX's attributes for a MIL padding: `valid`, `custom`, `same` or `same_lower`."""
    if pad_type in ("same", "same_lower"):
        return {"auto_pad": "SAME_UPPER" if pad_type == "same" else "SAME_LOWER"}
    return {"pads": paired(pad) if pad_type == "custom" and pad else [0] * (2 * axes)}


@operation
def conv(
    graph: Graph,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: tuple[int, ...] | None = None,
    pad_type: str = "valid",
    pad: tuple[int, ...] | None = None,
    dilations: tuple[int, ...] | None = None,
    groups: int = 1,
) -> Tensor:
    """A convolution in one to three dimensions; `weight` is (C_out, C_in / groups, *kernel)."""
    axes = len(weight.shape) - 2
    steps, factors = list(strides or [1] * axes), list(dilations or [1] * axes)
    edges = border(pad_type, pad, axes)
    if "auto_pad" in edges and any(factor > 1 for factor in factors):
        reach = [(size - 1) * factor + 1 for size, factor in zip(weight.shape[2:], factors, strict=True)]
        edges = {"pads": _same_pads(pad_type, x.shape[2:], reach, steps)}
    inputs = [x, weight, bias]
    return graph.node(
        "Conv",
        *inputs,
        strides=steps,
        dilations=factors,
        group=groups,
        **edges,
    )


def _same_pads(pad_type: str, sizes: tuple[int, ...], reach: list[int], steps: list[int]) -> list[int]:
    """Return the pads for `same` and `same_lower`, which ONNX Runtime does not know for a dilated kernel."""
    totals = []
    for size, extent, step in zip(sizes, reach, steps, strict=True):
        if size < 0 and step > 1:
            raise RequantError(f"a convolution has strides, dilation and the padding {pad_type} on an open size.")
        totals.append(max((-(-size // step) - 1) * step + extent - size, 0))
    lesser, greater = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return lesser + greater if pad_type == "same" else greater + lesser
