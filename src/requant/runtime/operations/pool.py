"""Pooling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from requant.runtime.graph import Graph, Tensor
from requant.runtime.operations.registry import operation
from requant.runtime.operations.windows import Borders, beyond, borders, padded


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
    """The mean of each window, in which borders count as zeros or not at all.

    What `ceil_mode` adds beyond the borders never counts.
    """
    windows = _windows(graph, x, kernel_sizes, strides, pad_type, pad, ceil_mode)
    return average(graph, x, windows, exclude_padding_from_average)


@operation
def l2_pool(
    graph: Graph,
    x: Tensor,
    kernel_sizes: tuple[int, ...],
    strides: tuple[int, ...] | None = None,
    pad_type: str = "valid",
    pad: tuple[int, ...] | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The square root of the sum of squares of each window."""
    windows = _windows(graph, x, kernel_sizes, strides, pad_type, pad, ceil_mode)
    return root_of_squares(graph, x, windows)


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
    """The greatest number of each window, in which borders count as -infinity."""
    windows = _windows(graph, x, kernel_sizes, strides, pad_type, pad, ceil_mode)
    return greatest(graph, x, windows)


@dataclass(frozen=True)
class Windows:
    """Where a pooling takes its windows.

    Attributes:
        kernel: their size per axis.
        strides: the steps between them.
        around: the borders.
        extra: what comes after the end borders without being one, if anything does.
    """

    kernel: Sequence[int]
    strides: Sequence[int]
    around: Borders
    extra: Sequence[int | Tensor]

    def whole(self, graph: Graph) -> Borders:
        """Return the borders with what comes after them."""
        return self.around.extended(graph, self.extra) if self.extra else self.around


def _windows(
    graph: Graph,
    x: Tensor,
    kernel: tuple[int, ...],
    strides: tuple[int, ...] | None,
    pad_type: str,
    pad: tuple[int, ...] | None,
    ceil_mode: bool,
) -> Windows:
    steps = list(strides or [1] * len(kernel))
    around = borders(graph, x, pad_type, pad, kernel, steps)
    extra = beyond(graph, x, around, kernel, steps, padded_at_all=False) if ceil_mode else []
    return Windows(kernel, steps, around, extra)


def greatest(graph: Graph, x: Tensor, windows: Windows) -> Tensor:
    """Return the greatest number of each window of a tensor (batch, channels, *sizes)."""
    return _pooled(graph, "MaxPool", x, windows, windows.whole(graph), -np.inf)


def average(graph: Graph, x: Tensor, windows: Windows, exclude_borders: bool) -> Tensor:
    """Return the mean of each window of a tensor (batch, channels, *sizes)."""
    whole = windows.whole(graph)
    adds_nothing = not any(isinstance(size, Tensor) or size for size in windows.extra)
    if exclude_borders and _fits(whole, windows.kernel):
        return _pooled(graph, "AveragePool", x, windows, whole, 0, count_include_pad=0)
    means = _pooled(graph, "AveragePool", x, windows, whole, 0, count_include_pad=1)
    if adds_nothing and not exclude_borders:
        return means
    sizes = [graph.size_of(x, axis + 2) for axis in range(len(windows.kernel))]
    ones = graph.node("Expand", graph.scalar(1), graph.shape(1, 1, *sizes))
    counted = ones if exclude_borders else padded(graph, ones, windows.around, 1)
    rest = whole if exclude_borders else Borders([0] * len(windows.kernel), list(windows.extra))
    share = _pooled(graph, "AveragePool", counted, windows, rest, 0, count_include_pad=1)
    return graph.node("Div", means, share)


def root_of_squares(graph: Graph, x: Tensor, windows: Windows) -> Tensor:
    """Return the square root of the sum of squares of each window of a tensor (batch, channels, *sizes)."""
    squares = graph.node("Mul", x, x)
    means = _pooled(graph, "AveragePool", squares, windows, windows.whole(graph), 0, count_include_pad=1)
    return graph.node("Sqrt", graph.node("Mul", means, graph.scalar(math.prod(windows.kernel))))


def _pooled(
    graph: Graph, kind: str, x: Tensor, windows: Windows, around: Borders, value: float, **attributes: int
) -> Tensor:
    """Add a pooling; borders that ONNX Runtime takes no windows from are put around the tensor first."""
    common = {"kernel_shape": list(windows.kernel), "strides": list(windows.strides), **attributes}
    if _fits(around, windows.kernel):
        return graph.node(kind, x, pads=around.numbers, **common)
    return graph.node(kind, padded(graph, x, around, value), **common)


def _fits(around: Borders, kernel: Sequence[int]) -> bool:
    """Return whether all borders are numbers from 0 to less than the kernel's sizes."""
    numbers = around.numbers
    return numbers is not None and all(
        0 <= size < reach for size, reach in zip(numbers, [*kernel, *kernel], strict=True)
    )
