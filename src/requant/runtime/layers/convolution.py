"""Convolutions and transposed convolutions ("deconvolutions")."""

from __future__ import annotations

from typing import Any

import numpy as np

from requant.runtime.layers.context import Context, unsupported, weights

SAME_PADDING = {0: "SAME_UPPER", 1: "SAME_LOWER"}  # BOTTOM_RIGHT_HEAVY, TOP_LEFT_HEAVY


def convolution(context: Context, layer: Any, x: str, *dynamic: str) -> list[str]:
    """Translate a convolution with constant weights."""
    params = layer.convolution
    if dynamic:
        raise unsupported(layer, "weights that are an input")
    kernel = list(params.kernelSize) or [3, 3]
    groups = max(params.nGroups, 1)
    attributes: dict[str, Any] = {
        "kernel_shape": kernel,
        "strides": list(params.stride) or [1, 1],
        "dilations": list(params.dilationFactor) or [1, 1],
        "group": groups,
    }
    attributes |= border(params)
    if params.isDeconvolution:
        shape, axis = (params.kernelChannels, params.outputChannels // groups, *kernel), 1
        attributes |= _deconvolution_shape(params, layer)
    else:
        shape, axis = (params.outputChannels, params.kernelChannels, *kernel), 0
    inputs = [x, context.graph.constant(weights(params.weights, shape, axis))]
    if params.hasBias:
        inputs.append(context.graph.constant(np.asarray(weights(params.bias, (params.outputChannels,)))))
    return [context.graph.node("ConvTranspose" if params.isDeconvolution else "Conv", *inputs, **attributes)]


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
