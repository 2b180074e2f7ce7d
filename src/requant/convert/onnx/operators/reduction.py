"""Reductions over axes, and what orders or sums along one."""

from __future__ import annotations

import numpy as np
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813

from requant.convert.onnx.operators.registry import Node, operator
from requant.convert.onnx.values import Value, cast, kind_of, rank_of, size_of

_REDUCTIONS = {
    "ReduceL1": "reduce_l1_norm", "ReduceL2": "reduce_l2_norm", "ReduceLogSum": "reduce_log_sum",
    "ReduceLogSumExp": "reduce_log_sum_exp", "ReduceMax": "reduce_max", "ReduceMean": "reduce_mean",
    "ReduceMin": "reduce_min", "ReduceProd": "reduce_prod", "ReduceSum": "reduce_sum",
    "ReduceSumSquare": "reduce_sum_square",
}  # fmt: skip
_EXACT_IN_INTEGERS = ("ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "ReduceL1")


@operator(*_REDUCTIONS)
def reduction(node: Node) -> Value:
    """One number for all along some axes, or along every axis if none are named."""
    x = node.tensor(0)
    axes = node.numbers(1, "axes")
    kept = bool(node.attribute("keepdims", 1))
    if not axes and node.attribute("noop_with_empty_axes", 0):
        return mb.identity(x=x)
    places = [axis % rank_of(x) for axis in axes] if axes else list(range(rank_of(x)))
    kind = kind_of(x)
    if not places:  # a number without axes
        return mb.identity(x=x)
    x = cast(x, "int") if kind == "bool" else x
    x = x if node.kind in _EXACT_IN_INTEGERS else cast(x, "float")
    return cast(getattr(mb, _REDUCTIONS[node.kind])(x=x, axes=places, keep_dims=kept), kind)


@operator("ArgMax", "ArgMin")
def index_of_extreme(node: Node) -> Value:
    """The index of the greatest or smallest number along an axis, the first or the last of equal ones."""
    x, axis = node.tensor(0), node.attribute("axis", 0) % rank_of(node.tensor(0))
    kept = bool(node.attribute("keepdims", 1))
    function = mb.reduce_argmax if node.kind == "ArgMax" else mb.reduce_argmin
    if not node.attribute("select_last_index", 0):
        return function(x=x, axis=axis, keep_dims=kept)
    found = function(x=mb.reverse(x=x, axes=[axis]), axis=axis, keep_dims=kept)
    size = size_of(x, axis)
    last = np.int32(size - 1) if isinstance(size, int) else mb.sub(x=size, y=np.int32(1))
    return mb.sub(x=last, y=found)


@operator("TopK")
def top_k(node: Node) -> list[Value]:
    """The greatest or smallest numbers along an axis, and their indices."""
    x = node.tensor(0)
    count = node.attribute("k") if node.opset < 10 else int(node.constant(1).reshape(()))
    axis = node.attribute("axis", -1) % rank_of(x)
    smallest = not node.attribute("largest", 1)
    values, indices = mb.topk(x=x, k=count, axis=axis, ascending=smallest)
    return [values, indices]


@operator("CumSum")
def cumulative_sum(node: Node) -> Value:
    """Sums of all before an element along an axis."""
    x = node.tensor(0)
    axis = int(node.constant(1).reshape(())) % rank_of(x)
    exclusive, backwards = bool(node.attribute("exclusive", 0)), bool(node.attribute("reverse", 0))
    return mb.cumsum(x=x, axis=axis, exclusive=exclusive, reverse=backwards)


@operator("NonZero")
def non_zero(node: Node) -> Value:
    """The places of all elements that are not 0, one in each column."""
    x = node.tensor(0)
    x = cast(x, "int") if kind_of(x) == "bool" else x
    return mb.transpose(x=mb.non_zero(x=x), perm=[1, 0])


@operator("OneHot")
def one_hot(node: Node) -> Value:
    """A new axis, with one value at the index and another everywhere else."""
    indices, values = cast(node.tensor(0), "int"), node.constant(2)
    depth = int(node.constant(1).reshape(()))
    axis = node.attribute("axis", -1)
    # An index below 0 counts from the end; one that is out of the range is nowhere, with or without that.
    indices = mb.add(x=indices, y=mb.mul(x=cast(mb.less(x=indices, y=np.int32(0)), "int"), y=np.int32(depth)))
    off, on = values.reshape(-1)
    number = np.float32 if values.dtype.kind == "f" else np.int32
    found = mb.one_hot(
        indices=indices, one_hot_vector_size=depth, axis=axis, on_value=number(on), off_value=number(off)
    )
    return cast(found, "bool") if values.dtype == np.bool_ else found
