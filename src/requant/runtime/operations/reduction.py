"""Reductions. Of integers they are integers, too; those that need fractions lose them at the end."""

from __future__ import annotations

from requant.runtime.graph import Graph, Tensor
from requant.runtime.operations.registry import operation

Axes = tuple[int, ...] | None


@operation
def reduce_argmax(graph: Graph, x: Tensor, axis: int = -1, keep_dims: bool = False, output_dtype: str = "") -> Tensor:
    """The index of the greatest number along an axis, the first one of several."""
    del output_dtype  # the program declares it with the result
    return graph.node("ArgMax", x, axis=axis, keepdims=int(keep_dims))


@operation
def reduce_argmin(graph: Graph, x: Tensor, axis: int = -1, keep_dims: bool = False, output_dtype: str = "") -> Tensor:
    """The index of the least number along an axis, the first one of several."""
    del output_dtype  # the program declares it with the result
    return graph.node("ArgMin", x, axis=axis, keepdims=int(keep_dims))


@operation
def reduce_l1_norm(graph: Graph, x: Tensor, axes: Axes = None, keep_dims: bool = False) -> Tensor:
    """The sum of the numbers without their signs over some axes, or over all."""
    return _reduced(graph, "ReduceSum", graph.node("Abs", x), axes, keep_dims)


@operation
def reduce_l2_norm(graph: Graph, x: Tensor, axes: Axes = None, keep_dims: bool = False) -> Tensor:
    """The square root of the sum of squares over some axes, or over all."""
    return _reduced(graph, "ReduceL2", x, axes, keep_dims, fractions=True)


@operation
def reduce_log_sum(graph: Graph, x: Tensor, axes: Axes = None, keep_dims: bool = False) -> Tensor:
    """The natural logarithm of the sum over some axes, or over all."""
    return _reduced(graph, "ReduceLogSum", x, axes, keep_dims, fractions=True)


@operation
def reduce_log_sum_exp(graph: Graph, x: Tensor, axes: Axes = None, keep_dims: bool = False) -> Tensor:
    """The natural logarithm of the sum of powers of e over some axes, or over all."""
    return _reduced(graph, "ReduceLogSumExp", x, axes, keep_dims, fractions=True)


@operation
def reduce_max(graph: Graph, x: Tensor, axes: Axes = None, keep_dims: bool = False) -> Tensor:
    """The greatest number over some axes, or over all."""
    return _reduced(graph, "ReduceMax", x, axes, keep_dims)


@operation
def reduce_mean(graph: Graph, x: Tensor, axes: Axes = None, keep_dims: bool = False) -> Tensor:
    """The mean over some axes, or over all."""
    if keep_dims and axes and x.dtype == "float32" and x.rank == 4 and {axis % 4 for axis in axes} == {2, 3}:
        return graph.node("GlobalAveragePool", x)  # which stays in the layout of the convolutions around it
    return _reduced(graph, "ReduceMean", x, axes, keep_dims, fractions=True)


@operation
def reduce_min(graph: Graph, x: Tensor, axes: Axes = None, keep_dims: bool = False) -> Tensor:
    """The least number over some axes, or over all."""
    return _reduced(graph, "ReduceMin", x, axes, keep_dims)


@operation
def reduce_prod(graph: Graph, x: Tensor, axes: Axes = None, keep_dims: bool = False) -> Tensor:
    """The product over some axes, or over all."""
    return _reduced(graph, "ReduceProd", x, axes, keep_dims)


@operation
def reduce_sum(graph: Graph, x: Tensor, axes: Axes = None, keep_dims: bool = False) -> Tensor:
    """The sum over some axes, or over all."""
    return _reduced(graph, "ReduceSum", x, axes, keep_dims)


@operation
def reduce_sum_square(graph: Graph, x: Tensor, axes: Axes = None, keep_dims: bool = False) -> Tensor:
    """The sum of squares over some axes, or over all."""
    return _reduced(graph, "ReduceSum", graph.node("Mul", x, x), axes, keep_dims)


def _reduced(graph: Graph, kind: str, x: Tensor, axes: Axes, keep_dims: bool, fractions: bool = False) -> Tensor:
    """Add a reduction; `fractions` tells that its result is no whole number for whole numbers."""
    dtype = x.dtype
    held = graph.cast(x, "float32") if fractions else x
    if axes == ():
        one_more = graph.node("Unsqueeze", held, graph.integers(0))
        result = graph.node(kind, one_more, graph.integers(0), keepdims=0)
    else:
        over = [graph.integers(*axes)] if axes else []
        result = graph.node(kind, held, *over, keepdims=int(keep_dims))
    return graph.cast(result, dtype)
