"""How compressed constants are written into an ML Program: `constexpr_*` operations in place of a `const`.

Operator sets before iOS 18 have their parts as attributes, packed into bytes with the shape beside them. That of iOS 18
has them as inputs, in types of less than a byte, and more forms; it reads no table or mask in the older way. Where a
tensor is stored by a chain of operations, the last one has the name and the result of the `const`. Source: coremltools'
MIL reference, https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from requant.coreml.blob import Blob, WeightFileWriter, unused_bits
from requant.coreml.mapped import Content, content_of
from requant.coreml.messages import MIL_pb2
from requant.coreml.model import WEIGHT_FILE, Model
from requant.coreml.packing import pack
from requant.coreml.pipeline import parts_of
from requant.coreml.program import (
    DTYPES,
    MODEL_PATH,
    SUB_BYTE_BITS,
    all_operations,
    blob_file,
    blob_of,
    blob_values,
    data_type,
    operation_name,
    own_values,
)
from requant.coreml.systems import BLOCKWISE_CONSTANTS
from requant.quantize.linear import AffineCodes
from requant.quantize.palettize import Palette
from requant.records import writing

FLOATS = ("FLOAT16", "FLOAT32")
SMALLEST_BLOB = 10  # elements; what is smaller is written into the program itself, as coremltools does
_SPOOLED = "requant.spooled"  # a name among the files of a package while it is made
Parts = Mapping[str, Any]  # a value, or the name of another operation's result, by parameter


def float16_constant(operation: Any, weights: NDArray[Any], version: int) -> list[Any]:
    """Return the operation for float32 weights that are stored in float16 and cast when the model is loaded."""
    parts = {"source_val": tensor(weights.astype(np.float16)), "output_dtype": text("fp32")}
    return [_final(operation, "constexpr_cast", parts, attributes=version < BLOCKWISE_CONSTANTS)]


def linear_constant(
    operation: Any, codes: AffineCodes, bits: int, version: int, kept: NDArray[np.bool_] | None
) -> list[Any]:
    """Return the operations for linear codes.

    Args:
        operation: the `const`.
        codes: of all weights.
        bits: of a code.
        version: the specification version of the operator set that the function will have.
        kept: which weights are not zero, for a sparse form; None for a dense one.
    """
    axes = [axis for axis, blocks in enumerate(codes.scale.shape) if blocks > 1]
    one_axis = not axes or (len(axes) == 1 and codes.scale.shape[axes[0]] == codes.codes.shape[axes[0]])
    if version < BLOCKWISE_CONSTANTS and bits == 8 and one_axis and kept is None:
        return [_affine(operation, codes, axes)]
    kind = ("INT" if codes.codes.dtype == np.int8 else "UINT") + str(bits)
    parts = {"scale": tensor(codes.scale)}
    if codes.zero_point.any() or kind.startswith("UINT"):
        parts["offset"] = tensor(codes.zero_point, kind)
    if kept is None:
        return [_final(operation, "constexpr_blockwise_shift_scale", {"data": tensor(codes.codes, kind), **parts})]
    data = {"data_mask": mask_tensor(kept), "nonzero_data": tensor(codes.codes[kept], kind)}
    dtype = _type_name(codes.scale.dtype)
    return _sparse_chain(operation, "constexpr_sparse_blockwise_shift_scale", data | parts, dtype, kept)


def _affine(operation: Any, codes: AffineCodes, axes: list[int]) -> Any:
    flat = (-1,) if axes else ()
    parts = {
        "quantized_data": tensor(codes.codes),
        "scale": tensor(codes.scale.reshape(flat)),
        "zero_point": tensor(codes.zero_point.reshape(flat)),
        "axis": tensor(np.array(axes[0] if axes else 0, np.int32)),
    }
    return _final(operation, "constexpr_affine_dequantize", parts, attributes=True)


def palette_constant(operation: Any, palette: Palette, version: int, kept: NDArray[np.bool_] | None) -> list[Any]:
    """Return the operations for lookup tables; arguments as for `linear_constant`, `kept` for the indices."""
    groups, _, vector = palette.tables.shape
    simple = groups == 1 and vector == 1 and palette.scales is None and palette.table_scale is None
    if version < BLOCKWISE_CONSTANTS and simple and kept is None:
        return [_packed_indices(operation, palette)]
    made: list[Any] = []
    name, rank = operation_name(operation), palette.indices.ndim
    shape = tuple(groups if axis == palette.axis else 1 for axis in range(rank))
    tables = palette.tables.reshape(*shape, *palette.tables.shape[1:])
    table: Any = tensor(tables)
    if palette.table_scale is not None:
        scale = np.full((1,) * tables.ndim, palette.table_scale)
        table = f"{name}_lut"
        made.append(
            _new("constexpr_blockwise_shift_scale", table, [(table, _type_name(scale.dtype), tables.shape)],
                 {"data": tensor(tables), "scale": tensor(scale)})
        )  # fmt: skip
    parts: dict[str, Any] = {"lut": table}
    if vector > 1:
        parts["vector_axis"] = tensor(np.array(palette.axis, np.int32))
    codes = f"UINT{palette.bits}"
    dtype = data_type(operation.outputs[0].type)
    scaled = palette.scales is not None
    target = _unscaled(operation, f"{name}_unscaled") if scaled else operation
    if kept is None:
        made.append(_final(target, "constexpr_lut_to_dense", {"indices": tensor(palette.indices, codes), **parts}))
    else:
        data = {"indices_mask": mask_tensor(kept), "indices_nonzero_data": tensor(palette.indices[kept], codes)}
        dense = np.repeat(kept, vector, palette.axis) if vector > 1 else kept
        made += _sparse_chain(target, "constexpr_lut_to_sparse", data | parts, dtype, dense)
    if palette.scales is not None:
        along = tuple(-1 if axis == palette.axis else 1 for axis in range(rank))
        parts = {"data": operation_name(target), "scale": tensor(palette.scales.reshape(along))}
        made.append(_final(operation, "constexpr_blockwise_shift_scale", parts))
    return made


def _packed_indices(operation: Any, palette: Palette) -> Any:
    packed = np.frombuffer(pack(palette.indices, palette.bits, "least significant first"), np.uint8)
    parts = {
        "indices": tensor(packed),
        "lut": tensor(palette.tables[0, :, 0]),
        "shape": tensor(np.array(palette.indices.shape, np.uint32)),
    }
    return _final(operation, "constexpr_lut_to_dense", parts, attributes=True)


def sparse_constant(operation: Any, weights: NDArray[Any], version: int, kept: NDArray[np.bool_]) -> list[Any]:
    """Return the operation for weights of which only some are stored; arguments as for `linear_constant`."""
    parts = {"nonzero_data": tensor(weights[kept])}
    if version >= BLOCKWISE_CONSTANTS:
        return [_final(operation, "constexpr_sparse_to_dense", {**parts, "mask": mask_tensor(kept)})]
    packed = np.frombuffer(pack(kept.astype(np.uint8), 1, "least significant first"), np.uint8)
    parts |= {"mask": tensor(packed), "shape": tensor(np.array(kept.shape, np.uint32))}
    return [_final(operation, "constexpr_sparse_to_dense", parts, attributes=True)]


def _sparse_chain(operation: Any, kind: str, parts: Parts, dtype: str, kept: NDArray[np.bool_]) -> list[Any]:
    """Return an operation with a sparse result, and the one that makes it dense."""
    name = operation_name(operation)
    mask, values = f"{name}_mask", f"{name}_nonzero"
    outputs = [(mask, "UINT1", kept.shape), (values, dtype, (int(kept.sum()),))]
    sparse = _new(kind, values, outputs, parts)
    return [sparse, _final(operation, "constexpr_sparse_to_dense", {"nonzero_data": values, "mask": mask})]


def _unscaled(operation: Any, name: str) -> Any:
    """Return a stand-in for a `const` under another name: its result before the channels are scaled."""
    other = MIL_pb2.Operation()
    other.outputs.add().CopyFrom(operation.outputs[0])
    other.outputs[0].name = name
    other.attributes["name"].CopyFrom(text(name))
    return other


def _final(operation: Any, kind: str, parts: Parts, *, attributes: bool = False) -> Any:
    """Return an operation of another type with the name and the result of a `const`."""
    made = MIL_pb2.Operation()
    made.outputs.add().CopyFrom(operation.outputs[0])
    made.attributes["name"].CopyFrom(operation.attributes["name"])
    return _with_parts(made, kind, parts, attributes=attributes)


def _new(kind: str, name: str, outputs: Iterable[tuple[str, str, tuple[int, ...]]], parts: Parts) -> Any:
    made = MIL_pb2.Operation()
    made.attributes["name"].CopyFrom(text(name))
    for output, dtype, shape in outputs:
        result = made.outputs.add()
        result.name = output
        _set_type(result.type.tensorType, dtype, shape)
    return _with_parts(made, kind, parts, attributes=False)


def _with_parts(operation: Any, kind: str, parts: Parts, *, attributes: bool) -> Any:
    operation.type = kind
    for key, part in parts.items():
        if attributes:
            operation.attributes[key].CopyFrom(part)
        elif isinstance(part, str):
            operation.inputs[key].arguments.add().name = part
        else:
            operation.inputs[key].arguments.add().value.CopyFrom(part)
    return operation


def with_fresh_names(operations: list[Any], taken: set[str]) -> list[Any]:
    """Return the operations of a chain, those before the last one renamed where their results' names are taken."""
    renamed: dict[str, str] = {}
    for operation in operations:
        for argument in operation.inputs.values():
            for binding in argument.arguments:
                if binding.name in renamed:
                    binding.name = renamed[binding.name]
        for output in operation.outputs if operation is not operations[-1] else ():
            fresh = output.name
            while fresh in taken:
                fresh += "_"
            renamed[output.name] = output.name = fresh
            operation.attributes["name"].CopyFrom(text(operation.outputs[0].name))
    return operations


