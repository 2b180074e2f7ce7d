"""Which system loads a model: the one table of Core ML's stored forms and the oldest iOS and macOS that read them.

Sources: the specification versions in Apple's `Model.proto`, and "Core ML Tools: Optimization" with its table of
formats (https://apple.github.io/coremltools/docs-guides/source/opt-overview.html).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from requant.coreml.kind import Kind
from requant.coreml.model import Model
from requant.coreml.network import stored_form, weight_fields
from requant.coreml.program import all_operations


@dataclass(frozen=True, order=True)
class System:
    """The oldest system that loads a model: a specification version with the iOS and macOS that brought it."""

    spec_version: int
    ios: str
    macos: str


# Specification version -> the systems that brought it.
SYSTEMS: dict[int, System] = {
    1: System(1, "11", "10.13"),
    2: System(2, "11.2", "10.13.2"),
    3: System(3, "12", "10.14"),
    4: System(4, "13", "10.15"),
    5: System(5, "14", "11"),
    6: System(6, "15", "12"),
    7: System(7, "16", "13"),
    8: System(8, "17", "14"),
    9: System(9, "18", "15"),
    10: System(10, "26", "26"),
}
# Specification versions by what a NeuralNetwork stores.
FLOAT16_WEIGHTS = 2
QUANTIZED_WEIGHTS = 3
# Specification versions and names of the operator sets of an ML Program.
OPSETS: dict[str, int] = {"CoreML5": 6, "CoreML6": 7, "CoreML7": 8, "CoreML8": 9, "CoreML9": 10}
COMPRESSED_CONSTANTS = 7
BLOCKWISE_CONSTANTS = 9
_OPERATION_VERSIONS = {
    "constexpr_affine_dequantize": COMPRESSED_CONSTANTS,
    "constexpr_cast": COMPRESSED_CONSTANTS,
    "constexpr_lut_to_dense": COMPRESSED_CONSTANTS,
    "constexpr_sparse_to_dense": COMPRESSED_CONSTANTS,
    "constexpr_blockwise_shift_scale": BLOCKWISE_CONSTANTS,
    "constexpr_lut_to_sparse": BLOCKWISE_CONSTANTS,
    "constexpr_sparse_blockwise_shift_scale": BLOCKWISE_CONSTANTS,
}


def system_of(spec_version: int) -> System:
    """Return the oldest system that loads a specification version; an unknown one counts as the newest known."""
    return SYSTEMS.get(spec_version, SYSTEMS[max(SYSTEMS)])


def opset_of(spec_version: int) -> str:
    """Return the name of the operator set that a specification version brought, as `CoreML6`."""
    return next(name for name, version in OPSETS.items() if version == spec_version)


def oldest_system(model: Model) -> System:
    """Return the oldest system that loads the model: the one it declares, or a newer one that its stored forms need."""
    if model.kind is Kind.NEURAL_NETWORK:
        needed: Iterable[int] = (_version_of_form(*stored_form(f.params)) for f in weight_fields(model.spec))
    else:
        opsets = [OPSETS.get(f.opset, max(SYSTEMS)) for f in model.spec.mlProgram.functions.values()]
        needed = [*opsets, *(_OPERATION_VERSIONS.get(o.type, 0) for o in all_operations(model.spec))]
    return system_of(max([model.spec.specificationVersion, *needed]))


def _version_of_form(form: str, bits: int) -> int:
    if form == "float32":
        return 1
    return FLOAT16_WEIGHTS if bits == 16 else QUANTIZED_WEIGHTS
