"""Convolutions and transposed convolutions ("deconvolutions")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from requant.runtime.graph import Tensor
from requant.runtime.layers.context import Array, Context, vector, weights
from requant.runtime.layers.registry import layer
from requant.runtime.operations import conv as operations
from requant.runtime.operations.windows import CUSTOM, SAME, SAME_LOWER, VALID

_SAME_MODES = (SAME, SAME_LOWER)  # BOTTOM_RIGHT_HEAVY, TOP_LEFT_HEAVY
_PADDINGS_3D = (CUSTOM, VALID, SAME)


@layer("convolution")
def convolution(context: Context, layer: Any, x: Array, *dynamic: Array) -> list[Array]:
    """A convolution or a transposed one; the weights of the former may be a second input."""
    params, graph = layer.convolution, context.graph
    groups = max(params.nGroups, 1)
    kernel, strides = list(params.kernelSize) or [3, 3], tuple(params.stride) or (1, 1)
    if dynamic:
        weight = context.full(dynamic[0])
    elif params.isDeconvolution:
        shape = (params.kernelChannels, params.outputChannels // groups, *kernel)
        weight = graph.constant(weights(params.weights, shape, 1))
    else:
        weight = graph.constant(weights(params.weights, (params.outputChannels, params.kernelChannels, *kernel)))
    bias = graph.constant(vector(params.bias, params.outputChannels)) if params.hasBias else None
    kind, pad = border(params, params.WhichOneof("ConvolutionPaddingType"))
    pictures = context.pictures(x)
    if params.isDeconvolution:
        result = _transposed(context, pictures, weight, bias, list(params.outputShape), pad, kind, strides, groups)
    else:
        factors = tuple(params.dilationFactor) or (1, 1)
        result = operations.conv(graph, pictures, weight, bias, strides, kind, pad, factors, groups)
    return [context.from_pictures(result, x)]


@layer("convolution3d")
def convolution_3d(context: Context, layer: Any, x: Array) -> list[Array]:
    """A convolution of volumes or a transposed one."""
    params, graph = layer.convolution3d, context.graph
    groups = max(params.nGroups, 1)
    kernel = [max(size, 1) for size in (params.kernelDepth, params.kernelHeight, params.kernelWidth)]
    strides = tuple(max(step, 1) for step in (params.strideDepth, params.strideHeight, params.strideWidth))
    factors = tuple(max(step, 1) for step in (params.dilationDepth, params.dilationHeight, params.dilationWidth))
    kind, pad = border_3d(params)
    bias = graph.constant(vector(params.bias, params.outputChannels)) if params.hasBias else None
    volumes = context.full(x)
    if params.isDeconvolution:
        stored = weights(params.weights, (params.outputChannels // groups, params.inputChannels, *kernel))
        weight, sizes = graph.constant(stored.swapaxes(0, 1)), list(params.outputShape)
        result = _transposed(context, volumes, weight, bias, sizes, pad, kind, strides, groups, factors)
    else:
        shape = (params.outputChannels, params.inputChannels // groups, *kernel)
        weight = graph.constant(weights(params.weights, shape))
        result = operations.conv(graph, volumes, weight, bias, strides, kind, pad, factors, groups)
    return [Array(result, x.rank)]


def border(params: Any, kind: str | None) -> tuple[str, tuple[int, ...]]:
    """Return MIL's padding and its amounts for the padding `valid` (with amounts) or `same` of a layer."""
    if kind == "same":
        return _SAME_MODES[params.same.asymmetryMode], ()
    amounts = params.valid.paddingAmounts.borderAmounts
    return CUSTOM, tuple(size for amount in amounts for size in (amount.startEdgeSize, amount.endEdgeSize))


def border_3d(params: Any) -> tuple[str, tuple[int, ...]]:
    """Return MIL's padding and its amounts for a layer of volumes."""
    pad = (
        *(params.customPaddingFront, params.customPaddingBack),
        *(params.customPaddingTop, params.customPaddingBottom),
        *(params.customPaddingLeft, params.customPaddingRight),
    )
    return _PADDINGS_3D[params.paddingType], pad


def _transposed(
    context: Context,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    sizes: Sequence[int],
    pad: tuple[int, ...],
    kind: str,
    strides: tuple[int, ...],
    groups: int,
    dilations: tuple[int, ...] | None = None,
) -> Tensor:
    """Add a transposed convolution; where its sizes are given, the padding is whatever makes them."""
    shape = (1, 1, *sizes) if sizes else None
    kind = SAME if sizes else kind
    return operations.conv_transpose(context.graph, x, weight, bias, pad, shape, kind, strides, dilations, groups)
