"""The table of layers, filled by a decorator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from requant.runtime.graph import Tensor
from requant.runtime.layers.context import Array, exactly

Translator = Callable[..., Sequence[Tensor | Array]]
LAYERS: dict[str, Translator] = {}


def layer(kind: str) -> Callable[[Translator], Translator]:
    """Register a function as the translation of a layer, by the name of its field in `NeuralNetworkLayer`."""

    def register(function: Translator) -> Translator:
        LAYERS[kind] = function
        return function

    return register


def translate_layer(context: Any, layer: Any, inputs: Sequence[Array]) -> list[Array]:
    """Add one layer to the graph and return its results.

    A translation that returns plain tensors has worked on the last axes of its inputs: axes that those do not hold, the
    results do not hold either.
    """
    results = LAYERS[layer.WhichOneof("layer")](context, layer, *inputs)
    implied = any(x.tensor.known_shape is not None and x.rank > x.tensor.rank for x in inputs)
    rank = max((x.rank for x in inputs), default=0) if implied else 0
    return [x if isinstance(x, Array) else Array(x, max(rank, exactly(x).rank)) for x in results]
