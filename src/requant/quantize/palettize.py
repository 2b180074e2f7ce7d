"""Lookup tables of a tensor of an ML Program.

There is one for all of it or one for each group of output channels; of single numbers or of vectors, of floats or of
8-bit numbers, with or without a scale per output channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from requant.quantize.kmeans import kmeans_groups, nearest
from requant.quantize.linear import rounded_up
from requant.quantize.lookup import LookupTable, TableFunction
from requant.quantize.scheme import Scheme
from requant.quantize.selection import UnstorableError
from requant.quantize.vectors import cluster_vectors, nearest_vectors

LARGEST_CODE = 127  # of the signed, symmetric 8-bit entries


@dataclass(frozen=True)
class Palette:
    """Tables and indices of a tensor, as they are stored.

    Attributes:
        tables: (groups, 2**bits, vector), in the type of the weights, or int8 where `table_scale` is given.
        indices: uint8, in the tensor's shape, the output channels divided by `vector`.
        axis: of the output channels.
        bits: of an index.
        scales: of the output channels, in the type of the weights, (channels,); None without.
        table_scale: the scale of the 8-bit entries of all tables, without axes; None for tables of floats.
    """

    tables: NDArray[Any]
    indices: NDArray[np.uint8]
    axis: int
    bits: int
    scales: NDArray[Any] | None = None
    table_scale: NDArray[np.floating[Any]] | None = None


def palettize(
    weights: NDArray[Any],
    scheme: Scheme,
    axis: int,
    function: TableFunction,
    kept: NDArray[np.bool_] | None = None,
    ready: NDArray[np.float32] | None = None,
) -> Palette:
    """Return the lookup tables of a tensor.

    Args:
        weights: float16 or float32, with at least one axis.
        scheme: one with lookup tables.
        axis: of the output channels.
        function: makes the table of some numbers; k-means has its own ways for groups and vectors.
        kept: which weights count, in the shape of `weights`; None for all. The index of any other is 0.
        ready: the one table, if it has been made already.

    Raises:
        UnstorableError: if groups or vectors do not divide the output channels, or the scheme is `unique` and the
            numbers are too many.
    """
    channels = weights.shape[axis]
    size = scheme.size if scheme.granularity == "group" else channels
    if channels % size:
        raise UnstorableError(f"its {channels} output channels can't be divided into groups of {size}")
    if size % scheme.vector:
        raise UnstorableError(f"its {channels} output channels can't be divided into vectors of {scheme.vector}")
    scales = _channel_scales(weights, axis) if scheme.scaled else None
    numbers = weights if scales is None else _over(weights, scales, axis)
    rows = _grouped(numbers, axis, size, scheme.vector)
    mask = None if kept is None else _grouped(kept, axis, size, scheme.vector)[..., 0]
    if mask is None:
        function = _in_axes(function, size, weights.shape, axis)
    if ready is None:
        tables, codes = _tables(rows, mask, scheme, function)
    else:
        tables = ready[np.newaxis, :, np.newaxis]
        codes = nearest(ready, rows[..., 0])
    stored, table_scale = _stored_tables(tables, weights.dtype, eight_bits=scheme.lut8)
    floats = stored if table_scale is None else _entries(stored, table_scale)
    if scheme.mode in ("kmeans", "linear_lut") and not np.array_equal(floats.astype(np.float32), tables):
        codes = _nearest(rows, floats)
    if mask is not None:
        codes = np.where(mask, codes, np.uint8(0))
    return Palette(stored, _ungrouped(codes, weights.shape, axis), axis, scheme.bits, scales, table_scale)


def _channel_scales(weights: NDArray[Any], axis: int) -> NDArray[Any]:
    """Return the largest magnitude of each output channel, 1 for a channel of zeros; as coremltools scales them."""
    others = tuple(i for i in range(weights.ndim) if i != axis)
    largest = np.abs(weights).max(axis=others)
    return np.where(largest > 0, largest, np.ones((), weights.dtype))


def _over(weights: NDArray[Any], scales: NDArray[Any], axis: int) -> NDArray[np.float32]:
    shape = [-1 if i == axis else 1 for i in range(weights.ndim)]
    numbers = weights.astype(np.float32)
    numbers /= scales.astype(np.float32).reshape(shape)
    return numbers


def _grouped(weights: NDArray[Any], axis: int, size: int, vector: int) -> NDArray[Any]:
    """Return weights as (groups, vectors of a group, vector): neighbouring output channels make a vector."""
    moved = np.moveaxis(weights, axis, 0)
    if vector == 1:
        return moved.reshape(moved.shape[0] // size, -1, 1)
    split = moved.reshape(moved.shape[0] // size, size // vector, vector, -1)
    return split.transpose(0, 1, 3, 2).reshape(len(split), -1, vector)


def _ungrouped(codes: NDArray[np.uint8], shape: tuple[int, ...], axis: int) -> NDArray[np.uint8]:
    """Return a code per vector, (groups, vectors of a group), in the axes of the tensor."""
    others = [size for i, size in enumerate(shape) if i != axis]
    return np.ascontiguousarray(np.moveaxis(codes.reshape(-1, *others), 0, axis))


def _in_axes(function: TableFunction, size: int, shape: tuple[int, ...], axis: int) -> TableFunction:
    """Return a function of the numbers of a group, one axis, that calls `function` with them in the tensor's axes."""
    others = [count for i, count in enumerate(shape) if i != axis]

    def on_flat(bits: int, numbers: NDArray[Any]) -> LookupTable:
        lookup = function(bits, np.moveaxis(numbers.reshape(size, *others), 0, axis))
        return LookupTable(lookup.table, np.moveaxis(lookup.indices, axis, 0).reshape(-1))

    return on_flat


