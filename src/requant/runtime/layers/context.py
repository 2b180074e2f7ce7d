"""What a layer's translation works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from requant.coreml.network import WeightField, decode
from requant.errors import RequantError
from requant.runtime.graph import Graph


@dataclass
class Context:
    """The graph that grows, and the tensors of the network by name.

    Attributes:
        graph: the ONNX graph.
        exact_shapes: whether arrays keep their declared shapes; else they are (1, channel, height, width).
        tensors: the graph's name of each tensor of the network.
        axes: how many axes each tensor has, by its name in the graph.
    """

    graph: Graph
    exact_shapes: bool
    tensors: dict[str, str] = field(default_factory=dict)
    axes: dict[str, int] = field(default_factory=dict)


Translator = Callable[..., list[str]]


def weights(params: Any, shape: tuple[int, ...], axis: int = 0) -> NDArray[np.float32]:
    """Return the numbers of a `WeightParams` message, decompressed, float32 in `shape`.

    Args:
        params: the message.
        shape: of the tensor.
        axis: of the output channels.
    """
    return decode(WeightField("weights", params, shape, axis, quantizable=True))


def require_four_axes(context: Context, layer: Any, x: str) -> None:
    """Make sure that a tensor is (batch, channel, height, width), which the layer's translation counts on.

    Raises:
        RequantError: if it is not.
    """
    if context.axes[x] != 4:
        raise unsupported(layer, f"an input of {context.axes[x]} axes")


def unsupported(layer: Any, what: str) -> RequantError:
    """Return the error for a variation of a layer that has no translation."""
    return RequantError(f"the layer {layer.name!r} has {what}, which requant can't run yet.")
