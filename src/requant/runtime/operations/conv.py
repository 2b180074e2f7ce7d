"""Convolutions."""

from __future__ import annotations

from typing import Any

from requant.runtime.graph import Graph
from requant.runtime.operations.registry import Tensor, operation


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
) -> str:
    """A convolution in one to three dimensions; `weight` is (C_out, C_in / groups, *kernel)."""
    axes = len(weight.shape) - 2
    inputs = [x.name, weight.name] + ([bias.name] if bias else [])
    return graph.node(
        "Conv",
        *inputs,
        strides=list(strides or [1] * axes),
        dilations=list(dilations or [1] * axes),
        group=groups,
        **border(pad_type, pad, axes),
    )
