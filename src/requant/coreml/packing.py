"""Packing of small integers into bytes, in the two bit orders of Core ML.

A NeuralNetwork packs codes from the most significant bit on (`NeuralNetwork.proto`, `WeightParams.rawValue`); an ML
Program from the least significant bit on (MIL's `constexpr_lut_to_dense` and the sub-byte types of `weight.bin`).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

BitOrder = Literal["most significant first", "least significant first"]
GROUP = 8  # eight codes of n bits fill n bytes exactly
_CHUNK = 1 << 18  # codes that are worked on at once, whole groups of them: keeps the memory small


def packed_size(count: int, bits: int) -> int:
    """Return how many bytes `count` codes of `bits` bits take."""
    return (count * bits + 7) // 8


def pack(codes: NDArray[np.uint8], bits: int, order: BitOrder) -> bytes:
    """Pack codes into bytes; the last byte is filled up with zero bits.

    Args:
        codes: uint8, any shape, each below `2**bits`; read in row-major order.
        bits: 1 to 8.
        order: which bit of a byte is filled first.

    Raises:
        ValueError: if a code does not fit.
    """
    flat = np.ascontiguousarray(codes, np.uint8).reshape(-1)
    if flat.size and int(flat.max()) >= 1 << bits:
        raise ValueError(f"code {int(flat.max())} does not fit {bits} bits")
    if bits == 8:
        return flat.tobytes()
    parts = [_packed(flat[start : start + _CHUNK], bits, order) for start in range(0, flat.size, _CHUNK)]
    return b"".join(parts)


def _packed(codes: NDArray[np.uint8], bits: int, order: BitOrder) -> bytes:
    groups = np.zeros((-(-codes.size // GROUP), GROUP), np.uint8)
    groups.reshape(-1)[: codes.size] = codes
    words = np.zeros(len(groups), np.uint64)
    for position in range(GROUP):
        words |= groups[:, position].astype(np.uint64) << np.uint64(_shift(position, bits, order))
    return _bytes_of(words, bits, order)[: packed_size(codes.size, bits)]


def unpack(data: bytes | memoryview, count: int, bits: int, order: BitOrder) -> NDArray[np.uint8]:
    """Return the first `count` codes, uint8 of shape (count,), of packed bytes.

    Raises:
        ValueError: if there are fewer bytes than `count` codes take.
    """
    size = packed_size(count, bits)
    if count < 0 or len(data) < size:
        raise ValueError(f"{count} codes of {bits} bits take {size} bytes, but there are {len(data)}")
    if bits == 8:
        return np.frombuffer(data, np.uint8, count)
    codes = np.empty(count, np.uint8)
    packed = np.frombuffer(data, np.uint8, size)
    for start in range(0, count, _CHUNK):
        part = codes[start : start + _CHUNK]
        first = start * bits // 8
        part[:] = _unpacked(packed[first : first + packed_size(part.size, bits)], part.size, bits, order)
    return codes


def _unpacked(packed: NDArray[np.uint8], count: int, bits: int, order: BitOrder) -> NDArray[np.uint8]:
    groups = -(-count // GROUP)
    padded = np.zeros(groups * bits, np.uint8)
    padded[: packed.size] = packed
    octets = np.zeros((groups, 8), np.uint8)
    if order == "least significant first":
        octets[:, :bits] = padded.reshape(groups, bits)
        words = octets.view("<u8")[:, 0]
    else:
        octets[:, 8 - bits :] = padded.reshape(groups, bits)
        words = octets.view(">u8")[:, 0].astype(np.uint64)
    codes = np.empty((groups, GROUP), np.uint8)
    mask = np.uint64((1 << bits) - 1)
    for position in range(GROUP):
        codes[:, position] = (words >> np.uint64(_shift(position, bits, order))) & mask
    return codes.reshape(-1)[:count]


def _shift(position: int, bits: int, order: BitOrder) -> int:
    return bits * (position if order == "least significant first" else GROUP - 1 - position)


def _bytes_of(words: NDArray[np.uint64], bits: int, order: BitOrder) -> bytes:
    if order == "least significant first":
        return words.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :bits].tobytes()
    return words.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 8 - bits :].tobytes()
