"""Operations that put tensors together."""

from __future__ import annotations

from requant.runtime.graph import Graph, Tensor
from requant.runtime.operations.registry import operation


@operation
def concat(graph: Graph, values: list[Tensor], axis: int, interleave: bool = False) -> Tensor:
    """The tensors one after the other along an axis; interleaved, their slices in turn."""
    if not interleave:
        return graph.node("Concat", *values, axis=axis)
    axis %= values[0].rank
    apart = [graph.node("Unsqueeze", value, graph.integers(axis + 1)) for value in values]
    sizes = [graph.size_of(values[0], i) for i in range(values[0].rank)]
    woven = graph.node("Mul", sizes[axis], graph.integers(len(values)))
    return graph.reshape(graph.node("Concat", *apart, axis=axis + 1), *sizes[:axis], woven, *sizes[axis + 1 :])
