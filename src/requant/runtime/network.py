"""A NeuralNetwork as ONNX.

Every layer is translated by a function of `requant.runtime.layers`; here are the arrays that they pass on, what is done
to pictures before the first layer, and the layers that hold networks (`branch`, `loop`).

Networks of the first specification versions see every array as (sequence, batch, channel, height, width). Later
networks may declare exact shapes, which are kept as they are (`NeuralNetworkMultiArrayShapeMapping` in
`NeuralNetwork.proto`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from requant.coreml.description import Feature, class_labels, inputs_of, outputs_of
from requant.coreml.model import Model
from requant.coreml.network import network_of, walk_layers
from requant.errors import RequantError
from requant.runtime.graph import Graph, Shape, Tensor
from requant.runtime.layers import LAYERS, Array, Context, translate_layer
from requant.runtime.layers.context import exactly
from requant.runtime.refusal import naming
from requant.runtime.translation import GraphInput, Translation

EXACT_ARRAYS = 1
RANK4_IMAGES = 1
_RECURRENT_LAYERS = frozenset({"simpleRecurrent", "gru", "uniDirectionalLSTM", "biDirectionalLSTM"})
_CLOSE_TO_ZERO = 1e-6
_BREAK, _CONTINUE = "(break)", "(continue)"


def translate_network(model: Model) -> Translation:
    """Return a NeuralNetwork as ONNX.

    Raises:
        RequantError: if it has a layer without a translation, naming the layer and its type.
    """
    network = network_of(model.spec)
    translator = _Translator(model, network)
    for index, feature in enumerate(inputs_of(model)):
        translator.declare_input(feature, first=index == 0)
    translator.layers(network.layers)
    return translator.finish()


class _Translator:
    """Translates layers in their order; keeps the arrays of the network by name."""

    def __init__(self, model: Model, network: Any) -> None:
        self.model = model
        self.network = network
        self.context = Context(Graph(), exact_shapes=network.arrayInputShapeMapping == EXACT_ARRAYS)
        sees_sequences = any(_sees_sequences(layer) for layer in walk_layers(network.layers))
        self.sequences = sees_sequences and not self.context.exact_shapes
        self.inputs: dict[str, GraphInput] = {}
        self.ranks: dict[str, int] = {}  # of all arrays that a layer has made, in whichever network

    def declare_input(self, feature: Feature, first: bool) -> None:
        """Declare an input in the graph and prepare it as the network says."""
        shape, rank = self._shape_of(feature)
        legacy = feature.type != "picture" and not self.context.exact_shapes
        self.inputs[feature.name] = GraphInput("float32", shape, sequence_axes=legacy)
        tensor = self.context.graph.input(feature.name, "float32", shape)
        self.context.arrays[feature.name] = Array(self._preprocess(tensor, feature, first), rank)

    def _shape_of(self, feature: Feature) -> tuple[Shape, int]:
        """Return the shape of an input in the graph, and how many axes the network sees."""
        sizes = feature.open_shape
        if feature.type == "picture":
            five = self.network.imageInputShapeMapping != RANK4_IMAGES
            return (1, 1 if feature.colour.startswith("GRAYSCALE") else 3, *sizes), 5 if five else 4
        if self.context.exact_shapes:
            return sizes, len(sizes)
        if len(sizes) not in (1, 3, 4, 5):
            raise RequantError(
                f"{self.model.path}: the input {feature.name!r} has the shape {sizes}; this network's arrays have 1 or "
                "3 axes."
            )
        last = (sizes[0], 1, 1) if len(sizes) == 1 else sizes[-3:]
        return ((-1, -1, *last) if self.sequences else (-1, *last)), 5

    def _preprocess(self, tensor: Tensor, feature: Feature, first: bool) -> Tensor:
        """Scale and shift a picture as the network says: `scale * (x - mean) + bias` (`NeuralNetworkPreprocessing`)."""
        graph = self.context.graph
        for step in self.network.preprocessing:
            if step.featureName != feature.name and (step.featureName or not first):
                continue
            grey = feature.colour.startswith("GRAYSCALE")
            if step.WhichOneof("preprocessor") == "meanImage":
                mean = np.array(step.meanImage.meanImage, np.float32).reshape(1, 1 if grey else 3, *feature.shape)
                tensor = graph.node("Sub", tensor, graph.constant(mean))
                continue
            scaler = step.scaler
            biases = [scaler.grayBias] if grey else [scaler.redBias, scaler.greenBias, scaler.blueBias]
            biases = biases[::-1] if feature.colour == "BGR" else biases
            if scaler.channelScale != 1:
                tensor = graph.node("Mul", tensor, graph.scalar(scaler.channelScale))
            if any(biases):
                tensor = graph.node("Add", tensor, graph.constant(np.array(biases, np.float32).reshape(1, -1, 1, 1)))
        return tensor

    def layers(self, layers: Sequence[Any]) -> None:
        """Add layers to the graph, the rest of them only where no break or continue comes before them."""
        for index, layer in enumerate(layers):
            self._layer(layer)
            if layer.WhichOneof("layer") in ("loopBreak", "loopContinue"):
                return
            if _interrupts(layer):
                self._unless_interrupted(layers[index + 1 :])
                return

    def _layer(self, layer: Any) -> None:
        kind = layer.WhichOneof("layer")
        part = f"the layer {layer.name!r} of type {kind}"
        with naming(self.model.path, part):
            if kind in _HOLDING:
                getattr(self, f"_{kind}")(layer)
                return
            if kind == "custom":
                raise RequantError(f"its class {layer.custom.className!r} is the app's own: only that app can run it")
            if kind not in LAYERS:
                raise RequantError("requant can't run this type yet")
            results = translate_layer(self.context, layer, [self._array(name) for name in layer.input])
        if len(results) != len(layer.output):
            made, named = len(results), len(layer.output)
            raise RequantError(f"{self.model.path}: {part} makes {made} arrays, but names {named}.")
        self.context.arrays.update(zip(layer.output, results, strict=True))
        self.ranks.update((name, x.rank) for name, x in zip(layer.output, results, strict=True))

    def _array(self, name: str) -> Array:
        if name not in self.context.arrays:
            raise RequantError(f"it reads {name!r}, which no layer before it makes")
        return self.context.arrays[name]

    # The layers that hold networks, and those that leave them. `_HOLDING` lists them.

    def _branch(self, layer: Any) -> None:
        condition = self._holds(self._array(layer.input[0]))
        taken, other = layer.branch.ifBranch.layers, layer.branch.elseBranch.layers
        self._either(condition, taken, other)

    def _loopBreak(self, layer: Any) -> None:  # noqa: ARG002, N802 - the layer's own name
        self._raise_flag(_BREAK)

    def _loopContinue(self, layer: Any) -> None:  # noqa: ARG002, N802 - the layer's own name
        self._raise_flag(_CONTINUE)

    def _raise_flag(self, name: str) -> None:
        if name not in self.context.arrays:
            raise RequantError("it is not within the body of a loop")
        self.context.arrays[name] = Array(self.context.graph.constant(np.array(True)), 0)

    def _unless_interrupted(self, layers: Sequence[Any]) -> None:
        graph = self.context.graph
        flags = [self.context.arrays[name].tensor for name in (_BREAK, _CONTINUE)]
        self._either(graph.node("Or", *flags), [], layers)

    def _either(self, condition: Tensor, taken: Sequence[Any], other: Sequence[Any]) -> None:
        """Add an `If` whose results are the arrays that both branches end with and at least one of them makes."""
        ends, graphs = [], []
        for layers in (taken, other):
            with self._nested() as graph:
                self.layers(layers)
                ends.append(self.context.arrays)
                graphs.append(graph)
        names = [name for name in ends[0] if name in ends[1] and ends[0][name] is not ends[1][name]]
        if not names:
            return
        types = []
        for name in names:
            tensors = []
            for graph, arrays in zip(graphs, ends, strict=True):
                with self._within(graph, arrays):
                    tensors.append(self.context.full(arrays[name]))
                graph.output(tensors[-1])
            types.append((tensors[0].dtype, _common_shape(*(tensor.known_shape for tensor in tensors))))
        results = self.context.graph.holder(
            "If", [condition], types, then_branch=graphs[0].proto(), else_branch=graphs[1].proto()
        )
        self.context.arrays.update((name, exactly(x)) for name, x in zip(names, results, strict=True))

    def _loop(self, layer: Any) -> None:
        """Add a `Loop` that carries every array which is made in it and was there before, or is read after it.

        The body is translated for arrays that keep their shapes, and again for open ones where it changes them.
        """
        params, graph = layer.loop, self.context.graph
        condition = list(params.conditionNetwork.layers) if params.conditionVar else []
        self.layers(condition)
        start = self._holds(self._array(params.conditionVar)) if condition else graph.constant(np.array(True))
        made = dict.fromkeys(name for inner in walk_layers([layer]) for name in inner.output)
        carried = {name: self.context.full(x) for name, x in self.context.arrays.items() if name in made}
        shapes = {name: tensor.shape for name, tensor in carried.items()}
        body, last = self._body(layer, condition, shapes)
        late = [name for name in made if name not in carried and self._is_read_outside(name, layer)]
        for name in (name for name in late if name in self.ranks):
            carried[name] = graph.constant(np.zeros((1,) * self.ranks[name], np.float32))  # nobody reads it
            shapes[name] = (-1,) * self.ranks[name]
        if late:
            body, last = self._body(layer, condition, shapes)
        while shapes != (kept := {name: self._kept_shape(name, size, last[name]) for name, size in shapes.items()}):
            shapes = kept
            body, last = self._body(layer, condition, shapes)
        inputs = [self._iterations(layer, bool(condition)), start, *carried.values()]
        results = graph.holder("Loop", inputs, [("float32", shape) for shape in shapes.values()], body=body)
        self.context.arrays.update((name, exactly(x)) for name, x in zip(shapes, results, strict=True))

    def _kept_shape(self, name: str, before: Shape, after: Tensor) -> Shape:
        shape = _common_shape(before, after.shape)
        if shape is None:
            raise RequantError(f"the array {name!r} has another number of axes after an iteration than before it")
        return shape

    def _body(self, layer: Any, condition: Sequence[Any], shapes: dict[str, Shape]) -> tuple[Any, dict[str, Tensor]]:
        """Translate one iteration of a loop and the condition after it.

        Args:
            layer: the loop.
            condition: the layers of its condition.
            shapes: of the arrays that are carried from iteration to iteration, by their names.

        Returns:
            The graph as a message, and the carried arrays after the iteration, by their names.
        """
        with self._nested() as nested:
            nested.variable("int64", ())
            nested.variable("bool", ())
            for name, shape in shapes.items():
                self.context.arrays[name] = Array(nested.variable("float32", shape), len(shape))
            for flag in (_BREAK, _CONTINUE):
                self.context.arrays[flag] = Array(nested.constant(np.array(False)), 0)
            self.layers(layer.loop.bodyNetwork.layers)
            stopped = self.context.arrays[_BREAK].tensor
            if stopped.value is None:
                self._either(stopped, [], condition)
            elif not stopped.value:
                self.layers(condition)
            goes_on = self._array(layer.loop.conditionVar) if condition else None
            holds = self._holds(goes_on) if goes_on else nested.constant(np.array(True))
            nested.output(nested.node("And", holds, nested.node("Not", stopped)))
            last = {name: self.context.full(self.context.arrays[name]) for name in shapes}
            for tensor in last.values():
                nested.output(tensor)
            return nested.proto(), last

    def _is_read_outside(self, name: str, loop: Any) -> bool:
        """Return whether a layer outside of a loop reads an array, or it is an output of the model."""
        if any(feature.name == name for feature in outputs_of(self.model)):
            return True
        readings = [
            sum(list(layer.input).count(name) for layer in walk_layers(layers))
            for layers in (self.network.layers, [loop])
        ]
        return readings[0] > readings[1]

    def _iterations(self, layer: Any, conditional: bool) -> Tensor | None:
        """Return how often a loop runs at most; None where only its condition decides."""
        graph = self.context.graph
        if layer.input:
            return graph.cast(graph.reshape(self._array(layer.input[0]).tensor), "int64")
        limit = layer.loop.maxLoopIterations
        return graph.constant(np.array(limit, np.int64)) if limit or not conditional else None

    def _holds(self, x: Array) -> Tensor:
        """Return whether a number is not close to zero, a bool without axes."""
        graph = self.context.graph
        number = graph.cast(graph.reshape(x.tensor), "float32")
        return graph.node("Greater", graph.node("Abs", number), graph.scalar(_CLOSE_TO_ZERO))

    @contextmanager
    def _nested(self) -> Iterator[Graph]:
        with self._within(self.context.graph.nested(), dict(self.context.arrays)):
            yield self.context.graph

    @contextmanager
    def _within(self, graph: Graph, arrays: dict[str, Array]) -> Iterator[None]:
        outer = self.context.graph, self.context.arrays
        self.context.graph, self.context.arrays = graph, arrays
        try:
            yield
        finally:
            self.context.graph, self.context.arrays = outer

    def finish(self) -> Translation:
        """Declare the graph's outputs and return the whole."""
        context, labels, results = self.context, class_labels(self.model), []
        for feature in outputs_of(self.model):
            if feature.name in context.arrays and feature.type in ("picture", "array", "number"):
                context.graph.output(context.full(context.arrays[feature.name]))
                results.append(feature.name)
        scores = ""
        if labels:
            name = self.network.labelProbabilityLayerName or self.network.layers[-1].output[0]
            context.graph.output(context.arrays[name].tensor)
            scores = f"{name} (probabilities)"
            results.append(scores)
        legacy = not context.exact_shapes
        return Translation(*context.graph.finished(), self.inputs, results, scores, tuple(labels), legacy)


_HOLDING = frozenset({"branch", "loop", "loopBreak", "loopContinue"})


def _sees_sequences(layer: Any) -> bool:
    """Return whether a layer of the first specification versions looks at the axis of sequences."""
    kind = layer.WhichOneof("layer")
    return bool(
        kind in _RECURRENT_LAYERS
        or kind in ("sequenceRepeat", "cropResize")
        or (kind == "concat" and layer.concat.sequenceConcat)
        or (kind == "permute" and list(layer.permute.axis)[:1] != [0])
        or (kind == "reshape" and len(layer.reshape.targetShape) == 4)
    )


def _interrupts(layer: Any) -> bool:
    """Return whether a branch may leave the loop that it is in."""
    if layer.WhichOneof("layer") != "branch":
        return False
    inner = [*layer.branch.ifBranch.layers, *layer.branch.elseBranch.layers]
    return any(held.WhichOneof("layer") in ("loopBreak", "loopContinue") or _interrupts(held) for held in inner)


def _common_shape(a: Shape | None, b: Shape | None) -> Shape | None:
    """Return what two shapes agree on, -1 where they differ."""
    if a is None or b is None or len(a) != len(b):
        return None
    return tuple(x if x == y else -1 for x, y in zip(a, b, strict=True))
