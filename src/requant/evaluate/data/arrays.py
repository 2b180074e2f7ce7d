"""An `.npz` file with an array per input, the samples along the first axis; an `.npy` file for a model with one input.

Arrays that are stored uncompressed are mapped into memory, so that only what is asked for is read.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from requant.errors import RequantError
from requant.evaluate.data.samples import EvaluationData, in_words
from requant.evaluate.data.settings import DataSettings

if TYPE_CHECKING:
    from requant.coreml.description import Feature

LABELS = "labels"
_FORMAT: Any = np.lib.format  # not typed
_LOCAL_HEADER = struct.Struct("<26xHH")  # of a file in a zip: the lengths of its name and of what follows the name


def files(settings: DataSettings) -> list[Path]:
    """Return the file of arrays."""
    return [_path(settings)]


def describe(settings: DataSettings) -> str:
    """Return in words how many samples are taken."""
    return in_words(_count(_path(settings), _open(_path(settings))), "sample", _path(settings), settings)


def load(settings: DataSettings, features: list[Feature]) -> EvaluationData:
    """Return samples for a model whose inputs are arrays, pictures or numbers.

    Raises:
        RequantError: if the arrays are not those of the model's inputs, or differ in their number of samples.
    """
    path = _path(settings)
    arrays = _open(path)
    if path.suffix.lower() == ".npy":
        inputs = {_the_input(path, features): arrays[""]}
    else:
        _require_inputs(path, arrays, features)
        inputs = {name: array for name, array in arrays.items() if name != LABELS}
    count = _count(path, arrays)
    return EvaluationData(
        [str(index) for index in range(count)],
        lambda index: {name: sample_of(array, index) for name, array in inputs.items()},
        [str(label) for label in arrays.get(LABELS, ())],
    ).subset(settings)


def sample_of(array: NDArray[Any], index: int) -> Any:
    """Return one sample of an array, read into memory."""
    value = array[index]
    return np.array(value) if isinstance(value, np.ndarray) else value


def _path(settings: DataSettings) -> Path:
    assert settings.path is not None  # its ending is what makes it a file of arrays
    return settings.path


def _the_input(path: Path, features: Sequence[Feature]) -> str:
    required = [feature.name for feature in features if not feature.optional] or [f.name for f in features]
    if len(required) != 1:
        raise RequantError(
            f"{path} is one array, but the model's inputs are {', '.join(required)}. Give an .npz file with an array "
            "for each."
        )
    return required[0]


def _require_inputs(path: Path, arrays: Mapping[str, Any], features: Sequence[Feature]) -> None:
    missing = [feature.name for feature in features if not feature.optional and feature.name not in arrays]
    unknown = sorted(set(arrays) - {feature.name for feature in features} - {LABELS})
    if missing or unknown:
        what = f"no array {missing[0]!r}" if missing else f"an array {unknown[0]!r} that is no input"
        raise RequantError(f"{path} has {what}; the model's inputs are {', '.join(f.name for f in features)}.")


def _count(path: Path, arrays: Mapping[str, NDArray[Any]]) -> int:
    counts = {len(array) if array.ndim else 0 for array in arrays.values()}
    if len(counts) != 1 or counts == {0}:
        raise RequantError(f"the arrays in {path} have to hold the same number of samples, at least one.")
    return counts.pop()


def _open(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays in a file by name; that of an `.npy` file has none."""
    single = path.suffix.lower() == ".npy"
    try:
        return {"": _open_npy(path)} if single else _open_npz(path)
    except Exception as error:  # of damaged files, numpy raises whatever comes of them
        raise RequantError(f"{path} can't be read as an {path.suffix} file of arrays: {error}.") from error


def _open_npy(path: Path) -> NDArray[Any]:
    with path.open("rb") as stream:
        mapped = _mapped(path, stream, 0)
        if mapped is not None:
            return mapped
        stream.seek(0)
        array: NDArray[Any] = _FORMAT.read_array(stream, allow_pickle=False)
        return array


def _open_npz(path: Path) -> dict[str, NDArray[Any]]:
    with zipfile.ZipFile(path) as archive, path.open("rb") as stream:
        return {info.filename.removesuffix(".npy"): _member(path, archive, info, stream) for info in archive.filelist}


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, stream: IO[bytes]) -> NDArray[Any]:
    if info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1:
        stream.seek(info.header_offset)
        name, extra = _LOCAL_HEADER.unpack(stream.read(_LOCAL_HEADER.size))
        mapped = _mapped(path, stream, info.header_offset + _LOCAL_HEADER.size + name + extra)
        if mapped is not None:
            return mapped
    with archive.open(info) as member:
        array: NDArray[Any] = _FORMAT.read_array(member, allow_pickle=False)
        return array


def _mapped(path: Path, stream: IO[bytes], offset: int) -> NDArray[Any] | None:
    """Return the array that is written at a place in a file, mapped; None if it can't be."""
    stream.seek(offset)
    version = _FORMAT.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        return None
    read_header = _FORMAT.read_array_header_1_0 if version[0] == 1 else _FORMAT.read_array_header_2_0
    shape, fortran_order, dtype = read_header(stream)
    if dtype.hasobject or not dtype.itemsize or 0 in shape:
        return None
    mapped: NDArray[Any] = np.memmap(path, dtype, "r", stream.tell(), shape, "F" if fortran_order else "C")
    return mapped
