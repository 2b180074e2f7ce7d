"""The table of operations, filled by a decorator that reads each function's signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, ParamSpec, TypeVar

from requant.runtime.graph import Graph, Tensor

Wants = Literal["tensor", "tensors", "constant"]
P = ParamSpec("P")
R = TypeVar("R", Tensor, list[Tensor])
_WANTS: dict[str, Wants] = {"Tensor": "tensor", "Tensor | None": "tensor", "list[Tensor]": "tensors"}


@dataclass(frozen=True)
class Operation:
    """A translation and what each of its parameters wants."""

    function: Callable[..., Tensor | list[Tensor]]
    parameters: dict[str, Wants]

    def translate(self, graph: Graph, parameters: dict[str, Any]) -> list[Tensor]:
        """Add the operation to a graph and return its results."""
        results = self.function(graph, **parameters)
        return [results] if isinstance(results, Tensor) else results


OPERATIONS: dict[str, Operation] = {}


def operation(function: Callable[P, R]) -> Callable[P, R]:
    """Register a function as the translation of the operation of its name (less an underscore at its end)."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    wants = {parameter.name: _WANTS.get(str(parameter.annotation), "constant") for parameter in parameters}
    OPERATIONS[function.__name__.rstrip("_")] = Operation(function, wants)
    return function
