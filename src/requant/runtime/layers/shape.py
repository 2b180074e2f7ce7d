"""Layers that change the shape of an array or the order of its axes, not its numbers."""

from __future__ import annotations

from typing import Any

from requant.errors import RequantError
from requant.runtime.graph import Tensor
from requant.runtime.layers.context import Array, Context, exactly, require_features, unsupported
from requant.runtime.layers.registry import layer
from requant.runtime.operations import tensor_transformation as mil
from requant.runtime.operations.tensor_operation import flatten2d

CHANNEL_LAST = 1
_LEGACY_AXES = 5
_FEATURE_AXES = 3


@layer("flatten")
def flatten(context: Context, layer: Any, x: Array) -> list[Tensor]:
    """Channel, height and width flattened into channels."""
    graph = context.graph
    tensor = _to_channel_last(context, x) if layer.flatten.mode == CHANNEL_LAST else _with_features(context, x)
    leading = [graph.size_of(tensor, axis) for axis in range(tensor.rank - _FEATURE_AXES)]
    return [graph.reshape(tensor, *leading, -1, 1, 1)]


@layer("reshape")
def reshape(context: Context, layer: Any, x: Array) -> list[Tensor | Array]:
    """Channel, height and width in another shape; with four target sizes, the sequence together with them."""
    params, graph = layer.reshape, context.graph
    last = params.mode == CHANNEL_LAST
    *sequence, channel, height, width = params.targetShape
    sizes = (height, width, channel) if last else (channel, height, width)
    tensor = _to_channel_last(context, x) if last else _with_features(context, x)
    if not sequence:
        leading = [graph.size_of(tensor, axis) for axis in range(tensor.rank - _FEATURE_AXES)]
        return [_from_channel_last(context, graph.reshape(tensor, *leading, *sizes), last)]
    tensor = _with_sequence(context, Array(tensor, x.rank))
    moved = graph.node("Transpose", tensor, perm=[1, 0, 2, 3, 4])  # every element of the batch is reshaped by itself
    shaped = graph.reshape(moved, graph.size_of(tensor, 1), sequence[0], *sizes)
    result = _from_channel_last(context, graph.node("Transpose", shaped, perm=[1, 0, 2, 3, 4]), last)
    return [Array(result, _LEGACY_AXES)]


def _to_channel_last(context: Context, x: Array) -> Tensor:
    tensor = _with_features(context, x)
    return context.graph.node("Transpose", tensor, perm=_permuted(tensor, (1, 2, 0)))


def _from_channel_last(context: Context, x: Tensor, last: bool) -> Tensor:
    return context.graph.node("Transpose", x, perm=_permuted(x, (2, 0, 1))) if last else x


def _permuted(x: Tensor, order: tuple[int, ...]) -> list[int]:
    """Return all axes, the last ones of them in another order."""
    first = x.rank - len(order)
    return [*range(first), *(first + axis for axis in order)]


def _with_features(context: Context, x: Array) -> Tensor:
    """Return a tensor that has the axes channel, height and width."""
    require_features(x)
    return x.tensor if x.tensor.rank >= _FEATURE_AXES else context.full(x)


def _with_sequence(context: Context, x: Array) -> Tensor:
    """Return a tensor with the axes (sequence, batch, channel, height, width)."""
    tensor = context.full(x)
    if tensor.rank > _LEGACY_AXES:
        raise unsupported(f"an input of {tensor.rank} axes instead of five")
    missing = range(_LEGACY_AXES - tensor.rank)
    return context.graph.node("Unsqueeze", tensor, context.graph.integers(*missing)) if missing else tensor


@layer("permute")
def permute(context: Context, layer: Any, x: Array) -> list[Tensor | Array]:
    """Sequence, channel, height and width in another order."""
    axes = list(layer.permute.axis) or [0, 1, 2, 3]
    if axes == [0, 1, 2, 3]:
        return [x]
    if axes[0] == 0:
        tensor = _with_features(context, x)
        order = (axes[1] - 1, axes[2] - 1, axes[3] - 1)
        return [context.graph.node("Transpose", tensor, perm=_permuted(tensor, order))]
    if x.rank != _LEGACY_AXES:
        raise RequantError(f"it moves the axis of sequences, but gets an input of {x.rank} axes instead of five")
    places = [0, 2, 3, 4]
    sequence, *features = (places[axis] for axis in axes)
    result = context.graph.node("Transpose", context.full(x), perm=[sequence, 1, *features])
    return [Array(result, _LEGACY_AXES)]


