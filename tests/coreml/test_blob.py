from io import BytesIO

import numpy as np
import pytest
from coremltools.libmilstoragepython import _BlobStorageReader, _BlobStorageWriter

from requant.coreml.blob import Blob, WeightFileWriter, read_blob, unused_bits
from requant.coreml.packing import pack
from tests.building import numbers

FLOATS = numbers(33)
HALVES = numbers(17).astype(np.float16)
CODES = np.random.default_rng(0).integers(0, 256, 77, np.uint8)


def codes_of(bits):
    return CODES & ((1 << bits) - 1)


def packed(bits):
    return Blob(f"UINT{bits}", pack(codes_of(bits), bits, "least significant first"), unused_bits(CODES.size, bits))


# Data type -> what coremltools is given, the name of its method, and the blob that is the same.
CASES = {
    "float": (FLOATS, Blob("FLOAT32", FLOATS.tobytes())),
    "fp16": (HALVES.view(np.uint16), Blob("FLOAT16", HALVES.tobytes())),
    "uint8": (CODES, Blob("UINT8", CODES.tobytes())),
    "int8": (CODES.view(np.int8), Blob("INT8", CODES.tobytes())),
    "int32": (np.arange(5, dtype=np.int32), Blob("INT32", np.arange(5, dtype="<i4").tobytes())),
    **{f"uint{bits}": (codes_of(bits), packed(bits)) for bits in (1, 2, 3, 4, 6)},
}


def coremltools_file(path, names):
    writer = _BlobStorageWriter(str(path))
    offsets = [getattr(writer, f"write_{name}_data")(CASES[name][0]) for name in names]
    del writer  # the header is complete when the writer goes
    return path.read_bytes(), offsets


def our_file(names):
    stream = BytesIO()
    writer = WeightFileWriter(stream)
    offsets = [writer.add(CASES[name][1]) for name in names]
    writer.close()
    return stream.getvalue(), offsets


@pytest.mark.parametrize("name", CASES)
def test_blobs_of_coremltools_are_read(name, tmp_path):
    data, (offset,) = coremltools_file(tmp_path / "w.bin", [name])
    assert read_blob(data, offset) == CASES[name][1]


@pytest.mark.parametrize("name", CASES)
def test_coremltools_reads_our_blobs(name, tmp_path):
    data, (_, offset) = our_file(["float", name])
    (tmp_path / "w.bin").write_bytes(data)
    found = getattr(_BlobStorageReader(str(tmp_path / "w.bin")), f"read_{name}_data")(offset)
    np.testing.assert_array_equal(found, CASES[name][0])


def test_the_same_blobs_give_the_same_file(tmp_path):
    names = [*CASES, *reversed(CASES)]
    assert our_file(names) == coremltools_file(tmp_path / "w.bin", names)


def test_a_file_without_blobs_is_empty():
    assert our_file([]) == (b"", [])


def test_an_offset_beyond_the_file_is_refused():
    data, _ = our_file(["uint8"])
    with pytest.raises(ValueError, match="no record at"):
        read_blob(data, len(data))


def test_a_truncated_blob_is_refused():
    data, offsets = our_file(["float"])
    with pytest.raises(ValueError, match="no whole blob at 64"):
        read_blob(data[:200], offsets[0])


def test_an_offset_that_is_not_a_record_is_refused():
    data, offsets = our_file(["float"])
    with pytest.raises(ValueError, match="no whole blob at 128"):
        read_blob(data, offsets[0] + 64)


def test_an_unknown_data_type_is_refused():
    data, offsets = our_file(["uint8"])
    broken = data[: offsets[0] + 4] + (99).to_bytes(4, "little") + data[offsets[0] + 8 :]
    with pytest.raises(ValueError, match="unknown data type 99"):
        read_blob(broken, offsets[0])
