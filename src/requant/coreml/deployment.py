"""The oldest system that loads a model: what it declares, or what its stored forms need.

What came with which system is said in `requant.coreml.systems`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from requant.coreml.kind import Kind
from requant.coreml.model import Model
from requant.coreml.network import stored_form, weight_fields
from requant.coreml.pipeline import parts_of, walk_specs
from requant.coreml.program import all_operations
from requant.coreml.systems import (
    BLOCKWISE_CONSTANTS,
    COMPRESSED_CONSTANTS,
    FLOAT16_WEIGHTS,
    OPSETS,
    QUANTIZED_WEIGHTS,
    SYSTEMS,
    System,
    system_of,
)

DYNAMIC_WEIGHTS = 5  # signed weights of layers that quantize their input while they run (mlmodel/src/Utils.cpp)
_OPERATION_VERSIONS = {
    "constexpr_affine_dequantize": COMPRESSED_CONSTANTS,
    "constexpr_cast": COMPRESSED_CONSTANTS,
    "constexpr_lut_to_dense": COMPRESSED_CONSTANTS,
    "constexpr_sparse_to_dense": COMPRESSED_CONSTANTS,
    "constexpr_blockwise_shift_scale": BLOCKWISE_CONSTANTS,
    "constexpr_lut_to_sparse": BLOCKWISE_CONSTANTS,
    "constexpr_sparse_blockwise_shift_scale": BLOCKWISE_CONSTANTS,
}


def oldest_system(model: Model) -> System:
    """Return the oldest system that loads the model: the one it declares, or a newer one that its stored forms need.

    For a pipeline, all models in it count.
    """
    declared = [spec.specificationVersion for spec in walk_specs(model.spec)]
    needed = [version for _, part in parts_of(model) for version in _needed(part)]
    return system_of(max([*declared, *needed]))


def _needed(part: Model) -> Iterator[int]:
    """Yield the specification versions that the weights and operations of a network or program need."""
    if part.kind is Kind.NEURAL_NETWORK:
        yield from (_version_of_form(field.params) for field in weight_fields(part.spec))
    else:
        yield from (OPSETS.get(function.opset, max(SYSTEMS)) for function in part.spec.mlProgram.functions.values())
        yield from (_OPERATION_VERSIONS.get(operation.type, 0) for operation in all_operations(part.spec))


def _version_of_form(params: Any) -> int:
    form, bits = stored_form(params)
    if form == "float32":
        return 1
    if params.int8RawValue:
        return DYNAMIC_WEIGHTS
    return FLOAT16_WEIGHTS if bits == 16 else QUANTIZED_WEIGHTS
