"""Branches and loops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813

from requant.convert.onnx.operators.registry import Node, operator
from requant.convert.onnx.values import Value, cast, is_known, kind_of, known_size, rank_of, variable
from requant.errors import RequantError

_MOST_TURNS = 256


@operator("If")
def branch(node: Node) -> list[Value]:
    """One of two graphs: the only one that is ever taken, or the one that a condition chooses while the model runs."""
    condition = node.given(0)
    branches = (node.attribute("then_branch"), node.attribute("else_branch"))
    if is_known(condition):
        return list(node.scope.nested(branches[0] if condition.all() else branches[1]))
    kinds: list[Any] = []

    def of(graph: Any) -> Any:
        def build() -> Any:
            results = [mb.identity(x=variable(value)) for value in node.scope.nested(graph)]
            kinds.append([(kind_of(value), rank_of(value)) for value in results])
            if len(kinds) == 2 and kinds[0] != kinds[1]:
                raise RequantError(
                    "its two branches give results of different types or numbers of axes, which Core ML has not"
                )
            return tuple(results) if len(results) > 1 else results[0]

        return build

    single = mb.squeeze(x=condition) if rank_of(condition) else condition
    found = mb.cond(pred=cast(single, "bool"), _true_fn=of(branches[0]), _false_fn=of(branches[1]))
    return list(found) if isinstance(found, list | tuple) else [found]


@operator("Loop")
def loop(node: Node) -> list[Value]:
    """A graph that is gone through a number of times, written out as often.

    Raises:
        RequantError: if that number is not known before the model runs.
    """
    turns, condition = node.value(0), node.value(1)
    if turns is None or not is_known(turns) or (condition is not None and not is_known(condition)):
        raise RequantError(
            "it goes through its graph as often as is decided while the model runs, which is not translated"
        )
    count = int(turns.reshape(()))
    goes_on = condition is None or bool(condition.all())
    body = node.attribute("body")
    names = [value.name for value in body.input]
    state: list[Any] = [node.given(index) for index in range(2, len(node.inputs))]
    collected: list[list[Value]] = [[] for _ in body.output[1 + len(state) :]]
    turn = 0
    while goes_on and turn < count:
        _require_few(turn)
        values = dict(zip(names, [np.array(turn, np.int64), np.array(goes_on), *state], strict=True))
        going, *results = node.scope.nested(body, values)
        if not is_known(going):
            raise RequantError("it decides while the model runs whether to go on, which is not translated")
        goes_on, state = bool(going.all()), results[: len(state)]
        for whole, value in zip(collected, results[len(state) :], strict=True):
            whole.append(value)
        turn += 1
    return [*state, *(_joined(whole, 0) for whole in collected)]


@operator("Scan")
def scan(node: Node) -> list[Value]:
    """A graph that is gone through for each element of sequences, written out as often.

    Raises:
        RequantError: if the sequences are of a size that is left open, or it is of the first version, with a batch.
    """
    if node.opset < 9:
        raise RequantError(
            "it is of version 8, which has sequences in batches; export the network for version 9 or later"
        )
    count = node.attribute("num_scan_inputs")
    state: list[Any] = [node.given(index) for index in range(len(node.inputs) - count)]
    sequences = [node.given(index) for index in range(len(state), len(node.inputs))]
    body = node.attribute("body")
    names = [value.name for value in body.input]
    axes = node.attribute("scan_input_axes", [0] * count)
    backwards = node.attribute("scan_input_directions", [0] * count)
    steps = known_size(sequences[0], axes[0], "a Scan")
    collected: list[list[Value]] = [[] for _ in body.output[len(state) :]]
    for step in range(steps):
        _require_few(step)
        places = [steps - 1 - step if turned else step for turned in backwards]
        parts = [_taken(x, axis, place) for x, axis, place in zip(sequences, axes, places, strict=True)]
        results = node.scope.nested(body, dict(zip(names, [*state, *parts], strict=True)))
        state = results[: len(state)]
        for whole, value in zip(collected, results[len(state) :], strict=True):
            whole.append(value)
    out_axes = node.attribute("scan_output_axes", [0] * len(collected))
    turned_out = node.attribute("scan_output_directions", [0] * len(collected))
    joined = [
        _joined(whole[::-1] if turned else whole, axis)
        for whole, axis, turned in zip(collected, out_axes, turned_out, strict=True)
    ]
    return [*state, *joined]


def _require_few(turn: int) -> None:
    if turn >= _MOST_TURNS:
        raise RequantError(f"it goes through its graph more than {_MOST_TURNS} times, which is too often to write out")


def _taken(x: Value, axis: int, place: int) -> Value:
    """Return one element along an axis."""
    if is_known(x):
        return np.take(x, place, axis)
    return mb.gather(x=x, indices=np.int32(place), axis=axis)


def _joined(values: Sequence[Value], axis: int) -> Value:
    """Return values one after the other along a new axis."""
    if not values:
        raise RequantError("it is never gone through, so that it collects nothing")
    if all(is_known(value) for value in values):
        return np.stack(values, axis)
    axis %= rank_of(values[0]) + 1
    apart = [mb.expand_dims(x=variable(value), axes=[axis]) for value in values]
    return mb.concat(values=apart, axis=axis) if len(apart) > 1 else apart[0]
