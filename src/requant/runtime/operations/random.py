"""Random numbers.

Which numbers Core ML's generator draws is not published, only their distribution; so an output that hangs on them can
not be compared with a device's number by number. Here every operation draws from a generator of its own: with the seed
that the model gives it, or else with one that follows from its place among the random operations. A model that is
loaded again draws the same numbers again; from one prediction to the next they go on.
"""

from __future__ import annotations

from requant.runtime.graph import Graph, Tensor
from requant.runtime.operations.registry import operation

# Far from the seeds that people write, so that an operation without a seed does not repeat one that has it.
_FIRST_SEED = 1_000_003


@operation
def random_uniform(graph: Graph, shape: Tensor, low: float = 0.0, high: float = 1.0, seed: int = -1) -> Tensor:
    """Numbers from `low` up to, not including, `high`, each as likely."""
    return _scaled(graph, _drawn(graph, "RandomUniformLike", shape, seed), high - low, low)


@operation
def random_normal(graph: Graph, shape: Tensor, mean: float = 0.0, stddev: float = 1.0, seed: int = -1) -> Tensor:
    """Numbers of a normal distribution."""
    return _scaled(graph, _drawn(graph, "RandomNormalLike", shape, seed), stddev, mean)


@operation
def random_bernoulli(graph: Graph, shape: Tensor, prob: float = 0.5, seed: int = -1) -> Tensor:
    """1 with a probability, else 0."""
    drawn = _drawn(graph, "RandomUniformLike", shape, seed)
    return graph.cast(graph.node("Less", drawn, graph.scalar(prob)), "float32")


@operation
def random_categorical(graph: Graph, x: Tensor, mode: str = "logits", size: int = 1, seed: int = -1) -> Tensor:
    """Indices along the last axis, drawn with replacement: `size` of them for each vector of (..., classes).

    A vector holds logarithms of probabilities (`logits`) or probabilities (`probs`); neither has to add up to 1. The
    index is the number of classes whose summed probability a uniform number reaches.
    """
    x = graph.cast(x, "float32")
    if mode == "logits":
        weights = graph.node("Exp", graph.node("Sub", x, graph.node("ReduceMax", x, graph.integers(-1), keepdims=1)))
    else:
        weights = x
    summed = graph.node("CumSum", weights, graph.scalar(-1, "int64"))
    total = graph.node("ReduceSum", weights, graph.integers(-1), keepdims=1)
    leading = [graph.size_of(x, axis) for axis in range(x.rank - 1)]
    drawn = random_uniform(graph, graph.shape(*leading, size), seed=seed)
    level = graph.node("Unsqueeze", graph.node("Mul", drawn, total), graph.integers(-1))
    reached = graph.node("LessOrEqual", graph.node("Unsqueeze", summed, graph.integers(-2)), level)
    index = graph.node("ReduceSum", graph.cast(reached, "float32"), graph.integers(-1), keepdims=0)
    last = graph.node("Sub", graph.cast(graph.size_of(x, -1), "float32"), graph.scalar(1))
    return graph.node("Min", index, last)


def _drawn(graph: Graph, kind: str, shape: Tensor, seed: int) -> Tensor:
    """Draw float32 numbers of a shape, of the distribution's standard form: ONNX Runtime ends at one without width."""
    graph.root.random_operations += 1
    own = seed if seed >= 0 else _FIRST_SEED + graph.root.random_operations
    return graph.node(kind, graph.node("ConstantOfShape", graph.cast(shape, "int64")), seed=float(own))


def _scaled(graph: Graph, x: Tensor, factor: float, offset: float) -> Tensor:
    if factor != 1:
        x = graph.node("Mul", x, graph.scalar(factor))
    return graph.node("Add", x, graph.scalar(offset)) if offset else x
