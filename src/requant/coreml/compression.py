"""The compressed constants of an ML Program, decompressed.

Each `constexpr_*` operation is defined in coremltools' MIL reference
(https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html, iOS 16 and iOS 18). They can
be chained: a lookup table may be quantized, the values that a sparse tensor keeps may be codes of either sort.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from requant.coreml.packing import unpack
from requant.coreml.weights import Form
from requant.errors import RequantError

Parts = dict[str, Any]
Tensors = tuple[NDArray[Any], ...]

# Numbers that may come of one that is stored: a vector of a lookup table has 2 to 16, and a byte holds 8 indices.
MOST_EXPANSION, ALWAYS_ALLOWED = 1024, 1 << 20
_CHUNK = 1 << 18  # numbers that are worked on at once: keeps the memory small
_LINEAR = frozenset(
    {"constexpr_affine_dequantize", "constexpr_blockwise_shift_scale", "constexpr_sparse_blockwise_shift_scale"}
)
_LOOKUP = frozenset({"constexpr_lut_to_dense", "constexpr_lut_to_sparse"})
_SPARSE = frozenset({"constexpr_sparse_to_dense", "constexpr_lut_to_sparse", "constexpr_sparse_blockwise_shift_scale"})
_FORMS: dict[tuple[bool, bool, bool], Form] = {  # sparse, linear, lookup table
    (False, True, False): "linear",
    (False, False, True): "lookup table",
    (False, True, True): "linear lookup table",
    (True, False, False): "sparse",
    (True, True, False): "sparse linear",
    (True, False, True): "sparse lookup table",
    (True, True, True): "sparse linear lookup table",
}


def decompress(operation: str, parts: Parts, name: str) -> Tensors:
    """Return what a `constexpr_*` operation stands for, one array for each of its results.

    The operations with a dense result have one; those with a sparse result have two, the mask (uint8, 0 and 1) and
    the values where the mask is set, in row-major order.

    Args:
        operation: its type, as `constexpr_lut_to_dense`.
        parts: its parameters by name, decompressed themselves.
        name: of the tensor, for messages.

    Raises:
        RequantError: if the form is not known, or the parts do not fit each other.
    """
    if operation not in _DECOMPRESSORS:
        raise RequantError(f"the tensor {name} is stored as {operation}, which requant can't read yet.")
    try:
        _require_measure(operation, parts)
        return _DECOMPRESSORS[operation](parts)
    except KeyError as error:
        raise RequantError(f"the tensor {name}, stored as {operation}, has no constant {error.args[0]}.") from error
    except (ValueError, IndexError, ArithmeticError, TypeError, AttributeError) as error:
        raise RequantError(
            f"the tensor {name}, stored as {operation}, is damaged: its parts do not fit ({error})."
        ) from error


def _require_measure(operation: str, parts: Parts) -> None:
    """Make sure that a tensor does not become larger than any that is stored so.

    Most of what a form makes of its parts is bounded by them. A vector per index, or a scale that spreads over an axis
    of size 1, multiplies them instead.
    """
    sizes = [np.asarray(part).size for part in parts.values()]
    elements = max(sizes, default=0)
    if operation in _LOOKUP and np.ndim(parts["lut"]) > 1:
        indices = parts["indices_mask" if operation in _SPARSE else "indices"]
        elements = max(elements, np.size(indices) * np.shape(parts["lut"])[-1])
    if operation == "constexpr_affine_dequantize":
        data, axis = np.asarray(parts["quantized_data"]), int(parts["axis"])
        axes = [_along(np.asarray(parts[key]), axis, data.ndim).shape for key in ("scale", "zero_point")]
        elements = math.prod(np.broadcast_shapes(data.shape, *axes))
    if "shape" in parts:
        elements = max(elements, math.prod(int(size) for size in parts["shape"]))
    if elements > MOST_EXPANSION * sum(sizes) + ALWAYS_ALLOWED:
        raise ValueError(f"{elements:,} numbers of {sum(sizes):,} that are stored")


def form_of(chain: Sequence[tuple[str, Parts]], values: NDArray[Any]) -> tuple[Form, int]:
    """Return the form and the bits of a tensor; 0 bits where the parts do not tell.

    Args:
        chain: the types and parts of the operations that store it together; a single `const` for a plain tensor.
        values: the tensor, decompressed.
    """
    types = {operation for operation, _ in chain}
    if not types & (_LINEAR | _LOOKUP | _SPARSE):
        if "constexpr_cast" in types:
            return "float16", 16
        return ("float16", 16) if values.dtype == np.float16 else ("float32", 32)
    form = _FORMS[bool(types & _SPARSE), bool(types & _LINEAR), bool(types & _LOOKUP)]
    if "constexpr_affine_dequantize" in types:
        return form, 8
    tables = [np.asarray(parts["lut"]) for operation, parts in chain if operation in _LOOKUP]
    return form, max((_index_bits(table) for table in tables), default=0)


def _index_bits(table: NDArray[Any]) -> int:
    return int(np.log2(table.shape[-2] if table.ndim > 1 else table.size))


def _along(vector: NDArray[Any], axis: int, rank: int) -> NDArray[Any]:
    return vector.reshape([-1 if i == axis % rank else 1 for i in range(rank)]) if vector.ndim else vector


def _cast(parts: Parts) -> Tensors:
    wanted = str(np.asarray(parts.get("output_dtype", "fp32")).item())
    if wanted != "fp32":
        raise ValueError(f"a cast to {wanted} instead of fp32")
    return (np.asarray(parts["source_val"], np.float32),)


def _affine(parts: Parts) -> Tensors:
    data, axis = parts["quantized_data"], int(parts["axis"])
    scale, zero_point = (_along(np.asarray(parts[key]), axis, data.ndim) for key in ("scale", "zero_point"))
    return (np.asarray((data.astype(np.float32) - zero_point.astype(np.float32)) * scale, scale.dtype),)


def _split(shape: tuple[int, ...], blocks: tuple[int, ...]) -> list[int]:
    """Return a shape with two axes for each: the blocks along it, and the size of one."""
    if len(blocks) != len(shape) or any(size % count for size, count in zip(shape, blocks, strict=True)):
        raise ValueError(f"blocks of shape {blocks} for a tensor of shape {shape}")
    return [part for size, count in zip(shape, blocks, strict=True) for part in (count, size // count)]


def _spread(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return a value per block, seen as one per element of a tensor that is split into blocks."""
    split = _split(shape, values.shape)
    return np.broadcast_to(values.reshape([part for count in values.shape for part in (count, 1)]), split)


