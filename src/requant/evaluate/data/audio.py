"""Sounds for a model that takes a frame of one: a `.wav` file, a folder of them, or one folder per class label.

Every sound is mixed down to one channel, brought to the rate that the model wants, and cut into frames.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from requant.errors import RequantError
from requant.evaluate.data.samples import EvaluationData, files_below, labels_by_folder, seed_of
from requant.evaluate.data.settings import DataSettings

if TYPE_CHECKING:
    from requant.coreml.description import Feature

_SUFFIXES = {".wav"}


@dataclass(frozen=True)
class Frame:
    """A part of a sound: of which file, the number that it begins with, and that number's time in seconds."""

    file: int
    start: int
    seconds: float


def files(settings: DataSettings) -> list[Path]:
    """Return the sounds."""
    path = _path(settings)
    return files_below(path, _SUFFIXES, "sound") if path.is_dir() else [path]


def describe(settings: DataSettings) -> str:
    """Return in words which sounds there are; how many frames they have depends on the model."""
    path, count = _path(settings), len(files(settings))
    where = f"{count:,} sound{'' if count == 1 else 's'} in {path.as_posix()}" if path.is_dir() else path.as_posix()
    if settings.samples is None:
        return f"the frames of {where}"
    return f"at most {settings.samples:,} frames of {where}, drawn by seed {seed_of(settings)}"


def load(settings: DataSettings, features: list[Feature]) -> EvaluationData:
    """Return the frames of all sounds, for a model whose one input is an array of numbers in a row.

    Raises:
        RequantError: if the model has other inputs, a file is no sound, or its rate is not the one wanted.
    """
    path, found = _path(settings), files(settings)
    feature = _the_input(path, features)
    length = math.prod(feature.shape)
    hop = settings.hop or length
    if hop > length:
        raise RequantError(f"data: hop is {hop}, but a frame has {length} numbers: those between would be left out.")
    sounds = _Sounds(found, settings.sample_rate)
    frames = list(_frames(sounds, length, hop))
    folder = path if path.is_dir() else path.parent
    names = [file.relative_to(folder).as_posix() for file in found]
    labels = labels_by_folder(path, found, "sound") if path.is_dir() else []

    def inputs(index: int) -> dict[str, Any]:
        frame = frames[index]
        return {feature.name: sounds.part(frame.file, frame.start, length).reshape(feature.shape)}

    return EvaluationData(
        [f"{names[frame.file]} at {_in_words(frame.seconds)} s" for frame in frames],
        inputs,
        [labels[frame.file] for frame in frames] if labels else [],
    ).subset(settings)


def frame_starts(count: int, length: int, hop: int) -> range:
    """Return where the frames of a sound begin: as many as it takes to have each of its numbers in one.

    Args:
        count: numbers that the sound has, at least one.
        length: of a frame.
        hop: from the start of a frame to that of the next, at most its length.
    """
    return range(0, max(count - length + hop, 1), hop)


def _path(settings: DataSettings) -> Path:
    assert settings.path is not None  # a file or folder is what makes it a sound
    return settings.path


def _the_input(path: Path, features: list[Feature]) -> Feature:
    required = [feature for feature in features if not feature.optional]
    wanted = required[0] if len(required) == 1 else None
    in_a_row = wanted and wanted.dtype.startswith("float") and sum(size > 1 for size in wanted.shape) == 1
    if wanted is None or wanted.type != "array" or not in_a_row:
        declared = ", ".join(f"{f.name} ({f.type}{f' {f.dtype} {f.shape}' if f.shape else ''})" for f in features)
        raise RequantError(
            f"{path} is for a model with one row of float numbers as its input, but the model's inputs are {declared}. "
            "Give an .npz file or a loader that computes what it takes."
        )
    return wanted


def _frames(sounds: _Sounds, length: int, hop: int) -> Iterator[Frame]:
    for file in range(len(sounds.files)):
        rate, count = sounds.extent(file)
        for start in frame_starts(count, length, hop):
            yield Frame(file, start, start / rate)


def _in_words(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".")


class _Sounds:
    """Sounds in one channel and at one rate, of which no more than one is open or held at a time."""

    def __init__(self, paths: list[Path], sample_rate: int | None) -> None:
        self.files = paths
        self._wanted = sample_rate
        self._open = lru_cache(maxsize=1)(read_sound)
        self._resampled = lru_cache(maxsize=1)(self._resample)
        self._require_one_rate()

    def extent(self, file: int) -> tuple[int, int]:
        """Return the numbers per second of a sound, and how many there are, both as the model gets them."""
        rate, stored = self._open(self.files[file])
        wanted = self._wanted or rate
        return wanted, -(-len(stored) * wanted // rate)

    def part(self, file: int, start: int, length: int) -> NDArray[np.float32]:
        """Return a part of a sound, with zeros after its end."""
        rate, stored = self._open(self.files[file])
        if self._wanted in (None, rate):
            found = _mono(stored[start : start + length])
        else:
            found = self._resampled(file)[start : start + length]
        return np.pad(found, (0, length - len(found))).astype(np.float32)

    def _resample(self, file: int) -> NDArray[np.float64]:
        from scipy.signal import resample_poly

        rate, stored = self._open(self.files[file])
        wanted = self._wanted or rate
        common = math.gcd(wanted, rate)
        resampled: NDArray[np.float64] = resample_poly(_mono(stored[:]), wanted // common, rate // common)
        return resampled

    def _require_one_rate(self) -> None:
        if self._wanted:
            return
        first = self._open(self.files[0])[0]
        for file in self.files:
            rate = self._open(file)[0]
            if rate != first:
                raise RequantError(
                    f"{self.files[0]} has {first} numbers per second, but {file} has {rate}. Say which rate the model "
                    "wants: sample_rate"
                )


def read_sound(path: Path) -> tuple[int, NDArray[Any]]:
    """Return the rate of a sound and its numbers as stored, mapped into memory if the format allows it.

    Raises:
        RequantError: if it can't be read, or holds nothing.
    """
    from scipy.io import wavfile

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # of chunks that hold no sound
            rate, stored = _read(wavfile, path)
    except Exception as error:  # of damaged headers, scipy raises whatever comes of them
        raise RequantError(f"{path} can't be read as a sound (PCM or float .wav): {error}.") from error
    if not len(stored) or rate <= 0:
        raise RequantError(f"{path} holds no sound.")
    return rate, stored


def _read(wavfile: Any, path: Path) -> tuple[int, NDArray[Any]]:
    try:
        rate, stored = wavfile.read(path, mmap=True)
    except ValueError:  # 24 bits can't be mapped, nor can a file without any numbers
        rate, stored = wavfile.read(path)
    return int(rate), stored


def _mono(stored: NDArray[Any]) -> NDArray[np.float64]:
    """Return numbers of -1 to 1, the mean of the channels."""
    numbers = stored.astype(np.float64)
    if stored.dtype == np.uint8:
        numbers = (numbers - 128) / 128
    elif stored.dtype.kind == "i":
        numbers /= -float(np.iinfo(stored.dtype).min)  # scipy brings 24 bits to the top of 32
    return numbers if numbers.ndim == 1 else numbers.mean(axis=1)