def text(content: str) -> Any:
    """Return a string as a constant of a program."""
    value = MIL_pb2.Value()
    value.type.tensorType.dataType = MIL_pb2.DataType.STRING
    value.immediateValue.tensor.strings.values.append(content)
    return value


def _type_name(dtype: Any) -> str:
    return next(key for key, name in DTYPES.items() if np.dtype(name) == dtype)


def _set_type(tensor_type: Any, name: str, shape: tuple[int, ...]) -> None:
    tensor_type.dataType = MIL_pb2.DataType.Value(name)
    tensor_type.rank = len(shape)
    for size in shape:
        tensor_type.dimensions.add().constant.size = size


def mask_tensor(kept: NDArray[np.bool_]) -> Any:
    """Return a mask as a constant of a program, a bit per element."""
    return tensor(kept.astype(np.uint8), "UINT1")


def tensor(array: NDArray[Any], name: str = "") -> Any:
    """Return an array as a constant of a program, its data in the program itself.

    Args:
        array: of a type that programs have. Large ones are meant for the weight file, to which `with_new_weight_file`
            moves them; until then their bytes are in the value.
        name: of the data type, where it is one of less than a byte, as `UINT4`; the array then holds its codes.
    """
    value = MIL_pb2.Value()
    name = name or _type_name(array.dtype)
    _set_type(value.type.tensorType, name, array.shape)
    content = value.immediateValue.tensor
    if name in SUB_BYTE_BITS:
        mask = np.uint8((1 << SUB_BYTE_BITS[name]) - 1)
        content.bytes.values = pack(array.view(np.uint8) & mask, SUB_BYTE_BITS[name], "least significant first")
    elif name == "INT32":
        content.ints.values.extend(array.reshape(-1).tolist())
    elif name == "FLOAT32" and array.size < SMALLEST_BLOB:
        content.floats.values.extend(array.reshape(-1).tolist())
    else:
        content.bytes.values = np.ascontiguousarray(array).tobytes()
    return value


