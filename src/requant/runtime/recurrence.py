"""Recurrent layers of both kinds of Core ML model.

ONNX's own `LSTM`, `GRU` and `RNN` compute the common ones. What these nodes don't know (a limit of the cell's state, of
what goes into an activation, rarer activations) is computed step by step in a `Scan`, or at once where a sequence has
one step.

Sequences are (steps, batch, size), states (batch, hidden size), and weights (gates * hidden size, size).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from requant.runtime.graph import Graph, Tensor

_IN_NODES = ("Sigmoid", "Tanh", "Relu")
_BOUNDED = {"Sigmoid": 1.0, "Tanh": 1.0, "HardSigmoid": 1.0}
_SATURATED = 40.0  # sigmoid and tanh of greater numbers are 1 in float32

Step = Callable[[Graph, Tensor, list[Tensor]], list[Tensor]]


@dataclass(frozen=True)
class Activation:
    """An activation of a recurrent layer, by the name of ONNX's node, and its two factors if it has any."""

    kind: str
    alpha: float = 1.0
    beta: float = 0.0

    def of(self, graph: Graph, x: Tensor) -> Tensor:
        """Return a tensor after the activation."""
        if self.kind == "Affine":
            return graph.node("Add", graph.node("Mul", x, graph.scalar(self.alpha)), graph.scalar(self.beta))
        if self.kind == "ScaledTanh":
            inner = graph.node("Tanh", graph.node("Mul", x, graph.scalar(self.beta)))
            return graph.node("Mul", inner, graph.scalar(self.alpha))
        if self.kind == "HardSigmoid":
            return graph.node("HardSigmoid", x, alpha=self.alpha, beta=self.beta)
        return graph.node(self.kind, x)

    def is_changed_by(self, limit: float) -> bool:
        """Return whether it gives another result for numbers that are limited to +-`limit` first."""
        return self.kind in ("Affine", "Relu") or limit < _SATURATED

    @property
    def bound(self) -> float | None:
        """The greatest absolute value of its results; None if there is none."""
        return self.alpha if self.kind == "ScaledTanh" else _BOUNDED.get(self.kind)


@dataclass(frozen=True)
class Weights:
    """The weights of one direction, gates one after the other.

    Those of an LSTM are input, output, forget and block input; those of a GRU update, reset and output.

    Attributes:
        input: (gates * hidden size, input size).
        hidden: (gates * hidden size, hidden size).
        bias: (gates * hidden size,), or None.
        hidden_bias: the same, added to the product with the state; None unless a GRU keeps it apart.
        peephole: (3 * hidden size,) for input, output and forget gate of an LSTM, or None.
    """

    input: Tensor
    hidden: Tensor
    bias: Tensor | None = None
    hidden_bias: Tensor | None = None
    peephole: Tensor | None = None


@dataclass(frozen=True)
class Cell:
    """What a recurrent layer computes in each step, apart from its weights.

    Attributes:
        kind: `LSTM`, `GRU` or `RNN`.
        activations: of the gates, of the block input or output gate, and of the cell's state, as far as there are.
        cell_limit: of the absolute value of an LSTM's cell state, or None.
        limit: of the absolute value of what goes into the activations of the gates, or None.
        coupled: whether an LSTM's forget gate is 1 less its input gate.
        reset_after: whether a GRU's reset gate is applied after the product with the state instead of before.
    """

    kind: str
    activations: Sequence[Activation]
    cell_limit: float | None = None
    limit: float | None = None
    coupled: bool = False
    reset_after: bool = False

    @property
    def gates(self) -> int:
        """The number of gates."""
        return {"LSTM": 4, "GRU": 3, "RNN": 1}[self.kind]

    def fits_node(self, steps: int, from_zero: bool) -> bool:
        """Return whether ONNX's node computes the same for a number of steps (-1: unknown)."""
        if any(activation.kind not in _IN_NODES for activation in self.activations) or self.coupled:
            return False
        inner = self.activations[:2]
        if self.limit is not None and any(activation.is_changed_by(self.limit) for activation in inner):
            return False
        return self.cell_limit is None or self._stays_within(self.cell_limit, steps, from_zero)

    def _stays_within(self, limit: float, steps: int, from_zero: bool) -> bool:
        """Return whether the cell's state, a sum of a product of gates per step, can't exceed a limit."""
        gate, block = self.activations[0].bound, self.activations[1].bound
        return from_zero and 0 <= steps <= limit and gate is not None and block is not None and steps * block <= limit


