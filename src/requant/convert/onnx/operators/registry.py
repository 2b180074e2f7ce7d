"""The table of operators, and a node as their functions see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813

from requant.convert.onnx.values import Array, Value, is_known, mil_array
from requant.errors import RequantError


@dataclass
class Node:
    """One node of the graph, with the values that go into it.

    Attributes:
        kind: the operator.
        name: of the node, for messages.
        inputs: what goes in; None for an optional input that is left out.
        input_names: ONNX's names of those.
        outputs: ONNX's names of what comes out; empty for an output that is left out.
        attributes: as Python values.
        opset: the version of the operators that the file is written in.
        system: the iOS version whose operations are used.
        scope: the translation of the graph that the node is in.
    """

    kind: str
    name: str
    inputs: list[Value | None]
    input_names: list[str]
    outputs: list[str]
    attributes: dict[str, Any]
    opset: int
    system: int
    scope: Any

    def value(self, index: int) -> Value | None:
        """Return an input as it is, None if it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def given(self, index: int) -> Value:
        """Return an input that can't be left out, as it is.

        Raises:
            RequantError: if it is left out.
        """
        value = self.value(index)
        if value is None:
            raise RequantError(f"its input {index} is missing")
        return value

    def tensor(self, index: int) -> Any:
        """Return an input as a variable of the program; a constant is named as in the file."""
        value = self.given(index)
        return self.scope.constant(value, self.input_names[index]) if is_known(value) else value

    def constant(self, index: int) -> Array:
        """Return an input that has to be known.

        Raises:
            RequantError: if it is computed while the model runs.
        """
        value = self.given(index)
        if not is_known(value):
            raise RequantError(
                f"its input {self.input_names[index]!r} is computed while the model runs, and Core ML needs it constant"
            )
        return np.asarray(value)

    def numbers(self, index: int, attribute: str = "") -> list[int] | None:
        """Return integers that are an input, or an attribute in older versions; None if they are left out."""
        if attribute and attribute in self.attributes:
            found = self.attributes[attribute]
            return list(found) if isinstance(found, Sequence) else [found]
        if self.value(index) is None:
            return None
        return [int(number) for number in self.constant(index).reshape(-1)]

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute, or its default."""
        return self.attributes.get(name, default)

    def weight(self, array: Array, index: int) -> Any:
        """Return what was made of a constant input as a constant of the program, named like the input."""
        return mb.const(val=mil_array(np.ascontiguousarray(array)), name=self.scope.unique(self.input_names[index]))

    def uses(self, index: int) -> bool:
        """Return whether an output is there."""
        return index < len(self.outputs) and bool(self.outputs[index])


Function = Callable[[Node], Value | list[Value]]
OPERATORS: dict[str, Function] = {}


def operator(*kinds: str) -> Callable[[Function], Function]:
    """Register a function as the translation of operators."""

    def register(function: Function) -> Function:
        for kind in kinds:
            OPERATORS[kind] = function
        return function

    return register