def _shifted_and_scaled(data: NDArray[Any], parts: Parts) -> NDArray[Any]:
    """Return `scale * (data - offset)` in the type of the scale, as the operation's reference computes it.

    What is float16 is computed in float32, where codes, their differences and such products are exact, and rounded
    once: it gives the same, and is much quicker.
    """
    scale = parts["scale"]
    split = _split(data.shape, scale.shape)
    wide = np.float32 if scale.dtype == np.float16 and data.dtype.itemsize == 1 else scale.dtype
    codes, factors = data.reshape(split), _spread(scale.astype(wide), data.shape)
    shifts = _spread(parts["offset"].astype(wide), data.shape) if "offset" in parts else None
    if shifts is not None and shifts.shape != factors.shape:
        raise ValueError(f"offsets of shape {parts['offset'].shape} for scales of shape {scale.shape}")
    result = np.empty(split, scale.dtype)
    for part in _slices(split):
        numbers = codes[part].astype(wide)
        if shifts is not None:
            numbers = numbers - shifts[part]
        result[part] = factors[part] * numbers
    return result.reshape(data.shape)


def _slices(shape: list[int]) -> Iterator[tuple[slice, ...]]:
    """Yield slices of the first axis that has more than one entry, or of the second, of a moderate size each."""
    axis = int(len(shape) > 1 and shape[0] == 1)
    step = max(1, _CHUNK // max(1, math.prod(shape[:axis] + shape[axis + 1 :])))
    for start in range(0, shape[axis] if shape else 0, step):
        yield (*(slice(None),) * axis, slice(start, start + step))
    if not shape:
        yield ()


def _shift_scale(parts: Parts) -> Tensors:
    return (_shifted_and_scaled(parts["data"], parts),)


def _sparse_shift_scale(parts: Parts) -> Tensors:
    mask = parts["data_mask"]
    dense = _filled(mask, parts["nonzero_data"])
    return mask, _shifted_and_scaled(dense, parts)[mask != 0]


def _lookup(parts: Parts) -> Tensors:
    table = parts["lut"]
    if table.ndim > 1:
        return (_looked_up(parts["indices"], parts),)
    shape = tuple(int(size) for size in parts["shape"])  # iOS 16's form has the indices packed into bytes
    count, bits = int(np.prod(shape)), _index_bits(table)
    indices = unpack(parts["indices"].tobytes(), count, bits, "least significant first")
    return (np.asarray(table[indices].reshape(shape)),)


def _sparse_lookup(parts: Parts) -> Tensors:
    mask, length = parts["indices_mask"], parts["lut"].shape[-1]
    values = _looked_up(_filled(mask, parts["indices_nonzero_data"]), parts)
    if length > 1:
        mask = np.repeat(mask, length, int(parts["vector_axis"]))
    return mask, values[mask != 0]


def _looked_up(indices: NDArray[Any], parts: Parts) -> NDArray[Any]:
    """Replace each index by the entry of its block's table; an entry that is a vector lies along `vector_axis`."""
    table = parts["lut"]
    if table.ndim != indices.ndim + 2:
        raise ValueError(f"tables of shape {table.shape} for indices of shape {indices.shape}")
    positions = np.indices(indices.shape, sparse=True)
    groups = zip(positions, indices.shape, table.shape, strict=False)
    vectors = table[(*(p // (size // count) for p, size, count in groups), indices)]
    if table.shape[-1] == 1:
        return np.asarray(vectors[..., 0])
    axis = int(parts["vector_axis"]) % indices.ndim
    shape = list(indices.shape)
    shape[axis] *= table.shape[-1]
    return np.asarray(np.moveaxis(vectors, -1, axis + 1).reshape(shape))


def _sparse(parts: Parts) -> Tensors:
    mask = parts["mask"]
    if "shape" in parts:  # iOS 16's form has the mask packed into bytes
        shape = tuple(int(size) for size in parts["shape"])
        mask = unpack(mask.tobytes(), int(np.prod(shape)), 1, "least significant first").reshape(shape)
    return (_filled(mask, parts["nonzero_data"]),)


def _filled(mask: NDArray[Any], nonzero_data: NDArray[Any]) -> NDArray[Any]:
    """Return a dense tensor with the values where the mask is set and zeros elsewhere."""
    dense = np.zeros(mask.shape, nonzero_data.dtype)
    dense[mask != 0] = nonzero_data
    return dense


_DECOMPRESSORS: dict[str, Callable[[Parts], Tensors]] = {
    "constexpr_affine_dequantize": _affine,
    "constexpr_blockwise_shift_scale": _shift_scale,
    "constexpr_cast": _cast,
    "constexpr_lut_to_dense": _lookup,
    "constexpr_lut_to_sparse": _sparse_lookup,
    "constexpr_sparse_blockwise_shift_scale": _sparse_shift_scale,
    "constexpr_sparse_to_dense": _sparse,
}