def run_recurrence(
    graph: Graph, x: Tensor, directions: Sequence[Weights], cell: Cell, states: Sequence[Tensor], reverse: bool = False
) -> tuple[Tensor, list[Tensor]]:
    """Add a recurrent layer and return its outputs and its last states.

    Args:
        graph: what it is added to.
        x: the sequence (steps, batch, size).
        directions: the weights of one direction, or of the forward and the backward one.
        cell: what is computed in each step.
        states: the state (batch, directions * hidden size), and for an LSTM the cell's state; empty for zeros.
        reverse: whether a single direction begins with the last step; its outputs come in the order of computation.

    Returns:
        The outputs (steps, batch, directions * hidden size) and the last states, as `states`.
    """
    if cell.fits_node(x.shape[0], from_zero=not states):
        return _as_node(graph, x, directions, cell, states, reverse)
    hidden = directions[0].hidden.shape[1]
    outputs, finals = [], []
    for index, weights in enumerate(directions):
        begin = [_part(graph, state, index, hidden) for state in states] or _zeros(graph, x, cell, hidden)
        output, final = _step_by_step(graph, x, weights, cell, begin, reverse or index == 1, aligned=not reverse)
        outputs.append(output)
        finals.append(final)
    if len(directions) == 1:
        return outputs[0], finals[0]
    joined = [graph.node("Concat", *pair, axis=-1) for pair in zip(*finals, strict=True)]
    return graph.node("Concat", *outputs, axis=-1), joined


def _as_node(
    graph: Graph, x: Tensor, directions: Sequence[Weights], cell: Cell, states: Sequence[Tensor], reverse: bool
) -> tuple[Tensor, list[Tensor]]:
    count, hidden = len(directions), directions[0].hidden.shape[1]
    if reverse:
        x = _reversed(graph, x)
    begin: list[Tensor | None] = [_split_directions(graph, state, count, hidden) for state in states]
    begin = [*begin, *[None] * (2 - len(begin))][: 2 if cell.kind == "LSTM" else 1]
    stacked = [_stacked(graph, [weights.input for weights in directions])]
    stacked += [_stacked(graph, [weights.hidden for weights in directions])]
    biases = [_biases(graph, weights, cell, hidden) for weights in directions]
    inputs = [x, *stacked, _stacked(graph, [b for b in biases if b]) if any(biases) else None, None, *begin]
    if any(weights.peephole for weights in directions):
        zeros = graph.node("Expand", graph.scalar(0), graph.integers(3 * hidden))
        inputs.append(_stacked(graph, [weights.peephole or zeros for weights in directions]))
    attributes = {"linear_before_reset": 1} if cell.reset_after else {}
    results = graph.nodes(
        cell.kind,
        *inputs,
        count=3 if cell.kind == "LSTM" else 2,
        hidden_size=hidden,
        direction="bidirectional" if count == 2 else "forward",
        activations=[activation.kind for activation in cell.activations] * count,
        **attributes,
    )
    order = graph.node("Transpose", results[0], perm=[0, 2, 1, 3])
    sizes = [graph.size_of(x, 0), graph.size_of(x, 1)]
    outputs = graph.reshape(order, *sizes, count * hidden)
    turned = [graph.node("Transpose", state, perm=[1, 0, 2]) for state in results[1:]]
    return outputs, [graph.reshape(state, sizes[1], count * hidden) for state in turned]


