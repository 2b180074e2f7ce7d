"""Samples for a model, whatever form they come in, and which of them are taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from requant.errors import RequantError
from requant.evaluate.data.settings import SEED, DataSettings


@dataclass(frozen=True)
class EvaluationData:
    """Samples for a model; their inputs are read when they are asked for.

    Attributes:
        names: of the samples.
        inputs: returns a sample's inputs, by its number.
        targets: the right class label of each sample; empty for data without labels.
        synthetic: whether the inputs are made up.
        classes: the labels of the classes, where the model's output is a plain array of their scores.
        class_scores: the output that holds them; empty for the one that can.
        counted: whether it is known how many samples there are. If not, `len(names)` goes through all of them; going
            through `names` and asking for the inputs of each does not.
    """

    names: Sequence[str]
    inputs: Callable[[int], dict[str, Any]]
    targets: Sequence[str] = ()
    synthetic: bool = False
    counted: bool = True
    classes: Sequence[str] = ()
    class_scores: str = ""

    def subset(self, settings: DataSettings) -> EvaluationData:
        """Return the samples that the settings take."""
        taken = drawn(len(self.names), settings)
        if len(taken) == len(self.names):
            return self
        return EvaluationData(
            [self.names[index] for index in taken],
            lambda index: self.inputs(taken[index]),
            [self.targets[index] for index in taken] if self.targets else (),
            self.synthetic,
        )

    def place_of(self, index: int) -> str:
        """Return which sample a number is, for the log: `3 of 10`, or `3` where nobody knows yet."""
        return f"{index + 1} of {len(self.names)}" if self.counted else f"{index + 1}"


def drawn(count: int, settings: DataSettings) -> Sequence[int]:
    """Return the numbers of the samples that are taken: all, or those drawn by the seed, in the order of the data."""
    if settings.samples is None or settings.samples >= count:
        return range(count)
    import numpy as np

    generator = np.random.default_rng(seed_of(settings))
    chosen: list[int] = generator.choice(count, settings.samples, replace=False).tolist()
    return sorted(chosen)


def seed_of(settings: DataSettings) -> int:
    """Return the seed of the draw."""
    return SEED if settings.seed is None else settings.seed


def in_words(count: int, what: str, where: Path, settings: DataSettings) -> str:
    """Return what is taken of how many samples, as `500 of the 10,000 pictures in folder, drawn by seed 1`."""
    things = what if count == 1 else f"{what}s"
    if settings.samples is None or settings.samples >= count:
        return f"{count:,} {things} in {where.as_posix()}"
    return f"{settings.samples:,} of the {count:,} {things} in {where.as_posix()}, drawn by seed {seed_of(settings)}"


def files_below(folder: Path, suffixes: set[str], what: str) -> list[Path]:
    """Return the files in a folder and its folders that have one of these endings, sorted.

    Raises:
        RequantError: if there are none.
    """
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in suffixes and file.is_file())
    if not files:
        raise RequantError(f"there is no {what} in {folder} ({', '.join(sorted(suffixes))}).")
    return files


def labels_by_folder(folder: Path, files: Sequence[Path], what: str) -> list[str]:
    """Return the label of each file, which is the name of its folder; nothing if they lie in no folders.

    Raises:
        RequantError: if some do and some don't, or a folder lies in another.
    """
    folders = [file.relative_to(folder).parts[:-1] for file in files]
    if any(len(parts) > 1 for parts in folders) or len({bool(parts) for parts in folders}) > 1:
        raise RequantError(f"{folder} has to hold either {what}s, or one folder of {what}s per class label.")
    return [parts[0] for parts in folders if parts]