def stored_size(operations: Iterable[Any], model: Model) -> int:
    """Return the bytes that the values of operations take, in the weight file or in the program."""
    size = 0
    for operation in operations:
        for value in own_values(operation):
            if value.WhichOneof("value") == "blobFileValue":
                size += len(blob_of(value, model).data)
            else:
                content = value.immediateValue.tensor
                size += len(content.bytes.values) + 4 * (len(content.floats.values) + len(content.ints.values))
    return size


def weight_files(model: Model) -> frozenset[str]:
    """Return the files of a package that hold weights."""
    named = (blob_file(value) for operation in _operations_of(model) for value in blob_values(operation))
    return frozenset({WEIGHT_FILE, *named})


class Spool:
    """Compressed constants on their way to the weight file: in memory, they would take as much as the variant."""

    def __init__(self, variant: Path | None = None) -> None:
        """Begin a temporary file, without a name.

        Args:
            variant: the file that the variant will be in: the temporary one is on its disk, and messages name it. None
                for the system's temporary folder.
        """
        self.variant = variant or Path(tempfile.gettempdir()) / "weights"
        with writing(self.variant):
            self._stream = tempfile.TemporaryFile(dir=self.variant.parent)  # noqa: SIM115  `__exit__` closes it
        self._writer = WeightFileWriter(self._stream)

    def __enter__(self) -> Self:
        """Return this."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the file; what is mapped of it stays as long as it is needed."""
        with suppress(OSError):  # on a full disk, what could not be written was told already
            self._stream.close()

    def take(self, operations: list[Any]) -> list[Any]:
        """Move the large values of new operations to the file, and return the operations."""
        for operation in operations:
            for value in _large_values(operation):
                with writing(self.variant):
                    value.blobFileValue.offset = self._writer.add(_new_blob(value))
                value.blobFileValue.fileName = MODEL_PATH + _SPOOLED
        return operations

    def finish(self) -> dict[str, Content]:
        """End the file, and return it as one of the package's."""
        with writing(self.variant):
            self._writer.close()
        return {_SPOOLED: content_of(self._stream)}


