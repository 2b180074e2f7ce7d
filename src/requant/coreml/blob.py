"""The weight file of an ML Program, `weights/weight.bin`.

A 64-byte header counts the blobs; each blob is a 64-byte record (sentinel, data type, size, offset, unused bits of
the last byte) followed by its data, both at multiples of 64 (`MILBlob/Blob/StorageFormat.hpp` in
https://github.com/apple/coremltools). A program names a blob by the offset of its record. Elements of less than a
byte are packed from the least significant bit on.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import IO

from requant.coreml.mapped import Content, note_read, pieces
from requant.coreml.packing import packed_size

ALIGNMENT = 64
_HEADER = struct.Struct("<II56x")
_RECORD = struct.Struct("<IIQQQ32x")
_SENTINEL = 0xDEADBEEF
_VERSION = 2

# Blob data type by the name of the program's data type (BlobDataType.hpp).
BLOB_TYPES = {
    "FLOAT16": 1, "FLOAT32": 2, "UINT8": 3, "INT8": 4, "BFLOAT16": 5, "INT16": 6, "UINT16": 7, "INT4": 8, "UINT1": 9,
    "UINT2": 10, "UINT4": 11, "UINT3": 12, "UINT6": 13, "INT32": 14, "UINT32": 15, "FLOAT8E4M3FN": 16,
    "FLOAT8E5M2": 17,
}  # fmt: skip


@dataclass(frozen=True)
class Blob:
    """One blob: its data type, as the program names it (`FLOAT16`, `UINT4`), and its bytes."""

    data_type: str
    data: Content
    unused_bits: int = 0

    def digest(self) -> tuple[str, int, bytes]:
        """Return what equal blobs have in common, without holding their bytes."""
        digest = hashlib.sha256()
        for piece in pieces(self.data):
            digest.update(piece)
        return self.data_type, self.unused_bits, digest.digest()


def read_blob(weight_file: Content, offset: int) -> Blob:
    """Return the blob whose record is at `offset`; of a mapped file, its data is a part of the mapping.

    Raises:
        ValueError: if there is no blob, or it reaches beyond the end of the file.
    """
    name, start, size, unused = _record(weight_file, offset)
    note_read(weight_file, size)
    return Blob(name, weight_file[start : start + size], unused)


def blob_size(weight_file: Content, offset: int) -> int:
    """Return how many bytes the blob has whose record is at `offset`; see `read_blob`."""
    return _record(weight_file, offset)[2]


def _record(weight_file: Content, offset: int) -> tuple[str, int, int, int]:
    """Return the data type, the place, the size and the unused bits of a blob."""
    if offset + _RECORD.size > len(weight_file):
        raise ValueError(f"the weight file has {len(weight_file)} bytes and no record at {offset}")
    sentinel, number, size, start, unused = _RECORD.unpack_from(weight_file, offset)
    if sentinel != _SENTINEL or start + size > len(weight_file):
        raise ValueError(f"the weight file has no whole blob at {offset}")
    name = next((name for name, value in BLOB_TYPES.items() if value == number), None)
    if name is None:
        raise ValueError(f"the blob at {offset} has the unknown data type {number}")
    return name, start, size, unused


class WeightFileWriter:
    """Writes a weight file blob by blob, in the order in which they are added."""

    def __init__(self, stream: IO[bytes]) -> None:
        """Begin an empty file in a stream that can be written and sought in; `close` ends it."""
        self._stream = stream
        self._size = 0
        self._count = 0

    def add(self, blob: Blob) -> int:
        """Append a blob and return the offset by which a program names it."""
        if not self._size:
            self._stream.write(bytes(ALIGNMENT))  # the header's place
            self._size = ALIGNMENT
        padding = -self._size % ALIGNMENT
        offset = self._size + padding
        start = offset + ALIGNMENT
        record = _RECORD.pack(_SENTINEL, BLOB_TYPES[blob.data_type], len(blob.data), start, blob.unused_bits)
        self._stream.write(bytes(padding) + record)
        for piece in pieces(blob.data):
            self._stream.write(piece)
        self._size = start + len(blob.data)
        self._count += 1
        return offset

    def close(self) -> None:
        """Write the header; a file to which nothing was added stays empty."""
        if self._count:
            self._stream.seek(0)
            self._stream.write(_HEADER.pack(self._count, _VERSION))
        self._stream.flush()


def unused_bits(count: int, bits: int) -> int:
    """Return the unused bits in the last byte of `count` packed elements."""
    return packed_size(count, bits) * 8 - count * bits
