"""Which outputs stay on the disk between runs: they are what lets another metric or target run no model again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def trim_outputs(variants: Iterable[Path], floats: Iterable[Path], budget: int) -> list[Path]:
    """Remove outputs of variants, the oldest first, until all that stay fit a budget.

    The float models' always stay, because every variant is held against them. What is missing is made again by the
    workflow when something needs it.

    Args:
        variants: the files with the outputs of the variants; those that do not exist count for nothing.
        floats: those of the float models.
        budget: bytes of all of them together.

    Returns:
        What was removed.
    """
    sizes = {path: path.stat() for path in variants if path.is_file()}
    total = sum(stat.st_size for stat in sizes.values()) + sum(path.stat().st_size for path in floats if path.is_file())
    removed = []
    for path in sorted(sizes, key=lambda path: (sizes[path].st_mtime_ns, path)):
        if total <= budget:
            break
        path.unlink(missing_ok=True)
        total -= sizes[path].st_size
        removed.append(path)
    return removed
