"""The layers of a NeuralNetwork, translated to ONNX, by the names of the fields in `NeuralNetwork.proto`.

Each function takes the context, the layer and the names of its input tensors, and returns those of its results. What
a layer computes is written in `NeuralNetwork.proto` above the message of its parameters.
"""

from __future__ import annotations

from requant.runtime.layers import activation, combination, convolution, linear, normalization, pooling, shape
from requant.runtime.layers.context import Context, Translator

LAYERS: dict[str, Translator] = {
    "activation": activation.activation,
    "softmax": activation.softmax,
    "add": combination.add,
    "multiply": combination.multiply,
    "concat": combination.concat,
    "convolution": convolution.convolution,
    "pooling": pooling.pooling,
    "innerProduct": linear.inner_product,
    "scale": linear.scale,
    "bias": linear.bias,
    "batchnorm": normalization.batch_normalization,
    "flatten": shape.flatten,
    "padding": shape.padding,
    "upsample": shape.upsample,
}

__all__ = ["LAYERS", "Context", "Translator"]
