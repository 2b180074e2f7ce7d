"""The labels of a classifier that does not know them: its output is a plain array of scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from requant.errors import RequantError
from requant.evaluate.data.settings import DataSettings


def class_labels(settings: DataSettings) -> Sequence[str]:
    """Return the labels of the classes in the order of the model's output; nothing where none are given.

    Raises:
        RequantError: if their file can't be read, or holds fewer than two labels, or one twice.
    """
    return _read(settings.classes) if isinstance(settings.classes, Path) else settings.classes


def _read(path: Path) -> list[str]:
    try:
        labels = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise RequantError(f"the labels of the classes {path} can't be read as text: {error}.") from error
    twice = (
        next((label for label in labels if labels.count(label) > 1), None) if len(set(labels)) < len(labels) else None
    )
    if twice is not None or len(labels) < 2:
        found = f"has {twice!r} twice" if twice is not None else f"has {len(labels)} labels"
        raise RequantError(f"{path} {found}: it has to hold the label of each class, two or more, one in a line.")
    return labels
