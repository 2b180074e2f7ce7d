"""Operations that put tensors together."""

from __future__ import annotations

from requant.runtime.graph import Graph
from requant.runtime.operations.registry import Tensor, operation


@operation
def concat(graph: Graph, values: list[Tensor], axis: int, interleave: bool = False) -> str:
    """The tensors one after the other along an axis; interleaved, their slices in turn."""
    names = [value.name for value in values]
    if not interleave:
        return graph.node("Concat", *names, axis=axis)
    shape = values[0].shape
    axis %= len(shape)
    apart = [graph.node("Unsqueeze", name, graph.integers(axis + 1)) for name in names]
    sizes = [0 if i != axis else shape[axis] * len(values) for i in range(len(shape))]
    return graph.node("Reshape", graph.node("Concat", *apart, axis=axis + 1), graph.integers(*sizes))