def with_new_weight_file(model: Model, files: frozenset[str], spool: Spool) -> Model:
    """Return the model with its weight file written anew, in the order of the operations.

    What the program no longer names is left out, equal blobs are stored once, as functions of one program share them;
    large tensors that lie in the program itself move to the file. Files that hold no weights are kept. All programs of
    a pipeline have their weights in the one file.

    Args:
        model: its spec is changed in place: a copy.
        files: those that hold the weights of what it was made from: they are replaced.
        spool: what took the new constants, which is finished here.
    """
    model = dataclasses.replace(model, files={**model.files, **spool.finish()})
    with writing(spool.variant), tempfile.TemporaryFile(dir=spool.variant.parent) as stream:
        writer = WeightFileWriter(stream)
        stored: dict[Any, int] = {}
        for operation in _operations_of(model):
            moved = _large_values(operation) if operation.type.startswith("constexpr_") else []
            blobs = [(value, blob_of(value, model)) for value in blob_values(operation)]
            for value, blob in [*blobs, *((value, _new_blob(value)) for value in moved)]:
                digest = blob.digest()
                if digest not in stored:
                    stored[digest] = writer.add(blob)
                value.blobFileValue.offset = stored[digest]
                value.blobFileValue.fileName = MODEL_PATH + WEIGHT_FILE
        writer.close()
        weight_file = content_of(stream)
    others = {name: data for name, data in model.files.items() if name not in {*files, _SPOOLED}}
    return dataclasses.replace(model, files=others | ({WEIGHT_FILE: weight_file} if weight_file else {}))


def _operations_of(model: Model) -> Iterator[Any]:
    for _, part in parts_of(model):
        yield from all_operations(part.spec)


def _large_values(operation: Any) -> list[Any]:
    in_file = (*FLOATS, "UINT8", "INT8", *SUB_BYTE_BITS)
    return [
        value
        for value in own_values(operation)
        if value.WhichOneof("value") == "immediateValue"
        and data_type(value.type) in in_file
        and _count(value) >= SMALLEST_BLOB
    ]


def _count(value: Any) -> int:
    return int(np.prod([dimension.constant.size for dimension in value.type.tensorType.dimensions]))


def _new_blob(value: Any) -> Blob:
    name = data_type(value.type)
    content = value.immediateValue.tensor
    data = content.bytes.values or np.array(content.floats.values, "<f4").tobytes()
    return Blob(name, data, unused_bits(_count(value), SUB_BYTE_BITS[name]) if name in SUB_BYTE_BITS else 0)
