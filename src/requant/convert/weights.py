"""Whether the float model of an original has weights: what the workflow asks before it plans its jobs.

Nothing heavy is imported here, unless a small model has to be looked into.
"""

from __future__ import annotations

from pathlib import Path

from requant.convert import is_core_ml
from requant.coreml.kind import Kind, has_network_weights
from requant.errors import RequantError

# A model without weights is a description of a few layers; one that takes more bytes than this is not looked into.
LARGEST_WITHOUT_WEIGHTS = 256_000


def has_weights(original: Path, kind: Kind) -> bool:
    """Return whether the float model of an original has weights that Core ML can store in fewer bits.

    A large original is taken to have some, and so is one in another format than Core ML's, or one that can't be read:
    its conversion will tell what is wrong.

    Args:
        original: in any source format.
        kind: of the float model.
    """
    if kind is Kind.OTHER:
        return False
    if not is_core_ml(original) or _size(original) > LARGEST_WITHOUT_WEIGHTS:
        return True
    try:
        return (kind is Kind.NEURAL_NETWORK and has_network_weights(original)) or _is_found_to_have(original)
    except RequantError:
        return True


def _size(original: Path) -> int:
    """Return the bytes of a file, or of all files of a package."""
    files = [file for file in original.rglob("*") if file.is_file()] if original.is_dir() else [original]
    return sum(file.stat().st_size for file in files)


def _is_found_to_have(original: Path) -> bool:
    from requant.coreml import inventory
    from requant.coreml.model import load

    return inventory.has_weights(load(original))
