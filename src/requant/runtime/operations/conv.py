"""Convolutions."""

from __future__ import annotations

from collections.abc import Sequence

from requant.errors import RequantError
from requant.runtime.graph import Graph, Tensor
from requant.runtime.operations.registry import operation
from requant.runtime.operations.windows import SAME, SAME_LOWER, Size, borders, node_padding


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
    axes = weight.rank - 2
    steps, factors = list(strides or [1] * axes), list(dilations or [1] * axes)
    around = borders(graph, x, pad_type, pad, _reach(weight, factors), steps)
    source, edges = node_padding(graph, x, around, pad_type, any(factor > 1 for factor in factors))
    return graph.node("Conv", source, weight, bias, strides=steps, dilations=factors, group=groups, **edges)


@operation
def conv_transpose(
    graph: Graph,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    pad: tuple[int, ...] | None = None,
    output_shape: tuple[int, ...] | None = None,
    pad_type: str = "valid",
    strides: tuple[int, ...] | None = None,
    dilations: tuple[int, ...] | None = None,
    groups: int = 1,
) -> Tensor:
    """A transposed convolution in one to three dimensions; `weight` is (C_in, C_out / groups, *kernel).

    Without an `output_shape`, `same` makes each size that of `x` times the stride.
    """
    axes = weight.rank - 2
    steps, factors = list(strides or [1] * axes), list(dilations or [1] * axes)
    reach, sizes = _reach(weight, factors), list(output_shape or ())[2:]
    if sizes:
        totals = [_surplus(x, axis, *each) for axis, each in enumerate(zip(steps, reach, sizes, strict=True))]
    else:
        totals = [extent - step for extent, step in zip(reach, steps, strict=True)]
    kind = pad_type.lower()
    if kind in (SAME, SAME_LOWER):
        starts = [max(total, 0) // 2 if kind == SAME else (max(total, 0) + 1) // 2 for total in totals]
        ends = [total - start for total, start in zip(totals, starts, strict=True)]
    else:
        starts = list(pad[::2]) if kind == "custom" and pad else [0] * axes
        ends = list(pad[1::2]) if kind == "custom" and pad else [0] * axes
        ends = [total - start for total, start in zip(totals, starts, strict=True)] if sizes else ends
    return graph.node(
        "ConvTranspose",
        x,
        weight,
        bias,
        strides=steps,
        dilations=factors,
        group=groups,
        pads=[*starts, *(max(end, 0) for end in ends)],
        output_padding=[max(-end, 0) for end in ends],
    )


def _reach(weight: Tensor, dilations: Sequence[int]) -> list[int]:
    """Return the sizes of a kernel, spread by its dilation."""
    sizes: list[Size] = list(weight.shape[2:])
    known = [size for size in sizes if isinstance(size, int) and size >= 0]
    if len(known) < len(dilations):
        raise RequantError("the size of its kernel is not known before the model runs, which requant can't do.")
    return [(size - 1) * factor + 1 for size, factor in zip(known, dilations, strict=True)]


def _surplus(x: Tensor, axis: int, step: int, reach: int, size: int) -> int:
    """Return how much a transposed convolution makes beyond a given size."""
    if x.shape[axis + 2] < 0:
        raise RequantError("it has an output_shape for an input of open size, which requant can't run.")
    return (x.shape[axis + 2] - 1) * step + reach - size
