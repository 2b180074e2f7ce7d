"""Convolutions and transposed convolutions ("deconvolutions")."""

from __future__ import annotations

from typing import Any

import numpy as np

from requant.runtime.layers.context import Context, require_four_axes, unsupported, weights

BOTTOM_RIGHT_HEAVY, TOP_LEFT_HEAVY = 0, 1
SAME_PADDING = {BOTTOM_RIGHT_HEAVY: "SAME_UPPER", TOP_LEFT_HEAVY: "SAME_LOWER"}


def convolution(context: Context, layer: Any, x: str, *dynamic: str) -> list[str]:
    """Translate a convolution with constant weights."""
    params = layer.convolution
    if dynamic:
        raise unsupported(layer, "weights that are an input")
    require_four_axes(context, layer, x)
    kernel = list(params.kernelSize) or [3, 3]
    groups = max(params.nGroups, 1)
    attributes: dict[str, Any] = {
        "kernel_shape": kernel,
        "strides": list(params.stride) or [1, 1],
        "group": groups,
    }
    if params.isDeconvolution:
        shape, axis = (params.kernelChannels, params.outputChannels // groups, *kernel), 1
        attributes |= border(params) | _deconvolution_shape(params, layer)
    else:
        shape, axis = (params.outputChannels, params.kernelChannels, *kernel), 0
        attributes |= _dilation(params, kernel, layer)
    inputs = [x, context.graph.constant(weights(params.weights, shape, axis))]
    if params.hasBias:
        inputs.append(context.graph.constant(np.asarray(weights(params.bias, (params.outputChannels,)))))
    return [context.graph.node("ConvTranspose" if params.isDeconvolution else "Conv", *inputs, **attributes)]


def _dilation(params: Any, kernel: list[int], layer: Any) -> dict[str, Any]:
    """Return ONNX's attributes for dilation and padding; ONNX Runtime knows no `same` for a dilated kernel."""
    factors = list(params.dilationFactor) or [1, 1]
    if factors == [1, 1] or params.WhichOneof("ConvolutionPaddingType") != "same":
        return {"dilations": factors, **border(params)}
    if any(step > 1 for step in params.stride):
        raise unsupported(layer, "a stride and a dilation together with the padding same")
    totals = [(size - 1) * factor for size, factor in zip(kernel, factors, strict=True)]
    lesser, greater = [total // 2 for total in totals], [total - total // 2 for total in totals]
    pads = lesser + greater if params.same.asymmetryMode == BOTTOM_RIGHT_HEAVY else greater + lesser
    return {"dilations": factors, "pads": pads}


def border(params: Any) -> dict[str, Any]:
    """Return ONNX's attributes for the padding `valid` (with explicit border amounts) or `same`."""
    if (
        params.WhichOneof("ConvolutionPaddingType" if hasattr(params, "isDeconvolution") else "PoolingPaddingType")
        == "same"
    ):
        return {"auto_pad": SAME_PADDING[params.same.asymmetryMode]}
    amounts = params.valid.paddingAmounts.borderAmounts
    if not amounts:
        return {"pads": [0, 0, 0, 0]}
    return {"pads": [a.startEdgeSize for a in amounts] + [a.endEdgeSize for a in amounts]}


def _deconvolution_shape(params: Any, layer: Any) -> dict[str, Any]:
    if not params.outputShape:
        return {}
    if params.WhichOneof("ConvolutionPaddingType") == "same":
        return {"output_shape": list(params.outputShape)}
    raise unsupported(layer, "an output shape together with the padding valid")