def _biases(graph: Graph, weights: Weights, cell: Cell, hidden: int) -> Tensor | None:
    """Return the two vectors of biases of one direction that ONNX wants, or None."""
    if not weights.bias and not weights.hidden_bias:
        return None
    zeros = graph.node("Expand", graph.scalar(0), graph.integers(cell.gates * hidden))
    return graph.node("Concat", weights.bias or zeros, weights.hidden_bias or zeros, axis=0)


def _step_by_step(
    graph: Graph, x: Tensor, weights: Weights, cell: Cell, begin: list[Tensor], reverse: bool, aligned: bool
) -> tuple[Tensor, list[Tensor]]:
    """Return the outputs and last states of one direction; `aligned` puts reversed outputs in the order of `x`."""
    product = graph.node("MatMul", x, graph.node("Transpose", weights.input, perm=[1, 0]))
    product = graph.node("Add", product, weights.bias) if weights.bias else product
    hidden = graph.node("Transpose", weights.hidden, perm=[1, 0])
    step = _STEPS[cell.kind](weights, hidden, cell)
    if x.shape[0] == 1:
        states = step(graph, graph.node("Squeeze", product, graph.integers(0)), begin)
        return graph.node("Unsqueeze", states[0], graph.integers(0)), states
    body = graph.nested()
    variables = [body.variable("float32", state.known_shape) for state in begin]
    each = body.variable("float32", product.shape[1:])
    states = step(body, each, variables)
    for state in (*states, states[0]):
        body.output(state)
    types = [("float32", state.known_shape) for state in begin]
    types.append(("float32", (x.shape[0], x.shape[1], weights.hidden.shape[1])))
    results = graph.holder(
        "Scan",
        [*begin, product],
        types,
        body=body.proto(),
        num_scan_inputs=1,
        scan_input_directions=[int(reverse)],
        scan_output_directions=[int(reverse and aligned)],
    )
    return results[-1], results[:-1]


def _lstm_step(weights: Weights, hidden: Tensor, cell: Cell) -> Step:
    """Return one step of an LSTM (`LSTMParams` in `NeuralNetwork.proto`)."""

    def step(graph: Graph, x: Tensor, states: list[Tensor]) -> list[Tensor]:
        gate, block, output = cell.activations
        h, c = states
        into = graph.nodes("Split", _added(graph, x, h, hidden), count=4, axis=-1, num_outputs=4)
        peepholes: list[Tensor | None] = [None, None, None]
        if weights.peephole:
            peepholes = [*graph.nodes("Split", weights.peephole, count=3, axis=0, num_outputs=3)]
        i = gate.of(graph, _limited(graph, _peeped(graph, into[0], peepholes[0], c), cell.limit))
        z = block.of(graph, _limited(graph, into[3], cell.limit))
        if cell.coupled:
            f = graph.node("Sub", graph.scalar(1), i)
        else:
            f = gate.of(graph, _limited(graph, _peeped(graph, into[2], peepholes[2], c), cell.limit))
        c = graph.node("Add", graph.node("Mul", f, c), graph.node("Mul", i, z))
        c = _limited(graph, c, cell.cell_limit)
        o = gate.of(graph, _limited(graph, _peeped(graph, into[1], peepholes[1], c), cell.limit))
        return [graph.node("Mul", o, output.of(graph, c)), c]

    return step


