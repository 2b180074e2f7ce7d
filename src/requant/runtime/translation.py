"""A model translated to ONNX, with where its declared features are in the graph."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GraphInput:
    """Element type (numpy's name) and shape of an input of the graph."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Translation:
    """A model as ONNX.

    Attributes:
        onnx_bytes: the serialized ONNX model.
        inputs: the graph's inputs, by the names of the model's.
        results: the model's outputs that the graph's outputs hold, in their order. A classifier's label and dictionary
            are both held by one tensor of probabilities, named by `scores`.
        scores: the name in `results` of a classifier's probabilities; empty for any other model.
        labels: a classifier's labels in the order of its probabilities.
    """

    onnx_bytes: bytes
    inputs: dict[str, GraphInput]
    results: list[str]
    scores: str = ""
    labels: tuple[str | int, ...] = ()
