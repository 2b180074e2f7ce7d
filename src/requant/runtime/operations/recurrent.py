"""Recurrent operations: sequences (steps, batch, size), states (batch, directions * hidden size)."""

from __future__ import annotations

from collections.abc import Sequence

from requant.errors import RequantError
from requant.runtime.graph import Graph, Tensor
from requant.runtime.operations.registry import operation
from requant.runtime.recurrence import Activation, Cell, Weights, run_recurrence

# The factors are those of Apple's own tests of `lstm`, where `scaled_tanh` is `tanh`.
_ACTIVATIONS = {
    "linear": Activation("Affine", 1, 0),
    "relu": Activation("Relu"),
    "sigmoid": Activation("Sigmoid"),
    "hard_sigmoid": Activation("HardSigmoid", 0.2, 0.5),
    "sigmoid_hard": Activation("HardSigmoid", 0.2, 0.5),
    "tanh": Activation("Tanh"),
    "scaled_tanh": Activation("Tanh"),
}
_LSTM_ORDER = (0, 2, 1, 3)  # input, forget, output, cell -> input, output, forget, cell
_PEEPHOLE_ORDER = (0, 2, 1)
_GRU_ORDER = (2, 0, 1)  # reset, output, update -> update, reset, output
_DIRECTIONS = ("forward", "reverse", "bidirectional")


@operation
def gru(
    graph: Graph,
    x: Tensor,
    initial_h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    recurrent_activation: str = "sigmoid",
    activation: str = "tanh",
    reset_after: bool = False,
    input_bias: Tensor | None = None,
) -> list[Tensor]:
    """A gated recurrent unit: its outputs, or the last one, and its last state.

    `bias` belongs to the product with the state, which tells with `reset_after` only.
    """
    weights = Weights(
        _reordered(graph, weight_ih, _GRU_ORDER),
        _reordered(graph, weight_hh, _GRU_ORDER),
        bias=_ordered(graph, input_bias, _GRU_ORDER),
        hidden_bias=_ordered(graph, bias, _GRU_ORDER),
    )
    cell = Cell("GRU", [_activation(recurrent_activation), _activation(activation)], reset_after=reset_after)
    return _run(graph, x, [weights], cell, [initial_h], direction, output_sequence)


@operation
def lstm(
    graph: Graph,
    x: Tensor,
    initial_h: Tensor,
    initial_c: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    peephole: Tensor | None = None,
    weight_ih_back: Tensor | None = None,
    weight_hh_back: Tensor | None = None,
    bias_back: Tensor | None = None,
    peephole_back: Tensor | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    recurrent_activation: str = "sigmoid",
    cell_activation: str = "tanh",
    activation: str = "tanh",
    clip: float | None = None,
) -> list[Tensor]:
    """A long short-term memory: its outputs, or the last one, its last state and its last cell state.

    Raises:
        RequantError: if it has two directions and the weights of one.
    """
    directions = [_lstm_weights(graph, weight_ih, weight_hh, bias, peephole)]
    if direction == "bidirectional":
        if not weight_ih_back or not weight_hh_back:
            raise RequantError("it is bidirectional and has no weights for the way back.")
        directions.append(_lstm_weights(graph, weight_ih_back, weight_hh_back, bias_back, peephole_back))
    names = (recurrent_activation, cell_activation, activation)
    cell = Cell("LSTM", [_activation(name) for name in names], cell_limit=clip)
    return _run(graph, x, directions, cell, [initial_h, initial_c], direction, output_sequence)


@operation
def rnn(
    graph: Graph,
    x: Tensor,
    initial_h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    activation: str = "tanh",
) -> list[Tensor]:
    """A simple recurrent network: its outputs, or the last one, and its last state."""
    cell = Cell("RNN", [_activation(activation)])
    return _run(graph, x, [Weights(weight_ih, weight_hh, bias)], cell, [initial_h], direction, output_sequence)


def _run(
    graph: Graph,
    x: Tensor,
    directions: list[Weights],
    cell: Cell,
    states: list[Tensor],
    direction: str,
    output_sequence: bool,
) -> list[Tensor]:
    if direction not in _DIRECTIONS:
        raise RequantError(f"it has the direction {direction!r}, which MIL does not define.")
    from_zero = all(state.value is not None and not state.value.any() for state in states)
    begin = [] if from_zero else states  # PyTorch's frontend writes zeros for another batch size in places
    outputs, finals = run_recurrence(graph, x, directions, cell, begin, reverse=direction == "reverse")
    return [outputs if output_sequence else graph.node("Unsqueeze", finals[0], graph.integers(0)), *finals]


def _lstm_weights(
    graph: Graph, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor | None, peephole: Tensor | None
) -> Weights:
    return Weights(
        _reordered(graph, weight_ih, _LSTM_ORDER),
        _reordered(graph, weight_hh, _LSTM_ORDER),
        bias=_ordered(graph, bias, _LSTM_ORDER),
        peephole=_ordered(graph, peephole, _PEEPHOLE_ORDER),
    )


def _activation(name: str) -> Activation:
    if name.lower() not in _ACTIVATIONS:
        raise RequantError(f"it has the activation {name!r}, which MIL does not define for recurrent operations.")
    return _ACTIVATIONS[name.lower()]


def _ordered(graph: Graph, x: Tensor | None, order: Sequence[int]) -> Tensor | None:
    return _reordered(graph, x, order) if x else None


def _reordered(graph: Graph, x: Tensor, order: Sequence[int]) -> Tensor:
    """Return the equal parts of a tensor's first axis in another order."""
    parts = graph.nodes("Split", x, count=len(order), axis=0, num_outputs=len(order))
    return graph.node("Concat", *(parts[index] for index in order), axis=0)
