"""IDX files, compressed by gzip or not: the format of the MNIST digits and of the data sets made in their likeness."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from requant.errors import RequantError
from requant.evaluate.data.arrays import sample_of
from requant.evaluate.data.pictures import require_flexible, sized
from requant.evaluate.data.samples import EvaluationData, in_words
from requant.evaluate.data.settings import DataSettings

if TYPE_CHECKING:
    from requant.coreml.description import Feature

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_UNREADABLE = (OSError, EOFError, ValueError, zlib.error, struct.error, TypeError, OverflowError, MemoryError)
MOST_GROWTH = 1040  # of a file by gzip, at the most
_GZIP = b"\x1f\x8b"


def files(settings: DataSettings) -> list[Path]:
    """Return the files of images and labels."""
    return settings.named_files()


def describe(settings: DataSettings) -> str:
    """Return in words how many samples are taken."""
    path = _images(settings)
    try:
        with _stream(path) as stream:
            count = _read_header(stream)[1][0]
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error
    return in_words(count, "sample", path, settings)


def load(settings: DataSettings, features: list[Feature]) -> EvaluationData:
    """Return samples for a model with a picture or an array as its one input.

    Raises:
        RequantError: if the files can't be read, do not belong together, or do not fit the model's input.
    """
    path = _images(settings)
    images, labels = _read(path), _read(settings.labels) if settings.labels else None
    if labels is not None and labels.shape != images.shape[:1]:
        raise RequantError(f"{settings.labels} has {_shape(labels)} labels, but {path} {len(images)} samples.")
    feature = _the_input(path, images, features, settings)

    def inputs(index: int) -> dict[str, Any]:
        sample = sample_of(images, index)
        if feature.type == "picture":
            return {feature.name: sized(Image.fromarray(sample), feature, settings)}
        return {feature.name: sample if feature.accepts(sample.shape) else np.reshape(sample, feature.shape)}

    return EvaluationData(
        [str(index) for index in range(len(images))], inputs, [] if labels is None else [str(label) for label in labels]
    ).subset(settings)


def _images(settings: DataSettings) -> Path:
    assert settings.images is not None  # this is what makes it IDX files
    return settings.images


def _the_input(path: Path, images: NDArray[Any], features: list[Feature], settings: DataSettings) -> Feature:
    required = [feature for feature in features if not feature.optional]
    if len(required) != 1 or required[0].type not in ("picture", "array"):
        declared = ", ".join(f"{f.name} ({f.type})" for f in features)
        raise RequantError(
            f"{path} is for a model with one picture or array as its input, but the model's inputs are {declared}. "
            "Give an .npz file or a loader."
        )
    feature = required[0]
    shape = images.shape[1:]
    if feature.type == "picture":
        require_flexible(feature, settings)
        if images.dtype != np.uint8 or len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] != 3):
            raise RequantError(
                f"the input {feature.name!r} is a picture, but {path} holds no pictures of bytes: {_shape(images)} of "
                f"{images.dtype.name}."
            )
    elif not feature.accepts(shape) and math.prod(shape) != math.prod(feature.shape):
        raise RequantError(
            f"the input {feature.name!r} is an array of shape {feature.shape}, but the samples in {path} have the "
            f"shape {shape}."
        )
    return feature


def _shape(array: NDArray[Any]) -> str:
    return " x ".join(map(str, array.shape))


def _read(path: Path) -> NDArray[Any]:
    try:
        with _stream(path) as stream:
            dtype, shape = _read_header(stream)
            if isinstance(stream, gzip.GzipFile):
                return np.frombuffer(_unpacked(path, stream, math.prod(shape) * dtype.itemsize), dtype).reshape(shape)
            return np.memmap(path, dtype, "r", stream.tell(), shape)
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error


def _unpacked(path: Path, stream: gzip.GzipFile, size: int) -> bytes:
    """Return the rest of a compressed file, of which not much more is unpacked than it says there is."""
    if size > path.stat().st_size * MOST_GROWTH:
        raise ValueError(f"it says that it has {size:,} bytes, more than can come out of it")
    return stream.read(size + 1)


def _stream(path: Path) -> IO[bytes] | gzip.GzipFile:
    with path.open("rb") as stream:
        compressed = stream.read(2) == _GZIP
    return gzip.open(path) if compressed else path.open("rb")


def _read_header(stream: IO[bytes] | gzip.GzipFile) -> tuple[np.dtype[Any], tuple[int, ...]]:
    zeros, code, axes = struct.unpack(">HBB", stream.read(4))
    if zeros or code not in _TYPES or not axes:
        raise ValueError("it does not begin as an IDX file")
    shape = struct.unpack(f">{axes}I", stream.read(4 * axes))
    if not all(shape):
        raise ValueError("it has no samples")
    return np.dtype(_TYPES[code]), shape


def _unreadable(path: Path, error: Exception) -> RequantError:
    return RequantError(f"{path} can't be read as an IDX file: {error}.")
