"""Recurrent networks.

ONNX has sequences (steps, batch, size) and results (steps, directions, batch, hidden size); MIL has the directions of a
result side by side in the last axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813

from requant.convert.onnx.operators.registry import Node, operator
from requant.convert.onnx.values import Array, Value, is_known, known_size, shape_of, size_of, variable
from requant.errors import RequantError

_LSTM_ORDER = (0, 2, 1, 3)  # input, output, forget, cell -> input, forget, output, cell
_GRU_ORDER = (1, 2, 0)  # update, reset, hidden -> reset, hidden, update
_PEEPHOLE_ORDER = (0, 2, 1)  # input, output, forget -> input, forget, output
_ACTIVATIONS = {"Sigmoid": "sigmoid", "Tanh": "tanh", "Relu": "relu"}
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_ORDERS = {"LSTM": _LSTM_ORDER, "GRU": _GRU_ORDER, "RNN": (0,)}
_DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
_MOST_STEPS = 512

Cell = Callable[..., list[Value]]


@operator("LSTM", "GRU", "RNN")
def recurrent(node: Node) -> list[Value]:
    """A recurrent layer, in one direction or both: its outputs and its last states.

    Raises:
        RequantError: if it has a feature that Core ML's layers have not, or weights that are computed.
    """
    _require_supported(node)
    x = node.tensor(0)
    batch_first = bool(node.attribute("layout", 0))
    x = mb.transpose(x=x, perm=[1, 0, 2]) if batch_first else x
    directions = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
    outputs, states = [], []
    for index, backwards in enumerate(directions[node.attribute("direction", "forward")]):
        into = mb.reverse(x=x, axes=[0]) if backwards else x
        output, *last = _one_direction(node, into, index, batch_first)
        outputs.append(mb.reverse(x=output, axes=[0]) if backwards else output)
        states.append(last)
    result = _stacked(outputs, 1)
    finals = [_stacked(list(each), 0) for each in zip(*states, strict=True)]
    if batch_first:
        result = mb.transpose(x=result, perm=[2, 0, 1, 3])
        finals = [mb.transpose(x=state, perm=[1, 0, 2]) for state in finals]
    return [result, *finals]


def _stacked(values: Sequence[Value], axis: int) -> Value:
    apart = [mb.expand_dims(x=value, axes=[axis]) for value in values]
    return mb.concat(values=apart, axis=axis) if len(apart) > 1 else apart[0]


def _require_supported(node: Node) -> None:
    lengths = node.value(4)
    if lengths is not None:
        steps = shape_of(node.given(0))[1 if node.attribute("layout", 0) else 0]
        if not is_known(lengths) or steps is None or (lengths != steps).any():
            raise RequantError("its sequences have lengths of their own (sequence_lens), which Core ML has not")
    if "clip" in node.attributes:
        raise RequantError("it limits what goes into its activations (clip), which Core ML has not")
    if node.attribute("input_forget", 0):
        raise RequantError("its input and forget gates are one (input_forget), which Core ML has not")
    for name in node.attribute("activations", []):
        if name not in _ACTIVATIONS:
            raise RequantError(
                f"it has the activation {name}; Core ML's recurrent layers have {', '.join(_ACTIVATIONS)}"
            )


def _one_direction(node: Node, x: Value, index: int, batch_first: bool) -> list[Value]:
    """Return the outputs (steps, batch, hidden size) of one direction, and its last states (batch, hidden size)."""
    gates, order = _GATES[node.kind], _ORDERS[node.kind]
    weights = [_reordered(node.constant(each)[index], order) for each in (1, 2)]
    hidden = weights[1].shape[1]
    biases = np.zeros((2, gates * hidden), np.float32)
    if node.value(3) is not None:
        biases = np.stack([_reordered(part, order) for part in np.split(node.constant(3)[index], 2)])
    count = 2 if node.kind == "LSTM" else 1
    begin = [_initial(node, x, 5 + each, index, hidden, batch_first) for each in range(count)]
    names = _activations(node, index)
    if node.kind == "GRU" and node.attribute("linear_before_reset", 0):
        return _gru_reset_after(node, x, weights, biases, begin[0], names)
    common = {
        "x": x,
        "initial_h": begin[0],
        "weight_ih": node.weight(weights[0], 1),
        "weight_hh": node.weight(weights[1], 2),
        "bias": node.weight(biases.sum(0), 3) if node.value(3) is not None else None,
        "output_sequence": True,
    }
    if node.kind == "RNN":
        return list(mb.rnn(activation=names[0], **common))
    if node.kind == "GRU":
        return list(mb.gru(recurrent_activation=names[0], activation=names[1], **common))
    peephole = None
    if node.value(7) is not None:
        peephole = node.weight(_reordered(node.constant(7)[index], _PEEPHOLE_ORDER), 7)
    return list(
        mb.lstm(
            initial_c=begin[1], peephole=peephole, recurrent_activation=names[0], cell_activation=names[1],
            activation=names[2], **common,
        )
    )  # fmt: skip


def _activations(node: Node, index: int) -> list[str]:
    """Return MIL's names of the activations of one direction."""
    default = _DEFAULTS[node.kind]
    names = node.attribute("activations", [])[index * len(default) :][: len(default)] or default
    return [_ACTIVATIONS[name] for name in names]


