"""Matrix products."""

from __future__ import annotations

from requant.errors import RequantError
from requant.runtime.graph import Graph, Tensor
from requant.runtime.operations.elementwise_binary import alike
from requant.runtime.operations.registry import operation


@operation
def linear(graph: Graph, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x @ weight.T + bias`; `weight` is (D_out, D_in)."""
    product = graph.node("MatMul", *alike(graph, x, graph.node("Transpose", weight, perm=[1, 0])))
    return graph.node("Add", *alike(graph, product, bias)) if bias else product


@operation
def matmul(graph: Graph, x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    """`x @ y`, either transposed in its last two axes first; a vector is one row on the left, a column on the right."""
    left = swapped(graph, x) if transpose_x else x
    right = swapped(graph, y) if transpose_y else y
    return graph.node("MatMul", *alike(graph, left, right))


@operation
def einsum(graph: Graph, values: list[Tensor], equation: str) -> Tensor:
    """The product over the last axis of the first tensor and the third from the end of the second.

    The equations are `nchw,nwhu->nchu` and `chw,whr->chr` with any letters; `n` and `h` broadcast.

    Raises:
        RequantError: for another equation, which MIL does not allow.
    """
    x, y = values
    if _with_numbers(equation) not in ("0123,0324->0124", "012,213->013"):
        raise RequantError(f"it has the equation {equation!r}, which MIL does not define.")
    product = graph.node("MatMul", _rows_first(graph, x), _rows_first(graph, y))
    return _rows_first(graph, product)


def swapped(graph: Graph, x: Tensor) -> Tensor:
    """Return a tensor with its last two axes swapped; a vector as it is."""
    axes = list(range(x.rank))
    return graph.node("Transpose", x, perm=[*axes[:-2], axes[-1], axes[-2]]) if x.rank > 1 else x


def _rows_first(graph: Graph, x: Tensor) -> Tensor:
    """Return a tensor with the second and the third of its last three axes swapped."""
    axes = list(range(x.rank))
    return graph.node("Transpose", x, perm=[*axes[:-3], axes[-2], axes[-3], axes[-1]])


def _with_numbers(equation: str) -> str:
    letters: dict[str, str] = {}
    plain = equation.replace(" ", "")
    return "".join(letters.setdefault(c, str(len(letters))) if c.isalpha() else c for c in plain)
