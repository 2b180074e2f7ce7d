"""Quantization of tensors while a model runs, and back.

Both are computed in floats step by step as MIL writes them, so that ONNX Runtime merges no pair of them with what is
between into arithmetic of integers, whose results differ.
"""

from __future__ import annotations

from requant.runtime.graph import Graph, Tensor
from requant.runtime.operations.registry import operation

_RANGES = {"int8": (-128, 127), "uint8": (0, 255)}


@operation
def quantize(
    graph: Graph,
    input: Tensor,
    scale: Tensor,
    output_dtype: str,
    zero_point: Tensor | None = None,
    axis: int | None = None,
) -> Tensor:
    """`round(input / scale) + zero_point`, limited to what `output_dtype` holds; halves go to the even number."""
    result = graph.node("Round", graph.node("Div", input, _along(graph, scale, axis, input)))
    if zero_point:
        result = graph.node("Add", result, _along(graph, zero_point, axis, input))
    low, high = _RANGES[output_dtype]
    return graph.cast(graph.node("Clip", result, graph.scalar(low), graph.scalar(high)), "int32")


@operation
def dequantize(
    graph: Graph,
    input: Tensor,
    scale: Tensor,
    zero_point: Tensor | None = None,
    axis: int | None = None,
) -> Tensor:
    """`scale * (input - zero_point)`."""
    result = graph.cast(input, "float32")
    if zero_point:
        result = graph.node("Sub", result, _along(graph, zero_point, axis, input))
    return graph.node("Mul", result, _along(graph, scale, axis, input))


def _along(graph: Graph, x: Tensor, axis: int | None, values: Tensor) -> Tensor:
    """Return a number, or a vector along one axis of `values`, as floats."""
    if x.rank == 1 and axis is not None:
        x = graph.reshape(x, -1, *[1] * (values.rank - axis % values.rank - 1))
    return graph.cast(x, "float32")
