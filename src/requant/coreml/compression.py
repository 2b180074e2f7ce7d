"""The compressed constants of an ML Program, decompressed.

Each `constexpr_*` operation is defined in coremltools' MIL reference
(https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html, iOS 16 and iOS 18).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from requant.coreml.packing import unpack
from requant.coreml.weights import Form
from requant.errors import RequantError

Parts = dict[str, Any]


def decompress(operation: str, parts: Parts, name: str) -> NDArray[Any]:
    """Return the dense tensor, float16 or float32, that a `constexpr_*` operation stands for.

    Args:
        operation: its type, as `constexpr_lut_to_dense`.
        parts: its parameters by name.
        name: of the tensor, for messages.

    Raises:
        RequantError: if the form is not known.
    """
    if operation == "constexpr_cast":
        return np.asarray(parts["source_val"], np.float32)
    if operation == "constexpr_affine_dequantize":
        return _affine(parts)
    if operation == "constexpr_blockwise_shift_scale":
        return _shift_scale(parts)
    if operation == "constexpr_lut_to_dense":
        return _grouped_lookup(parts) if np.ndim(parts["lut"]) > 1 else _lookup(parts)
    if operation == "constexpr_sparse_to_dense":
        return _sparse(parts)
    raise RequantError(f"the tensor {name} is stored as {operation}, which requant can't read yet.")


def form_of(operation: str, parts: Parts, values: NDArray[Any]) -> tuple[Form, int]:
    """Return the form and the bits of a tensor that an operation stores; 0 bits where its parts do not tell."""
    if operation == "const":
        return ("float16", 16) if values.dtype == np.float16 else ("float32", 32)
    if operation == "constexpr_cast":
        return "float16", 16
    if operation == "constexpr_affine_dequantize":
        return "linear", 8
    if operation == "constexpr_blockwise_shift_scale":
        return "linear", 0
    if operation == "constexpr_lut_to_dense":
        lut = np.asarray(parts["lut"])
        return "lookup table", int(np.log2(lut.shape[-2] if lut.ndim > 1 else lut.size))
    return ("sparse" if operation == "constexpr_sparse_to_dense" else "mixed"), 0


def _along(vector: NDArray[Any], axis: int, rank: int) -> NDArray[Any]:
    return vector.reshape([-1 if i == axis % rank else 1 for i in range(rank)]) if vector.ndim else vector


def _affine(parts: Parts) -> NDArray[Any]:
    data, axis = parts["quantized_data"], int(parts["axis"])
    scale, zero_point = (_along(np.asarray(parts[key]), axis, data.ndim) for key in ("scale", "zero_point"))
    return np.asarray((data.astype(np.float32) - zero_point.astype(np.float32)) * scale, scale.dtype)


def _spread(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Repeat a value per block so that there is one per element."""
    for axis, size in enumerate(shape):
        values = np.repeat(values, size // values.shape[axis], axis)
    return values


def _shift_scale(parts: Parts) -> NDArray[Any]:
    data, scale = parts["data"], parts["scale"]
    shifted = data.astype(np.float32)
    if "offset" in parts:
        shifted = shifted - _spread(parts["offset"].astype(np.float32), data.shape)
    return np.asarray(shifted * _spread(scale, data.shape), scale.dtype)


def _lookup(parts: Parts) -> NDArray[Any]:
    table, shape = parts["lut"], tuple(int(size) for size in parts["shape"])
    count, bits = int(np.prod(shape)), int(np.log2(table.size))
    indices = unpack(parts["indices"].tobytes(), count, bits, "least significant first")
    return np.asarray(table[indices].reshape(shape))


def _grouped_lookup(parts: Parts) -> NDArray[Any]:
    indices, table = parts["indices"], parts["lut"]
    groups = table.shape[:-2]
    positions = np.indices(indices.shape)
    group = tuple(p // (i // g) for p, i, g in zip(positions, indices.shape, groups, strict=True))
    vectors = table[(*group, indices)]
    if table.shape[-1] == 1:
        return np.asarray(vectors[..., 0])
    axis = int(parts["vector_axis"]) % indices.ndim
    moved = np.moveaxis(vectors, -1, axis + 1)
    shape = list(indices.shape)
    shape[axis] *= table.shape[-1]
    return np.asarray(moved.reshape(shape))


def _sparse(parts: Parts) -> NDArray[Any]:
    mask = parts["mask"]
    if "shape" in parts:  # iOS 16's form has the mask packed into bytes
        shape = tuple(int(size) for size in parts["shape"])
        mask = unpack(mask.tobytes(), int(np.prod(shape)), 1, "least significant first").reshape(shape)
    dense = np.zeros(mask.shape, parts["nonzero_data"].dtype)
    dense[mask.astype(bool)] = parts["nonzero_data"]
    return dense