def _gru_step(weights: Weights, hidden: Tensor, cell: Cell) -> Step:
    """Return one step of a GRU (`GRULayerParams` in `NeuralNetwork.proto`, and MIL's `gru` for `reset_after`)."""

    def step(graph: Graph, x: Tensor, states: list[Tensor]) -> list[Tensor]:
        gate, output = cell.activations
        (h,) = states
        of_gates, of_output = _two_to_one(graph, hidden, axis=1)
        x_gates, x_output = _two_to_one(graph, x, axis=-1)
        b_gates, b_output = _two_to_one(graph, weights.hidden_bias, axis=0) if weights.hidden_bias else (None, None)
        both = _limited(graph, _added(graph, x_gates, h, of_gates, b_gates), cell.limit)
        z, r = graph.nodes("Split", gate.of(graph, both), count=2, axis=-1, num_outputs=2)
        if cell.reset_after:
            product = graph.node("MatMul", h, of_output)
            product = graph.node("Add", product, b_output) if b_output else product
            into = graph.node("Add", x_output, graph.node("Mul", r, product))
        else:
            into = _added(graph, x_output, graph.node("Mul", r, h), of_output, b_output)
        o = output.of(graph, _limited(graph, into, cell.limit))
        return [graph.node("Add", graph.node("Mul", graph.node("Sub", graph.scalar(1), z), o), graph.node("Mul", z, h))]

    return step


def _rnn_step(weights: Weights, hidden: Tensor, cell: Cell) -> Step:
    """Return one step of a simple recurrent layer (`SimpleRecurrentLayerParams` in `NeuralNetwork.proto`)."""

    def step(graph: Graph, x: Tensor, states: list[Tensor]) -> list[Tensor]:
        into = _added(graph, x, states[0], hidden, weights.hidden_bias)
        return [cell.activations[0].of(graph, _limited(graph, into, cell.limit))]

    return step


_STEPS = {"LSTM": _lstm_step, "GRU": _gru_step, "RNN": _rnn_step}


def _added(graph: Graph, x: Tensor, state: Tensor, hidden: Tensor, bias: Tensor | None = None) -> Tensor:
    into = graph.node("Add", x, graph.node("MatMul", state, hidden))
    return graph.node("Add", into, bias) if bias else into


def _peeped(graph: Graph, x: Tensor, peephole: Tensor | None, c: Tensor) -> Tensor:
    return graph.node("Add", x, graph.node("Mul", c, peephole)) if peephole else x


def _limited(graph: Graph, x: Tensor, limit: float | None) -> Tensor:
    return x if limit is None else graph.node("Clip", x, graph.scalar(-limit), graph.scalar(limit))


def _two_to_one(graph: Graph, x: Tensor, axis: int) -> list[Tensor]:
    """Return two thirds and one third of a tensor along an axis."""
    third = x.shape[axis] // 3
    return graph.nodes("Split", x, graph.integers(2 * third, third), count=2, axis=axis)


def _part(graph: Graph, state: Tensor, index: int, hidden: int) -> Tensor:
    """Return the state of one direction."""
    if state.shape[1] == hidden:
        return state
    begin = graph.integers(index * hidden)
    return graph.node("Slice", state, begin, graph.integers((index + 1) * hidden), graph.integers(1))


def _zeros(graph: Graph, x: Tensor, cell: Cell, hidden: int) -> list[Tensor]:
    shape = graph.shape(graph.size_of(x, 1), hidden)
    zeros = graph.declare(graph.node("Expand", graph.scalar(0), shape), (x.shape[1], hidden))
    return [zeros] * (2 if cell.kind == "LSTM" else 1)


def _split_directions(graph: Graph, state: Tensor, count: int, hidden: int) -> Tensor:
    """Return a state (directions, batch, hidden size)."""
    return graph.node("Transpose", graph.reshape(state, -1, count, hidden), perm=[1, 0, 2])


def _stacked(graph: Graph, tensors: Sequence[Tensor]) -> Tensor:
    """Return tensors as one with a new first axis."""
    apart = [graph.node("Unsqueeze", tensor, graph.integers(0)) for tensor in tensors]
    return graph.node("Concat", *apart, axis=0) if len(apart) > 1 else apart[0]


def _reversed(graph: Graph, x: Tensor) -> Tensor:
    first, last = graph.integers(-1), graph.integers(-(2**31))
    return graph.node("Slice", x, first, last, graph.integers(0), graph.integers(-1))
