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
    woven = shape[axis] * len(values) if shape[axis] >= 0 else -1
    sizes = [0] * axis + [woven, *shape[axis + 1 :]]
    return graph.node("Reshape", graph.node("Concat", *apart, axis=axis + 1), graph.integers(*sizes))
