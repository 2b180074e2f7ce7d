"""The table of operations, filled by a decorator that reads each function's signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from requant.runtime.graph import Graph

Wants = Literal["tensor", "tensors", "constant"]


@dataclass(frozen=True)
class Tensor:
    """A value of the program in the graph: its name there, its element type in the program, its shape (-1: open)."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Operation:
    """A translation and what each of its parameters wants."""

    function: Callable[..., str | list[str]]
    parameters: dict[str, Wants]

    def translate(self, graph: Graph, parameters: dict[str, Any]) -> list[str]:
        """Add the operation to a graph and return the names of its results."""
        results = self.function(graph, **parameters)
        return [results] if isinstance(results, str) else results


OPERATIONS: dict[str, Operation] = {}


def operation(function: Callable[..., str | list[str]]) -> Callable[..., str | list[str]]:
    """Register a function as the translation of the operation of its name."""
    wants: dict[str, Wants] = {"Tensor": "tensor", "Tensor | None": "tensor", "list[Tensor]": "tensors"}
    parameters = list(inspect.signature(function).parameters.values())[1:]
    OPERATIONS[function.__name__] = Operation(
        function, {p.name: wants.get(str(p.annotation), "constant") for p in parameters}
    )
    return function