def _reordered(array: Array, order: Sequence[int]) -> Array:
    """Return the equal parts of an array's first axis in another order."""
    parts = np.split(array, len(order))
    return np.asarray(np.concatenate([parts[index] for index in order]), np.float32)


def _initial(node: Node, x: Value, place: int, index: int, hidden: int, batch_first: bool) -> Value:
    """Return the state (batch, hidden size) that one direction begins with: zeros if none is given."""
    state = node.value(place)
    if state is None:
        batch = size_of(x, 1)
        if isinstance(batch, int):
            return variable(np.zeros((batch, hidden), np.float32))
        return mb.mul(
            x=mb.slice_by_size(x=_first_column(x), begin=[0, 0], size=[-1, 1]), y=np.zeros((1, hidden), np.float32)
        )
    if is_known(state):
        return node.weight(state[:, index] if batch_first else state[index], place)
    axis = 1 if batch_first else 0
    begins, ends = [0, 0, 0], [0, 0, 0]
    begins[axis], ends[axis] = index, index + 1
    masks = [each != axis for each in range(3)]
    part = mb.slice_by_index(x=state, begin=begins, end=ends, begin_mask=masks, end_mask=masks)
    return mb.squeeze(x=part, axes=[axis])


def _first_column(x: Value) -> Value:
    """Return the first step of a sequence (steps, batch, size)."""
    return mb.squeeze(x=mb.slice_by_size(x=x, begin=[0, 0, 0], size=[1, -1, -1]), axes=[0])


def _gru_reset_after(
    node: Node, x: Value, weights: Sequence[Array], biases: Array, state: Value, names: Sequence[str]
) -> list[Value]:
    """Return what a GRU computes whose reset comes after the product with the state, step by step.

    MIL's layer resets before it. The products with the sequence are made at once, as they hang on no state.
    """
    steps = known_size(x, 0, "a GRU with linear_before_reset")
    if steps > _MOST_STEPS:
        raise RequantError(
            f"it is a GRU with linear_before_reset of {steps} steps, which Core ML can only compute step by step; "
            f"{_MOST_STEPS} are the most"
        )
    inputs = mb.linear(x=x, weight=node.weight(weights[0], 1), bias=node.weight(biases[0], 3))
    of_state = (node.weight(weights[1], 2), node.weight(biases[1], 3))
    gate, activation = (getattr(mb, name) for name in names)
    outputs = []
    for step in range(steps):
        into = mb.squeeze(
            x=mb.slice_by_index(x=inputs, begin=[step, 0, 0], end=[step + 1, 0, 0], end_mask=[False, True, True]),
            axes=[0],
        )
        x_r, x_h, x_z = mb.split(x=into, num_splits=3, axis=-1)
        h_r, h_h, h_z = mb.split(x=mb.linear(x=state, weight=of_state[0], bias=of_state[1]), num_splits=3, axis=-1)
        reset, update = gate(x=mb.add(x=x_r, y=h_r)), gate(x=mb.add(x=x_z, y=h_z))
        new = activation(x=mb.add(x=x_h, y=mb.mul(x=reset, y=h_h)))
        state = mb.add(x=new, y=mb.mul(x=update, y=mb.sub(x=state, y=new)))
        outputs.append(state)
    return [_stacked(outputs, 0), state]
