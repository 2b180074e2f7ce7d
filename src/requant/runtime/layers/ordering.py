"""Layers that turn, sort, search and sum up numbers along an axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from requant.runtime.graph import Tensor
from requant.runtime.layers.context import Array, Context, exactly
from requant.runtime.layers.registry import layer
from requant.runtime.operations import reduction, tensor_operation, tensor_transformation


@layer("reverse")
def reverse(context: Context, layer: Any, x: Array) -> list[Array]:
    """The numbers in reverse order along some axes."""
    axes = tuple(axis for axis, turned in enumerate(layer.reverse.reverseDim) if turned)
    return [exactly(tensor_transformation.reverse(context.graph, context.full(x), axes))]


@layer("reverseSeq")
def reverse_sequence(context: Context, layer: Any, x: Array, lengths: Array) -> list[Array]:
    """The first numbers of each sequence in reverse order, as many as another array says."""
    params, counts = layer.reverseSeq, context.whole_numbers(lengths)
    tensor = context.full(x)
    axes = params.sequenceAxis, params.batchAxis
    return [exactly(tensor_transformation.reverse_sequence(context.graph, tensor, counts, *axes))]


@layer("topK")
def top_k(context: Context, layer: Any, x: Array, k: Array | None = None) -> list[Array]:
    """The greatest or the least numbers along an axis, and their indices."""
    params, graph = layer.topK, context.graph
    count = graph.integers(params.K) if k is None else context.whole_numbers(k)
    results = tensor_operation.topk(graph, context.full(x), count, params.axis, params.useBottomK)
    return [exactly(graph.cast(result, "float32")) for result in results]


@layer("argSort")
def arg_sort(context: Context, layer: Any, x: Array) -> list[Array]:
    """The indices that would sort the numbers along an axis."""
    params = layer.argSort
    return _indices(
        context, tensor_operation.argsort(context.graph, context.full(x), params.axis, not params.descending)
    )


@layer("argMax")
def arg_max(context: Context, layer: Any, x: Array) -> list[Array]:
    """The index of the greatest number along an axis."""
    return _found(context, reduction.reduce_argmax, layer.argMax, x)


@layer("argMin")
def arg_min(context: Context, layer: Any, x: Array) -> list[Array]:
    """The index of the least number along an axis."""
    return _found(context, reduction.reduce_argmin, layer.argMin, x)


def _found(context: Context, function: Callable[..., Tensor], params: Any, x: Array) -> list[Array]:
    tensor = context.full(x)
    return _indices(context, function(context.graph, tensor, params.axis, not params.removeDim or tensor.rank == 1))


@layer("cumSum")
def cumulative_sum(context: Context, layer: Any, x: Array, axis: Array | None = None) -> list[Array]:
    """The sums of all numbers up to each, along an axis."""
    params, graph = layer.cumSum, context.graph
    along = graph.scalar(params.axis, "int64") if axis is None else graph.reshape(context.whole_numbers(axis))
    options = {"exclusive": int(params.excludeFinalSum), "reverse": int(params.reverse)}
    return [exactly(graph.node("CumSum", context.full(x), along, **options))]


def _indices(context: Context, result: Tensor) -> list[Array]:
    return [exactly(context.graph.cast(result, "float32"))]
