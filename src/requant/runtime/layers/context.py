"""What a layer's translation works with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from requant.coreml.network import WeightField, decode, element_count
from requant.errors import RequantError
from requant.runtime.graph import Graph, Tensor


@dataclass(frozen=True, eq=False)
class Array:
    """A tensor of a network.

    Networks of the first specification versions see every array as (sequence, batch, channel, height, width). The graph
    does without leading axes of size 1 where it can, for most layers look only at the last axes.

    Attributes:
        tensor: the tensor in the graph.
        rank: how many axes the network sees; where the tensor has fewer, leading axes of size 1 are left out.
    """

    tensor: Tensor
    rank: int


def exactly(x: Tensor) -> Array:
    """Return a tensor as an array of just its axes, whose number may show only when the model runs."""
    return Array(x, len(x.known_shape or ()))


@dataclass
class Context:
    """The graph that grows, and the tensors of the network by name.

    Attributes:
        graph: the ONNX graph.
        exact_shapes: whether arrays keep their declared shapes; else they have the five axes of the first versions.
        arrays: the tensors by the network's names.
    """

    graph: Graph
    exact_shapes: bool
    arrays: dict[str, Array] = field(default_factory=dict)

    def full(self, x: Array) -> Tensor:
        """Return a tensor with all axes that the network sees."""
        missing = x.rank - x.tensor.rank if x.tensor.known_shape is not None else 0
        return self.graph.node("Unsqueeze", x.tensor, self.graph.integers(*range(missing))) if missing else x.tensor

    def pictures(self, x: Array) -> Tensor:
        """Return a tensor (batch, channel, height, width); axes before the last three become one batch.

        Raises:
            RequantError: if the network sees fewer than three axes.
        """
        require_features(x)
        if x.tensor.rank == 4:
            return x.tensor
        if x.tensor.rank < 4:
            return self.graph.node("Unsqueeze", x.tensor, self.graph.integers(*range(4 - x.tensor.rank)))
        sizes = [self.graph.size_of(x.tensor, axis) for axis in (-3, -2, -1)]
        return self.graph.reshape(x.tensor, -1, *sizes)

    def from_pictures(self, pictures: Tensor, x: Array) -> Array:
        """Return a tensor (batch, channel, height, width) with the leading axes that `x` has."""
        if x.tensor.rank == 4:
            return Array(pictures, x.rank)
        sizes = [self.graph.size_of(pictures, axis) for axis in (1, 2, 3)]
        leading = [self.graph.size_of(x.tensor, axis) for axis in range(max(x.tensor.rank - 3, 0))]
        return Array(self.graph.reshape(pictures, *leading, *sizes), x.rank)

    def whole_numbers(self, x: Array) -> Tensor:
        """Return the numbers of an array, which are sizes, places or axes, as one-dimensional int64."""
        return self.graph.reshape(self.graph.cast(x.tensor, "int64"), -1)

    def indices(self, x: Array) -> Tensor:
        """Return an array of whole numbers, with all axes that the network sees, as int64."""
        return self.full(Array(self.graph.cast(x.tensor, "int64"), x.rank))

    def of_shape(self, x: Tensor, shape: Tensor) -> Tensor:
        """Return a tensor that was brought to a shape, with as many axes as that has numbers."""
        count = shape.shape[0]
        return self.graph.declare(x, (-1,) * count) if count >= 0 else x

    def aligned(self, inputs: Sequence[Array]) -> list[Tensor]:
        """Return tensors with as many axes as the one of most axes, those missing put in front with size 1."""
        most = max(x.tensor.rank for x in inputs)
        missing = [range(most - x.tensor.rank) for x in inputs]
        return [
            self.graph.node("Unsqueeze", x.tensor, self.graph.integers(*axes)) if axes else x.tensor
            for x, axes in zip(inputs, missing, strict=True)
        ]


def require_features(x: Array) -> None:
    """Make sure that an array has the axes channel, height and width.

    Raises:
        RequantError: if the network sees fewer than three axes.
    """
    if x.rank < 3:
        raise RequantError(f"it needs the axes channel, height and width, but gets an input of {x.rank} axes")


def weights(params: Any, shape: tuple[int, ...], axis: int | None = 0) -> NDArray[np.float32]:
    """Return the numbers of a `WeightParams` message, decompressed, float32 in `shape`.

    Args:
        params: the message.
        shape: of the tensor.
        axis: of the output channels.
    """
    return decode(WeightField("of the layer", params, shape, axis, quantizable=True))


def vector(params: Any, size: int = 0) -> NDArray[np.float32]:
    """Return all numbers of a `WeightParams` message in one dimension, decompressed, float32.

    Args:
        params: the message.
        size: how many there are; if it is not given, the numbers have to be stored as floats.
    """
    return weights(params, (size or element_count(params),))


def unsupported(what: str) -> RequantError:
    """Return the error for a variation of a layer that has no translation."""
    return RequantError(f"it has {what}, which requant can't run.")
