"""The operations of an ML Program, translated to ONNX, in the families of coremltools' MIL reference.

Each function's name is the operation's, and its signature is the operation's: a `Tensor` is computed or constant, any
other parameter has to be constant; a default is that of the operation. What an operation computes is written in
https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html.
"""

from __future__ import annotations

from requant.runtime.operations import (  # noqa: F401 - importing a family registers its operations
    activation,
    control_flow,
    conv,
    elementwise_binary,
    elementwise_unary,
    image_resizing,
    linear,
    non_maximum_suppression,
    normalization,
    pool,
    quantization_ops,
    random,
    recurrent,
    reduction,
    scatter_gather,
    tensor_operation,
    tensor_transformation,
    transformers,
)
from requant.runtime.operations.registry import OPERATIONS, Operation

__all__ = ["OPERATIONS", "Operation"]