def _tables(
    rows: NDArray[Any], mask: NDArray[np.bool_] | None, scheme: Scheme, function: TableFunction
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return float32 tables (groups, 2**bits, vector) and codes (groups, vectors of a group)."""
    entries = 1 << scheme.bits
    if scheme.mode == "kmeans" and scheme.vector == 1 and mask is None:
        tables, codes = kmeans_groups(rows[..., 0], entries, keep_zeros=scheme.zeros)
        return tables[..., np.newaxis], codes
    if mask is None:
        made = [_table(row, scheme, function) for row in rows]
        return np.stack([table for table, _ in made]), np.stack([codes for _, codes in made])
    made = [_table(row[kept], scheme, function) for row, kept in zip(rows, mask, strict=True)]
    codes = np.zeros(rows.shape[:2], np.uint8)
    codes[mask] = np.concatenate([codes_of_row for _, codes_of_row in made])
    return np.stack([table for table, _ in made]), codes


def _table(
    vectors: NDArray[Any], scheme: Scheme, function: TableFunction
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return the table (2**bits, vector) of some vectors (count, vector) and their codes."""
    entries = 1 << scheme.bits
    if not len(vectors):
        return np.zeros((entries, scheme.vector), np.float32), np.zeros(0, np.uint8)
    if scheme.vector > 1:
        if scheme.mode == "kmeans":
            return cluster_vectors(vectors, entries)
        return _distinct_vectors(vectors, scheme.bits)
    lookup = function(scheme.bits, vectors[:, 0])
    return lookup.table[:, np.newaxis], lookup.indices


def _distinct_vectors(vectors: NDArray[Any], bits: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    values, codes = np.unique(vectors.astype(np.float32), axis=0, return_inverse=True)
    if len(values) > 1 << bits:
        raise UnstorableError(f"it has {len(values):,} distinct vectors, a table of {bits} bits holds {1 << bits}")
    filled = np.concatenate([values, np.repeat(values[-1:], (1 << bits) - len(values), axis=0)])
    return filled.astype(np.float32), codes.reshape(-1).astype(np.uint8)


def _stored_tables(
    tables: NDArray[np.float32], dtype: DTypeLike, *, eight_bits: bool
) -> tuple[NDArray[Any], NDArray[np.floating[Any]] | None]:
    if not eight_bits:
        return tables.astype(dtype), None
    scale = rounded_up(np.array(np.abs(tables).max() / LARGEST_CODE, np.float64), dtype)
    codes = np.round(tables.astype(np.float64) / float(scale))
    return np.clip(codes, -LARGEST_CODE, LARGEST_CODE).astype(np.int8), scale


def _entries(tables: NDArray[np.int8], scale: NDArray[np.floating[Any]]) -> NDArray[Any]:
    """Return the entries that 8-bit tables stand for, as Core ML computes them: in the type of the scale."""
    return np.asarray(tables.astype(scale.dtype) * scale)


def _nearest(rows: NDArray[Any], tables: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the code of the entry of its group's table that is nearest to each vector."""
    floats = tables.astype(np.float32)
    if rows.shape[2] == 1:
        found: Sequence[NDArray[np.uint8]] = [nearest(t[:, 0], row[:, 0]) for t, row in zip(floats, rows, strict=True)]
    else:
        found = [nearest_vectors(t, row) for t, row in zip(floats, rows, strict=True)]
    return np.stack(found)
