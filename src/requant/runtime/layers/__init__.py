"""The layers of a NeuralNetwork, translated to ONNX, by the names of the fields in `NeuralNetwork.proto`.

Each function takes the context, the layer and its input arrays, and returns its results. What a layer computes is
written in `NeuralNetwork.proto` above the message of its parameters.
"""

from __future__ import annotations

from requant.runtime.layers import (  # noqa: F401 - importing a family registers its layers
    activation,
    concatenation,
    convolution,
    elementwise,
    filling,
    gathering,
    image_resizing,
    linear,
    masking,
    non_maximum_suppression,
    normalization,
    ordering,
    padding,
    pooling,
    random,
    recurrent,
    reduction,
    reorganization,
    repetition,
    shape,
    slicing,
)
from requant.runtime.layers.context import Array, Context
from requant.runtime.layers.registry import LAYERS, translate_layer

__all__ = ["LAYERS", "Array", "Context", "translate_layer"]
