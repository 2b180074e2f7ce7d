"""A model translated to ONNX, with where its declared features are in the graph."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from numpy.typing import NDArray

ComputePrecision = Literal["float32", "float16"]
ComputeUnits = Literal["all", "cpu", "cpu-and-gpu", "cpu-and-neural-engine"]


@dataclass(frozen=True)
class GraphInput:
    """An input of the graph.

    Attributes:
        dtype: of its elements, by numpy's name.
        shape: -1 for a size that is left open.
        sequence_axes: whether the network's arrays have the five axes (sequence, batch, channel, height, width), so
            that an input may be given with more axes before those that it declares.
    """

    dtype: str
    shape: tuple[int, ...]
    sequence_axes: bool = False


@dataclass(frozen=True)
class Translation:
    """A model as ONNX.

    Attributes:
        onnx_bytes: the serialized ONNX model, without its large constants.
        weights: the large constants by their names in the graph.
        inputs: the graph's inputs, by the names of the model's.
        results: the model's outputs that the graph's outputs hold, in their order. A classifier's label and dictionary
            are both held by one tensor of probabilities, named by `scores`. The states after the prediction come last.
        scores: the name in `results` of a classifier's probabilities; empty for any other model.
        labels: a classifier's labels in the order of its probabilities.
        sequence_axes: whether the arrays among the results have the axes (sequence, batch, channel, height, width).
        states: what the graph keeps from one prediction to the next, an input and a result of the same name each.
    """

    onnx_bytes: bytes
    weights: dict[str, NDArray[Any]]
    inputs: dict[str, GraphInput]
    results: list[str]
    scores: str = ""
    labels: tuple[str | int, ...] = ()
    sequence_axes: bool = False
    states: dict[str, GraphInput] = field(default_factory=dict)
