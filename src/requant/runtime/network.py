"""A NeuralNetwork as ONNX.

Networks of the first specification versions see every array as (sequence, batch, channel, height, width). Here the
sequence axis is left out and the batch is 1, so that tensors are (1, channel, height, width). Later networks may
declare exact shapes, which are kept as they are. (`NeuralNetwork.proto`, "Array shape mapping".)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from requant.coreml.description import Feature, class_labels, inputs_of, outputs_of
from requant.coreml.model import Model
from requant.coreml.network import network_of
from requant.errors import RequantError
from requant.runtime.graph import Graph
from requant.runtime.layers import LAYERS, Context
from requant.runtime.translation import GraphInput, Translation

EXACT_ARRAYS = 1


def translate_network(model: Model) -> Translation:
    """Return a NeuralNetwork as ONNX.

    Raises:
        RequantError: if it has a layer without a translation, naming the layer and its type.
    """
    network = network_of(model.spec)
    context = Context(Graph(), exact_shapes=network.arrayInputShapeMapping == EXACT_ARRAYS)
    inputs = {}
    for index, feature in enumerate(inputs_of(model)):
        inputs[feature.name] = GraphInput("float32", _shape_in_graph(feature, context))
        tensor = context.graph.input(feature.name, "float32", inputs[feature.name].shape)
        tensor = _preprocess(tensor, feature, network.preprocessing, index == 0, context)
        context.tensors[feature.name] = tensor
        context.axes[tensor] = len(inputs[feature.name].shape)
    for layer in network.layers:
        _translate_layer(layer, context, model)
    return _finish(model, network, context, inputs)


def _translate_layer(layer: Any, context: Context, model: Model) -> None:
    kind = layer.WhichOneof("layer")
    if kind not in LAYERS:
        raise RequantError(f"{model.path}: the layer {layer.name!r} is of type {kind}, which requant can't run yet.")
    try:
        inputs = [context.tensors[name] for name in layer.input]
    except KeyError as error:
        raise RequantError(f"{model.path}: the layer {layer.name!r} reads {error}, which no layer makes.") from error
    results = LAYERS[kind](context, layer, *inputs)
    context.tensors.update(zip(layer.output, results, strict=True))
    context.axes |= dict.fromkeys(results, max(context.axes[name] for name in inputs))  # no layer changes their number


def _shape_in_graph(feature: Feature, context: Context) -> tuple[int, ...]:
    if feature.type == "picture":
        return (1, 1 if feature.colour.startswith("GRAYSCALE") else 3, *feature.shape)
    if context.exact_shapes:
        return feature.shape
    if len(feature.shape) == 1:
        return (1, feature.shape[0], 1, 1)
    if len(feature.shape) in (3, 4, 5):
        return (int(np.prod(feature.shape[:-3])), *feature.shape[-3:])
    raise RequantError(
        f"the input {feature.name!r} has the shape {feature.shape}; this network's arrays have 1, 3, 4 or 5 axes."
    )


def _preprocess(tensor: str, feature: Feature, steps: Any, first: bool, context: Context) -> str:
    """Scale and shift a picture as the network says: `scale * (x - mean) + bias` (`NeuralNetworkPreprocessing`)."""
    graph = context.graph
    for step in steps:
        if step.featureName != feature.name and (step.featureName or not first):
            continue
        if step.WhichOneof("preprocessor") == "meanImage":
            channels = 1 if feature.colour.startswith("GRAYSCALE") else 3
            mean = np.array(step.meanImage.meanImage, np.float32).reshape(1, channels, *feature.shape)
            tensor = graph.node("Sub", tensor, graph.constant(mean))
            continue
        scaler = step.scaler
        biases = [scaler.redBias, scaler.greenBias, scaler.blueBias]
        if feature.colour.startswith("GRAYSCALE"):
            biases = [scaler.grayBias]
        biases = biases[::-1] if feature.colour == "BGR" else biases
        if scaler.channelScale != 1:
            tensor = graph.node("Mul", tensor, graph.scalar(scaler.channelScale))
        if any(biases):
            tensor = graph.node("Add", tensor, graph.constant(np.array(biases, np.float32).reshape(1, -1, 1, 1)))
    return tensor


def _finish(model: Model, network: Any, context: Context, inputs: dict[str, GraphInput]) -> Translation:
    labels = class_labels(model)
    results = []
    for feature in outputs_of(model):
        if feature.name in context.tensors and feature.type in ("picture", "array", "number"):
            tensor = context.tensors[feature.name]
            if feature.type == "array" and not context.exact_shapes:
                tensor = context.graph.node("Squeeze", tensor, context.graph.integers(0))
            context.graph.output(context.graph.node("Identity", tensor))
            results.append(feature.name)
    scores = ""
    if labels:
        scores = network.labelProbabilityLayerName or network.layers[-1].output[0]
        context.graph.output(context.graph.node("Identity", context.tensors[scores]))
        scores = f"{scores} (probabilities)"
        results.append(scores)
    return Translation(context.graph.to_bytes(), inputs, results, scores, tuple(labels))
