"""The borders that convolutions and poolings put around their input, computed explicitly.

ONNX's own paddings by name and its `ceil_mode` differ from Core ML's in corners, so that they are used only where both
agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from requant.errors import RequantError
from requant.runtime.graph import Graph, Tensor

Size = int | Tensor
SAME, SAME_LOWER, CUSTOM, VALID = "same", "same_lower", "custom", "valid"


@dataclass(frozen=True)
class Borders:
    """How much is put around a tensor, per axis after the channels.

    Attributes:
        starts: before each axis.
        ends: after each axis. Both are numbers, or int64 tensors of shape (1,) where they depend on an open size.
    """

    starts: list[Size]
    ends: list[Size]

    @property
    def numbers(self) -> list[int] | None:
        """All starts, then all ends, as ONNX has them; None if one depends on an open size."""
        sizes = [size for size in (*self.starts, *self.ends) if isinstance(size, int)]
        return sizes if len(sizes) == 2 * len(self.starts) else None

    def extended(self, graph: Graph, extra: Sequence[Size]) -> Borders:
        """Return borders with more at the ends."""
        return Borders(self.starts, [_plus(graph, end, more) for end, more in zip(self.ends, extra, strict=True)])


def borders(
    graph: Graph,
    x: Tensor,
    pad_type: str,
    pad: Sequence[int] | None,
    reach: Sequence[int],
    strides: Sequence[int],
) -> Borders:
    """Return the borders of a MIL padding.

    Args:
        graph: where open sizes are computed.
        x: the tensor (batch, channels, *sizes).
        pad_type: `valid`, `custom`, `same` (the odd one at the end) or `same_lower` (at the start).
        pad: start and end of each axis in turn, for `custom`.
        reach: the size of the kernel per axis, spread by its dilation.
        strides: the steps per axis.

    Raises:
        RequantError: for an unknown padding.
    """
    kind = pad_type.lower()
    if kind == CUSTOM and pad:
        return Borders(list(pad[::2]), list(pad[1::2]))
    if kind in (VALID, CUSTOM):
        return Borders([0] * len(reach), [0] * len(reach))
    if kind not in (SAME, SAME_LOWER):
        raise RequantError(f"it has the padding {pad_type!r}, which MIL does not define.")
    totals = [_same(graph, x, axis + 2, *sizes) for axis, sizes in enumerate(zip(reach, strides, strict=True))]
    lesser = [total // 2 if isinstance(total, int) else _halved(graph, total) for total in totals]
    greater = [_minus(graph, total, half) for total, half in zip(totals, lesser, strict=True)]
    return Borders(lesser, greater) if kind == SAME else Borders(greater, lesser)


def padded(graph: Graph, x: Tensor, around: Borders, value: float) -> Tensor:
    """Return a tensor (batch, channels, *sizes) with a border of a constant number."""
    if not any(isinstance(size, Tensor) or size for size in (*around.starts, *around.ends)):
        return x
    pads = graph.shape(0, 0, *around.starts, 0, 0, *around.ends)
    return graph.node("Pad", x, pads, graph.scalar(value))


def node_padding(graph: Graph, x: Tensor, around: Borders, pad_type: str, dilated: bool) -> tuple[Tensor, Any]:
    """Return a tensor and the attributes with which a `Conv` sees it within borders of zeros."""
    numbers = around.numbers
    if numbers is not None:
        return x, {"pads": numbers}
    if not dilated:  # ONNX Runtime's own paddings are the same then
        return x, {"auto_pad": "SAME_UPPER" if pad_type.lower() == SAME else "SAME_LOWER"}
    return padded(graph, x, around, 0), {}


def beyond(
    graph: Graph, x: Tensor, around: Borders, kernel: Sequence[int], strides: Sequence[int], padded_at_all: bool
) -> list[Size]:
    """Return what comes after the end border of each axis where the number of windows is rounded up.

    There are `ceil((size + start + end - kernel) / stride) + 1` windows, one less if the last one would begin beyond
    the input and its start border, and there is a border.

    Args:
        graph: where open sizes are computed.
        x: the tensor (batch, channels, *sizes).
        around: the borders, which are numbers.
        kernel: the size of the windows.
        strides: their steps.
        padded_at_all: whether a border of another axis counts, too, as in a NeuralNetwork.

    Raises:
        RequantError: for borders that depend on an open size, which only `same` has.
    """
    numbers = around.numbers
    if numbers is None:
        raise RequantError("it rounds the number of windows up and has the padding same, which MIL does not define.")
    result: list[Size] = []
    for axis, (length, step) in enumerate(zip(kernel, strides, strict=True)):
        start, end = numbers[axis], numbers[axis + len(kernel)]
        drops = any(numbers) if padded_at_all else start + end > 0
        if x.shape[axis + 2] >= 0:
            result.append(_beyond_known(x.shape[axis + 2], start, end, length, step, drops))
        else:
            result.append(_beyond_open(graph, graph.size_of(x, axis + 2), (start, end, length, step), drops))
    return result


def _beyond_known(size: int, start: int, end: int, length: int, step: int, drops: bool) -> int:
    last = -(-(size + start + end - length) // step)
    if drops and last * step >= size + start:
        last -= 1
    return max(last * step + length - (size + start + end), -end)


def _beyond_open(graph: Graph, size: Tensor, window: tuple[int, int, int, int], drops: bool) -> Tensor:
    start, end, length, step = window
    whole = graph.node("Add", size, graph.integers(start + end - length + step - 1))
    begin = graph.node("Mul", graph.node("Div", whole, graph.integers(step)), graph.integers(step))
    if drops:
        outside = graph.node("GreaterOrEqual", begin, graph.node("Add", size, graph.integers(start)))
        begin = graph.node("Where", outside, graph.node("Sub", begin, graph.integers(step)), begin)
    reached = graph.node("Sub", begin, size)
    return graph.node("Max", graph.node("Add", reached, graph.integers(length - start - end)), graph.integers(-end))


def _same(graph: Graph, x: Tensor, axis: int, reach: int, step: int) -> Size:
    """Return the border of an axis that leaves `ceil(size / step)` windows."""
    size = x.shape[axis]
    if step == 1:
        return reach - 1
    if size >= 0:
        return max((-(-size // step) - 1) * step + reach - size, 0)
    length = graph.size_of(x, axis)
    windows = graph.node("Div", graph.node("Add", length, graph.integers(step - 1)), graph.integers(step))
    covered = graph.node("Add", graph.node("Mul", windows, graph.integers(step)), graph.integers(reach - step))
    return graph.node("Max", graph.node("Sub", covered, length), graph.integers(0))


def _halved(graph: Graph, x: Tensor) -> Tensor:
    return graph.node("Div", x, graph.integers(2))


def _plus(graph: Graph, a: Size, b: Size) -> Size:
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    return graph.node("Add", *(graph.integers(size) if isinstance(size, int) else size for size in (a, b)))


def _minus(graph: Graph, a: Size, b: Size) -> Size:
    if isinstance(a, int) and isinstance(b, int):
        return a - b
    return graph.node("Sub", *(graph.integers(size) if isinstance(size, int) else size for size in (a, b)))
