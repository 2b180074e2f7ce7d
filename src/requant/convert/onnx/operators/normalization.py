"""Normalization."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813

from requant.convert.onnx.operators.registry import Node, operator
from requant.convert.onnx.values import Value, cast, is_known, rank_of, reshaped, shape_of, size_of
from requant.errors import RequantError


@operator("BatchNormalization")
def batch_norm(node: Node) -> Value:
    """Channels brought to a learned mean and variance.

    Raises:
        RequantError: if it is in training mode.
    """
    if node.attribute("training_mode", 0) or node.uses(1):
        raise RequantError("it is in training mode, in which a finished network is not. Export it for inference")
    x = node.tensor(0)
    epsilon = np.float32(node.attribute("epsilon", 1e-5))
    rank = rank_of(x)
    if 3 <= rank <= 5 and all(is_known(node.given(index)) for index in range(1, 5)):
        gamma, beta, mean, variance = (node.tensor(index) for index in range(1, 5))
        return mb.batch_norm(x=x, mean=mean, variance=variance, gamma=gamma, beta=beta, epsilon=epsilon)
    gamma, beta, mean, variance = (_of_channels(node, index, rank) for index in range(1, 5))
    factor = mb.mul(x=gamma, y=mb.rsqrt(x=variance, epsilon=epsilon))
    return mb.add(x=mb.mul(x=mb.sub(x=x, y=mean), y=factor), y=beta)


def _of_channels(node: Node, index: int, rank: int) -> Value:
    """Return a vector of the channels with axes of size 1 after it."""
    value = node.given(index)
    if is_known(value):
        return node.weight(value.reshape(-1, *[1] * (rank - 2)), index)
    return mb.expand_dims(x=value, axes=list(range(1, rank - 1))) if rank > 2 else value


@operator("InstanceNormalization")
def instance_norm(node: Node) -> Value:
    """Each channel of each sample brought to a mean and variance."""
    x = node.tensor(0)
    epsilon = np.float32(node.attribute("epsilon", 1e-5))
    rank = rank_of(x)
    if rank in (3, 4) and is_known(node.given(1)) and is_known(node.given(2)):
        return mb.instance_norm(x=x, gamma=node.tensor(1), beta=node.tensor(2), epsilon=epsilon)
    result = normalized(x, list(range(2, rank)), epsilon)
    result = mb.mul(x=result, y=_of_channels(node, 1, rank))
    return mb.add(x=result, y=_of_channels(node, 2, rank))


def normalized(x: Value, axes: Sequence[int], epsilon: np.float32) -> Value:
    """Return an array with mean 0 and variance 1 over axes."""
    centred = mb.sub(x=x, y=mb.reduce_mean(x=x, axes=list(axes), keep_dims=True))
    variance = mb.reduce_mean(x=mb.mul(x=centred, y=centred), axes=list(axes), keep_dims=True)
    return mb.mul(x=centred, y=mb.rsqrt(x=variance, epsilon=epsilon))


@operator("LayerNormalization")
def layer_norm(node: Node) -> list[Value]:
    """The last axes of each sample brought to a mean and variance, and those two if they are used."""
    x = node.tensor(0)
    rank = rank_of(x)
    axes = list(range(node.attribute("axis", -1) % rank, rank))
    epsilon = np.float32(node.attribute("epsilon", 1e-5))
    scale, bias = node.given(1), node.value(2)
    sizes = tuple(shape_of(x)[axis] for axis in axes)
    known = all(value is None or (is_known(value) and value.shape == sizes) for value in (scale, bias))
    if known:
        beta = node.tensor(2) if bias is not None else None
        result = mb.layer_norm(x=x, axes=axes, gamma=node.tensor(1), beta=beta, epsilon=epsilon)
    else:
        result = mb.mul(x=normalized(x, axes, epsilon), y=node.tensor(1))
        result = mb.add(x=result, y=node.tensor(2)) if bias is not None else result
    if not node.uses(1) and not node.uses(2):
        return [result]
    mean = mb.reduce_mean(x=x, axes=axes, keep_dims=True)
    centred = mb.sub(x=x, y=mean)
    variance = mb.reduce_mean(x=mb.mul(x=centred, y=centred), axes=axes, keep_dims=True)
    return [result, mean, mb.rsqrt(x=variance, epsilon=epsilon)]


@operator("GroupNormalization")
def group_norm(node: Node) -> Value:
    """Groups of channels brought to a mean and variance; scale and bias are of groups up to version 20."""
    x = node.tensor(0)
    sizes = [size_of(x, axis) for axis in range(rank_of(x))]
    groups = node.attribute("num_groups")
    flat = reshaped(x, [sizes[0], groups, None])
    flat = normalized(flat, [2], np.float32(node.attribute("epsilon", 1e-5)))
    if node.opset < 21:
        flat = mb.mul(x=flat, y=mb.expand_dims(x=node.tensor(1), axes=[1]))
        flat = mb.add(x=flat, y=mb.expand_dims(x=node.tensor(2), axes=[1]))
        return reshaped(flat, sizes)
    result = mb.mul(x=reshaped(flat, sizes), y=_of_channels(node, 1, len(sizes)))
    return mb.add(x=result, y=_of_channels(node, 2, len(sizes)))


@operator("RMSNormalization")
def rms_norm(node: Node) -> Value:
    """The last axes divided by the root of their mean square."""
    x = node.tensor(0)
    rank = rank_of(x)
    axes = list(range(node.attribute("axis", -1) % rank, rank))
    squares = mb.reduce_mean(x=mb.mul(x=x, y=x), axes=axes, keep_dims=True)
    result = mb.mul(x=x, y=mb.rsqrt(x=squares, epsilon=np.float32(node.attribute("epsilon", 1e-5))))
    return mb.mul(x=result, y=node.tensor(1))


@operator("MeanVarianceNormalization")
def mean_variance_norm(node: Node) -> Value:
    """Axes brought to mean 0 and variance 1, with the number that ONNX adds to the deviation."""
    x, axes = node.tensor(0), node.attribute("axes", [0, 2, 3])
    mean = mb.reduce_mean(x=x, axes=axes, keep_dims=True)
    squares = mb.reduce_mean(x=mb.mul(x=x, y=x), axes=axes, keep_dims=True)
    deviation = mb.sqrt(x=mb.sub(x=squares, y=mb.mul(x=mean, y=mean)))
    return mb.real_div(x=mb.sub(x=x, y=mean), y=mb.add(x=deviation, y=np.float32(1e-9)))


@operator("LpNormalization")
def lp_norm(node: Node) -> Value:
    """An axis divided by its norm; zeros stay zeros."""
    x, axis, power = node.tensor(0), node.attribute("axis", -1), node.attribute("p", 2)
    function = mb.reduce_l1_norm if power == 1 else mb.reduce_l2_norm
    norm = function(x=x, axes=[axis], keep_dims=True)
    is_zero = cast(mb.equal(x=norm, y=np.float32(0)), "float")
    return mb.real_div(x=x, y=mb.add(x=norm, y=is_zero))


@operator("LRN")
def local_response_norm(node: Node) -> Value:
    """Each number divided by a power of the squares in the channels around it."""
    return mb.local_response_norm(
        x=node.tensor(0),
        size=node.attribute("size"),
        alpha=np.float32(node.attribute("alpha", 1e-4)),
        beta=np.float32(node.attribute("beta", 0.75)),
        k=np.float32(node.attribute("bias", 1.0)),
    )
