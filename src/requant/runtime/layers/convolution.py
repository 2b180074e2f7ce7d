"""Convolutions and transposed convolutions ("deconvolutions")."""

from __future__ import annotations

from typing import Any

from requant.runtime.layers.context import Array, Context, unsupported, vector, weights
from requant.runtime.layers.registry import layer

BOTTOM_RIGHT_HEAVY, TOP_LEFT_HEAVY = 0, 1
SAME_PADDING = {BOTTOM_RIGHT_HEAVY: "SAME_UPPER", TOP_LEFT_HEAVY: "SAME_LOWER"}


@layer("convolution")
def convolution(context: Context, layer: Any, x: Array, *dynamic: Array) -> list[Array]:
    """A convolution or a transposed one, with constant weights."""
    params = layer.convolution
    if dynamic:
        raise unsupported("weights that are an input")
    kernel = list(params.kernelSize) or [3, 3]
    groups = max(params.nGroups, 1)
    attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": list(params.stride) or [1, 1], "group": groups}
    kind = params.WhichOneof("ConvolutionPaddingType")
    if params.isDeconvolution:
        shape, axis = (params.kernelChannels, params.outputChannels // groups, *kernel), 1
        attributes |= border(params, kind) | _deconvolution_shape(params, kind)
    else:
        shape, axis = (params.outputChannels, params.kernelChannels, *kernel), 0
        attributes |= _dilation(params, kernel, kind)
    inputs = [context.pictures(x), context.graph.constant(weights(params.weights, shape, axis))]
    if params.hasBias:
        inputs.append(context.graph.constant(vector(params.bias)))
    result = context.graph.node("ConvTranspose" if params.isDeconvolution else "Conv", *inputs, **attributes)
    return [context.from_pictures(result, x)]


def _dilation(params: Any, kernel: list[int], kind: str) -> dict[str, Any]:
    """Return ONNX's attributes for dilation and padding; ONNX Runtime knows no `same` for a dilated kernel."""
    factors = list(params.dilationFactor) or [1, 1]
    if factors == [1, 1] or kind != "same":
        return {"dilations": factors, **border(params, kind)}
    if any(step > 1 for step in params.stride):
        raise unsupported("a stride and a dilation together with the padding same")
    totals = [(size - 1) * factor for size, factor in zip(kernel, factors, strict=True)]
    lesser, greater = [total // 2 for total in totals], [total - total // 2 for total in totals]
    pads = lesser + greater if params.same.asymmetryMode == BOTTOM_RIGHT_HEAVY else greater + lesser
    return {"dilations": factors, "pads": pads}


def border(params: Any, kind: str | None) -> dict[str, Any]:
    """Return ONNX's attributes for the padding `valid` (with explicit border amounts) or `same`."""
    if kind == "same":
        return {"auto_pad": SAME_PADDING[params.same.asymmetryMode]}
    amounts = params.valid.paddingAmounts.borderAmounts
    if not amounts:
        return {"pads": [0, 0, 0, 0]}
    return {"pads": [a.startEdgeSize for a in amounts] + [a.endEdgeSize for a in amounts]}


def _deconvolution_shape(params: Any, kind: str) -> dict[str, Any]:
    if not params.outputShape:
        return {}
    if kind == "same":
        return {"output_shape": list(params.outputShape)}
    raise unsupported("an output shape together with the padding valid")