@layer("transpose")
def transpose(context: Context, layer: Any, x: Array) -> list[Array]:
    """The axes in another order.

    coremltools itself lets a picture input, which has a batch of one, follow an array of three axes and keeps the order
    of three (`make_image_input`): leading axes of size 1 that the order does not name stay where they are.
    """
    tensor, order = context.full(x), tuple(layer.transpose.axes)
    unnamed = tensor.rank - len(order)
    if unnamed < 0 or any(size != 1 for size in tensor.shape[:unnamed]):
        raise RequantError(f"it orders {len(order)} axes, but gets an input of {tensor.rank}")
    return [exactly(mil.transpose(context.graph, tensor, tuple(_permuted(tensor, order))))]


@layer("copy")
def copy(context: Context, layer: Any, x: Array) -> list[Array]:
    """The same array under another name."""
    del context, layer
    return [Array(x.tensor, x.rank)]


@layer("reshapeStatic")
def reshape_static(context: Context, layer: Any, x: Array) -> list[Array]:
    """The same numbers in a constant shape; -1 stands for what is left."""
    result = context.graph.reshape(context.full(x), *layer.reshapeStatic.targetShape)
    return [exactly(result)]


@layer("reshapeDynamic")
def reshape_dynamic(context: Context, layer: Any, x: Array, shape: Array) -> list[Array]:
    """The same numbers in a shape that is an input; -1 stands for what is left."""
    del layer
    sizes = context.whole_numbers(shape)
    result = context.of_shape(context.graph.node("Reshape", context.full(x), sizes, allowzero=1), sizes)
    return [exactly(result)]


@layer("reshapeLike")
def reshape_like(context: Context, layer: Any, x: Array, like: Array) -> list[Array]:
    """The same numbers in the shape of another array."""
    del layer
    graph, other = context.graph, context.full(like)
    result = graph.node("Reshape", context.full(x), graph.shape_of(other), allowzero=1)
    result = graph.declare(result, other.shape)
    return [exactly(result)]


@layer("rankPreservingReshape")
def rank_preserving_reshape(context: Context, layer: Any, x: Array) -> list[Array]:
    """The same numbers in a shape of as many axes; 0 stands for the size that the axis had, -1 for what is left."""
    tensor = context.full(x)
    sizes = [
        size if size else context.graph.size_of(tensor, axis)
        for axis, size in enumerate(layer.rankPreservingReshape.targetShape)
    ]
    result = context.graph.reshape(tensor, *sizes)
    return [exactly(result)]


@layer("squeeze")
def squeeze(context: Context, layer: Any, x: Array) -> list[Array]:
    """Fewer axes of size 1: those named, or all. One axis is always left."""
    params, tensor = layer.squeeze, context.full(x)
    if params.squeezeAll and not tensor.is_static:
        return [exactly(context.graph.node("Squeeze", tensor))]
    sizes = enumerate(tensor.shape)
    axes = [axis for axis, size in sizes if size == 1] if params.squeezeAll else [a % tensor.rank for a in params.axes]
    if len(set(axes)) == tensor.rank:
        axes = axes[1:]
    if not axes:
        return [exactly(tensor)]
    return [exactly(context.graph.node("Squeeze", tensor, context.graph.integers(*axes)))]


@layer("expandDims")
def expand_dims(context: Context, layer: Any, x: Array) -> list[Array]:
    """New axes of size 1."""
    result = mil.expand_dims(context.graph, context.full(x), tuple(layer.expandDims.axes))
    return [exactly(result)]


@layer("flattenTo2D")
def flatten_to_2d(context: Context, layer: Any, x: Array) -> list[Array]:
    """A matrix: the axes before one as rows, that one and those after it as columns."""
    return [exactly(flatten2d(context.graph, context.full(x), layer.flattenTo2D.axis))]


@layer("getShape")
def get_shape(context: Context, layer: Any, x: Array) -> list[Array]:
    """The sizes of the axes."""
    del layer
    return [exactly(context.graph.cast(context.graph.shape_of(context.full(x)), "float32"))]


@layer("broadcastToStatic")
def broadcast_to_static(context: Context, layer: Any, x: Array) -> list[Array]:
    """An array repeated along axes of size 1, to a constant shape."""
    return _expanded(context, x, context.graph.integers(*layer.broadcastToStatic.targetShape))


@layer("broadcastToDynamic")
def broadcast_to_dynamic(context: Context, layer: Any, x: Array, shape: Array) -> list[Array]:
    """An array repeated along axes of size 1, to a shape that is an input."""
    del layer
    return _expanded(context, x, context.whole_numbers(shape))


@layer("broadcastToLike")
def broadcast_to_like(context: Context, layer: Any, x: Array, like: Array) -> list[Array]:
    """An array repeated along axes of size 1, to the shape of another one."""
    del layer
    return _expanded(context, x, context.graph.shape_of(context.full(like)))


def _expanded(context: Context, x: Array, shape: Tensor) -> list[Array]:
    result = context.of_shape(context.graph.node("Expand", context.full(x), shape), shape)
    return [exactly(result)]
