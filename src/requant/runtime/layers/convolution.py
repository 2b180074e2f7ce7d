"""Convolutions and transposed convolutions ("deconvolutions")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from requant.coreml.network import convolution_weights, decode
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
    strides = tuple(params.stride) or (1, 1)
    weight = context.full(dynamic[0]) if dynamic else graph.constant(decode(convolution_weights(layer)))
    bias = graph.constant(vector(params.bias, params.outputChannels)) if params.hasBias else None
    kind, pad = border(params, params.WhichOneof("ConvolutionPaddingType"))
    pictures, factors = context.pictures(x), tuple(params.dilationFactor) or (1, 1)
    if params.isDeconvolution:  # dilated, too, as in Apple's tests, though the format's text says that this is ignored
        sizes = list(params.outputShape)
        result = _transposed(context, pictures, weight, bias, sizes, pad, kind, strides, groups, factors)
    else:
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
        # coremltools stores the input channels first, other than the format's text says, and Apple tests that.
        weight = graph.constant(
            weights(params.weights, (params.inputChannels, params.outputChannels // groups, *kernel))
        )
        sizes = list(params.outputShape)
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
    dilations: tuple[int, ...],
) -> Tensor:
    """Add a transposed convolution; where its sizes are given, the padding is whatever makes them."""
    shape = (1, 1, *sizes) if sizes else None
    kind = SAME if sizes else kind
    return operations.conv_transpose(context.graph, x, weight, bias, pad, shape, kind, strides, dilations, groups)
