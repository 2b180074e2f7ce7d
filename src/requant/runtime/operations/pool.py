"""Pooling."""

from __future__ import annotations

from typing import Any

from requant.runtime.graph import Graph, Tensor
from requant.runtime.operations.conv import border
from requant.runtime.operations.registry import operation


@operation
def max_pool(
    graph: Graph,
    x: Tensor,
    kernel_sizes: tuple[int, ...],
    strides: tuple[int, ...] | None = None,
    pad_type: str = "valid",
    pad: tuple[int, ...] | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The greatest number of each window."""
    return graph.node("MaxPool", x, **_window(kernel_sizes, strides, pad_type, pad, ceil_mode))


@operation
def avg_pool(
    graph: Graph,
    x: Tensor,
    kernel_sizes: tuple[int, ...],
    strides: tuple[int, ...] | None = None,
    pad_type: str = "valid",
    pad: tuple[int, ...] | None = None,
    exclude_padding_from_average: bool = False,
    ceil_mode: bool = False,
) -> Tensor:
    """The mean of each window."""
    window = _window(kernel_sizes, strides, pad_type, pad, ceil_mode)
    return graph.node("AveragePool", x, count_include_pad=int(not exclude_padding_from_average), **window)


def _window(
    kernel_sizes: tuple[int, ...],
    strides: tuple[int, ...] | None,
    pad_type: str,
    pad: tuple[int, ...] | None,
    ceil_mode: bool,
) -> dict[str, Any]:
    axes = len(kernel_sizes)
    return {
        "kernel_shape": list(kernel_sizes),
        "strides": list(strides or [1] * axes),
        "ceil_mode": int(ceil_mode),
        **border(pad_type, pad, axes),
    }
