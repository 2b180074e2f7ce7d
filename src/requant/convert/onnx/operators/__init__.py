"""The operators of ONNX, translated to operations of MIL, in families.

A function takes a `Node` and adds the operations that compute what the node does. What an operator computes is written
in https://onnx.ai/onnx/operators; attributes that became inputs in a later version are read in either place.
"""

from __future__ import annotations

from requant.convert.onnx.operators import (  # noqa: F401 - importing a family registers its operators
    activation,
    control_flow,
    convolution,
    elementwise,
    indexing,
    linear,
    logic,
    normalization,
    pooling,
    recurrent,
    reduction,
    resizing,
    shapes,
)
from requant.convert.onnx.operators.registry import OPERATORS, Node

__all__ = ["OPERATORS", "Node"]
