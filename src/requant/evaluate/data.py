"""Evaluation data: what a model's variants are run on.

A folder of pictures; a folder with one folder of pictures per class label; an `.npz` file with one array per input
(samples first) and, for labelled data, an array `labels`. Without data there are inputs made up from a seed, which
respect each input's type and are marked as such wherever figures are shown.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from requant.errors import RequantError
from requant.originals import sha256

if TYPE_CHECKING:  # the workflow lists data files each time it is read, and should not wait for coremltools
    from requant.coreml.description import Feature

PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
SYNTHETIC_SAMPLES = 8
SYNTHETIC_SEED = 20180604
LABELS = "labels"
UNREADABLE_ARRAYS = (OSError, ValueError, EOFError, zipfile.BadZipFile)  # what numpy raises for a file of arrays


@dataclass(frozen=True)
class EvaluationData:
    """Samples for a model.

    Attributes:
        names: of the samples.
        inputs: returns a sample's inputs, by its number.
        targets: the right class label of each sample; empty for data without labels.
        synthetic: whether the inputs are made up.
    """

    names: Sequence[str]
    inputs: Callable[[int], dict[str, Any]]
    targets: Sequence[str] = ()
    synthetic: bool = False


def data_files(path: Path | None) -> list[Path]:
    """Return the files that evaluation data consists of, sorted.

    Raises:
        RequantError: if there are none.
    """
    if path is None:
        return []
    if path.suffix == ".npz":
        if not path.is_file():
            raise RequantError(f"the evaluation data {path} does not exist.")
        return [path]
    if not path.is_dir():
        raise RequantError(f"the evaluation data {path} is neither a folder of pictures nor an .npz file.")
    pictures = sorted(f for f in path.rglob("*") if f.suffix.lower() in PICTURE_SUFFIXES and f.is_file())
    if not pictures:
        raise RequantError(f"there is no picture in {path} ({', '.join(sorted(PICTURE_SUFFIXES))}).")
    return pictures


def describe_data(path: Path | None) -> dict[str, Any]:
    """Return a record of evaluation data: where it is, what it is in words, and the SHA-256 of each file.

    Raises:
        RequantError: if there is none.
    """
    if path is None:
        return {"path": None, "description": f"{SYNTHETIC_SAMPLES} inputs made up from a seed", "sha256": {}}
    files = data_files(path)
    what = (
        f"the arrays in {path.as_posix()}" if path.suffix == ".npz" else f"{len(files)} pictures in {path.as_posix()}"
    )
    return {
        "path": path.as_posix(),
        "description": what,
        "sha256": {file.as_posix(): sha256(file) for file in files},
    }


def load_data(path: Path | None, features: list[Feature]) -> EvaluationData:
    """Return the evaluation data in a folder or file for a model with these inputs.

    Raises:
        RequantError: if the data does not fit the model's inputs.
    """
    if path is None:
        return _synthetic(features)
    return _arrays(path, features) if path.suffix == ".npz" else _pictures(path, features)


def _pictures(path: Path, features: list[Feature]) -> EvaluationData:
    if len(features) != 1 or features[0].type != "picture":
        declared = ", ".join(f"{f.name} ({f.type})" for f in features)
        raise RequantError(
            f"{path} holds pictures, but the model's inputs are {declared}. Give an .npz file with an array for each."
        )
    feature = features[0]
    files = data_files(path)
    folders = [file.relative_to(path).parts[:-1] for file in files]
    if any(len(parts) > 1 for parts in folders) or len({bool(parts) for parts in folders}) > 1:
        raise RequantError(f"{path} has to hold either pictures, or one folder of pictures per class label.")
    return EvaluationData(
        [file.relative_to(path).as_posix() for file in files],
        lambda index: {feature.name: fitted(read_picture(files[index]), feature)},
        [parts[0] for parts in folders if parts],
    )


def read_picture(path: Path) -> Image.Image:
    """Return a picture, turned upright, as RGB.

    Raises:
        RequantError: if the file can't be read as a picture.
    """
    try:
        with Image.open(path) as picture:
            return ImageOps.exif_transpose(picture).convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise RequantError(f"{path} can't be read as a picture: {error}.") from error


def fitted(picture: Image.Image, feature: Feature) -> Image.Image:
    """Return the largest centred part of a picture that has an input's proportions, resampled to its size."""
    height, width = feature.shape
    scale = min(picture.width / width, picture.height / height)
    part = (round(width * scale), round(height * scale))
    left, top = (picture.width - part[0]) // 2, (picture.height - part[1]) // 2
    box = (left, top, left + part[0], top + part[1])
    return picture.resize((width, height), Image.Resampling.LANCZOS, box)


def _arrays(path: Path, features: list[Feature]) -> EvaluationData:
    arrays = _read_npz(path)
    required = [feature.name for feature in features if not feature.optional]
    missing = [name for name in required if name not in arrays]
    unknown = sorted(set(arrays) - {feature.name for feature in features} - {LABELS})
    if missing or unknown:
        what = f"no array {missing[0]!r}" if missing else f"an array {unknown[0]!r} that is no input"
        raise RequantError(f"{path} has {what}; the model's inputs are {', '.join(f.name for f in features)}.")
    counts = {len(array) for array in arrays.values()}
    if len(counts) != 1 or counts == {0}:
        raise RequantError(f"the arrays in {path} have to hold the same number of samples, at least one.")
    inputs = {name: array for name, array in arrays.items() if name != LABELS}
    return EvaluationData(
        [str(index) for index in range(counts.pop())],
        lambda index: {name: array[index] for name, array in inputs.items()},
        [str(label) for label in arrays.get(LABELS, [])],
    )


def _read_npz(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except UNREADABLE_ARRAYS as error:
        raise RequantError(f"{path} can't be read as an .npz file of arrays: {error}.") from error


def _synthetic(features: list[Feature]) -> EvaluationData:
    return EvaluationData(
        [f"synthetic {index}" for index in range(SYNTHETIC_SAMPLES)],
        lambda index: {f.name: _made_up(f, np.random.default_rng([SYNTHETIC_SEED, index])) for f in features},
        synthetic=True,
    )


def _made_up(feature: Feature, random: np.random.Generator) -> Any:
    """Return a picture of soft coloured clouds, an array of normally distributed numbers, or a number."""
    if feature.type == "picture":
        channels = 1 if feature.colour.startswith("GRAYSCALE") else 3
        cells = random.integers(0, 256, (8, 8, channels), np.uint8)
        picture = Image.fromarray(cells[..., 0] if channels == 1 else cells)
        return picture.resize((feature.shape[1], feature.shape[0]), Image.Resampling.BICUBIC)
    if feature.type == "array" and feature.shape:
        if feature.dtype.startswith("int"):
            return random.integers(0, 2, feature.shape)
        return random.standard_normal(feature.shape).astype(np.float32)
    if feature.type == "number":
        return float(random.standard_normal())
    raise RequantError(
        f"no inputs can be made up for {feature.name!r} ({feature.type}). Give evaluation data: data: FILE.npz"
    )
