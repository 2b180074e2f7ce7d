"""Recurrent layers: sequences are (sequence, batch, size, 1, 1), states (1, batch, size, 1, 1).

What the layers compute is written above their messages in `NeuralNetwork.proto`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from requant.runtime.graph import Tensor
from requant.runtime.layers.context import Array, Context, unsupported, vector, weights
from requant.runtime.layers.registry import layer
from requant.runtime.recurrence import Activation, Cell, Weights, run_recurrence

_LIMIT = 50.0
_LSTM_GATES = ("inputGate", "outputGate", "forgetGate", "blockInput")
_PEEPHOLES = ("inputGate", "outputGate", "forgetGate")
_GRU_GATES = ("updateGate", "resetGate", "outputGate")
_PLAIN = {"sigmoid": "Sigmoid", "tanh": "Tanh", "ReLU": "Relu"}


@layer("simpleRecurrent")
def simple_recurrent(context: Context, layer: Any, x: Array, *states: Array) -> list[Array]:
    """A simple recurrent layer."""
    params, graph = layer.simpleRecurrent, context.graph
    size = params.outputVectorSize
    of_layer = Weights(
        graph.constant(weights(params.weightMatrix, (size, params.inputVectorSize))),
        graph.constant(weights(params.recursionMatrix, (size, size))),
        graph.constant(vector(params.biasVector, size)) if params.hasBiasVector else None,
    )
    cell = Cell("RNN", _activations(_one(params.activation), "tanh"), limit=_LIMIT)
    return _run(context, layer, x, states, [of_layer], cell, params.sequenceOutput, params.reverseInput)


@layer("gru")
def gru(context: Context, layer: Any, x: Array, *states: Array) -> list[Array]:
    """A gated recurrent unit."""
    params = layer.gru
    of_layer = _weights(context, params, _GRU_GATES, params, params.hasBiasVectors)
    cell = Cell("GRU", _activations(params.activations, "sigmoid", "tanh"), limit=_LIMIT)
    return _run(context, layer, x, states, [of_layer], cell, params.sequenceOutput, params.reverseInput)


@layer("uniDirectionalLSTM")
def unidirectional_lstm(context: Context, layer: Any, x: Array, *states: Array) -> list[Array]:
    """A long short-term memory."""
    params = layer.uniDirectionalLSTM
    of_layer = _lstm_weights(context, params, params.weightParams)
    cell = _lstm_cell(params.params, params.activations)
    return _run(context, layer, x, states, [of_layer], cell, params.params.sequenceOutput, params.reverseInput)


@layer("biDirectionalLSTM")
def bidirectional_lstm(context: Context, layer: Any, x: Array, *states: Array) -> list[Array]:
    """Two long short-term memories, one of which begins at the end; their outputs are joined, their states apart."""
    params = layer.biDirectionalLSTM
    forward, backward = (
        _activations(p, *_LSTM) for p in (params.activationsForwardLSTM, params.activationsBackwardLSTM)
    )
    if list(params.activationsBackwardLSTM) and forward != backward:
        raise unsupported("other activations on the way back, which the format does not allow")
    directions = [_lstm_weights(context, params, each) for each in params.weightParams]
    cell = _lstm_cell(params.params, params.activationsForwardLSTM)
    return _run(context, layer, x, states, directions, cell, params.params.sequenceOutput)


_LSTM = ("sigmoid", "tanh", "tanh")


def _run(
    context: Context,
    layer: Any,
    x: Array,
    states: Sequence[Array],
    directions: Sequence[Weights],
    cell: Cell,
    whole: bool,
    reverse: bool = False,
) -> list[Array]:
    """Add a recurrent layer and return as many of its results as the network names."""
    graph = context.graph
    sequence, size = _vectors(context, x), directions[0].hidden.shape[1]
    # Networks from coremltools have the axis of size 1 of a state at either end.
    begin = [graph.reshape(context.full(state), graph.size_of(sequence, 1), size) for state in states]
    kinds = 2 if cell.kind == "LSTM" else 1
    joined = [_joined(context, begin[kind::kinds]) for kind in range(kinds)] if begin else []
    outputs, finals = run_recurrence(graph, sequence, directions, cell, joined, reverse)
    if not whole:
        outputs = graph.node("Unsqueeze", finals[0], graph.integers(0))
    apart = [_split(context, final, len(directions), size) for final in finals]
    results = [
        outputs,
        *(graph.node("Unsqueeze", each[i], graph.integers(0)) for i in range(len(directions)) for each in apart),
    ]
    spread = [graph.node("Unsqueeze", tensor, graph.integers(-2, -1)) for tensor in results]
    return [Array(tensor, 5) for tensor in spread[: len(layer.output)]]


def _vectors(context: Context, x: Array) -> Tensor:
    """Return (sequence, batch, size, 1, 1) as (sequence, batch, size)."""
    graph, full = context.graph, context.full(x)
    if full.rank != 5:
        raise unsupported(f"an input of {full.rank} axes instead of 5")
    return graph.reshape(full, *(graph.size_of(full, axis) for axis in range(3)))


def _joined(context: Context, states: Sequence[Tensor]) -> Tensor:
    return context.graph.node("Concat", *states, axis=-1) if len(states) > 1 else states[0]


def _split(context: Context, state: Tensor, count: int, size: int) -> list[Tensor]:
    if count == 1:
        return [state]
    return context.graph.nodes("Split", state, context.graph.integers(size, size), count=2, axis=-1)


def _lstm_cell(params: Any, activations: Any) -> Cell:
    return Cell(
        "LSTM",
        _activations(activations, *_LSTM),
        cell_limit=params.cellClipThreshold or _LIMIT,
        limit=_LIMIT,
        coupled=params.coupledInputAndForgetGate,
    )


def _lstm_weights(context: Context, params: Any, messages: Any) -> Weights:
    options = params.params
    of_layer = _weights(context, params, _LSTM_GATES, messages, options.hasBiasVectors, options.forgetBias)
    if not options.hasPeepholeVectors:
        return of_layer
    peepholes = _of_gates(messages, _PEEPHOLES, "PeepholeVector", (params.outputVectorSize,))
    return Weights(of_layer.input, of_layer.hidden, of_layer.bias, peephole=context.graph.constant(peepholes))


def _weights(
    context: Context, params: Any, gates: Sequence[str], messages: Any, has_bias: bool, forget_bias: bool = False
) -> Weights:
    """Return the weights of all gates one after the other."""
    size, inputs = params.outputVectorSize, params.inputVectorSize
    of_input = _of_gates(messages, gates, "WeightMatrix", (size, inputs))
    of_state = _of_gates(messages, gates, "RecursionMatrix", (size, size))
    biases = _of_gates(messages, gates, "BiasVector", (size,)) if has_bias else np.zeros(len(gates) * size, np.float32)
    if forget_bias:
        biases += np.repeat([np.float32(gate == "forgetGate") for gate in gates], size)
    bias = context.graph.constant(biases) if has_bias or forget_bias else None
    return Weights(context.graph.constant(of_input), context.graph.constant(of_state), bias)


def _of_gates(messages: Any, gates: Sequence[str], field: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    axis = 0 if len(shape) > 1 else None
    return np.concatenate([weights(getattr(messages, gate + field), shape, axis) for gate in gates])


def _one(message: Any) -> list[Any]:
    return [message] if message.WhichOneof("NonlinearityType") else []


def _activations(messages: Any, *usual: str) -> list[Activation]:
    """Return the activations of a layer; those that are usual where it names none."""
    if not list(messages):
        return [Activation(_PLAIN[name]) for name in usual]
    return [_activation(message) for message in messages]


def _activation(params: Any) -> Activation:
    """Return an activation; factors that are not set are those of Apple's own tests, where `scaledTanh` is `tanh`."""
    kind = params.WhichOneof("NonlinearityType")
    if kind in _PLAIN:
        return Activation(_PLAIN[kind])
    if kind == "linear":
        return Activation("Affine", *_factors(params.linear, 1, 0))
    if kind == "sigmoidHard":
        return Activation("HardSigmoid", *_factors(params.sigmoidHard, 0.2, 0.5))
    if kind == "scaledTanh":
        return Activation("ScaledTanh", *_factors(params.scaledTanh, 1, 1))
    raise unsupported(f"the activation {kind}, which Core ML does not know for recurrent layers")


def _factors(params: Any, alpha: float, beta: float) -> tuple[float, float]:
    return (params.alpha, params.beta) if params.alpha or params.beta else (alpha, beta)
