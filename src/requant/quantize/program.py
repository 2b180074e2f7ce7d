"""Storing quantized weights in an ML Program.

The program's own messages are edited: a `const` operation becomes a `constexpr_*` operation with the same name and
result, and the weight file is written anew. All else stays as it was, to the bit.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from requant.coreml.blob import Blob, WeightFileWriter, unused_bits
from requant.coreml.deployment import BLOCKWISE_CONSTANTS, COMPRESSED_CONSTANTS, OPSETS, opset_of
from requant.coreml.messages import MIL_pb2
from requant.coreml.model import WEIGHT_FILE, Model
from requant.coreml.packing import pack
from requant.coreml.program import (
    DTYPES,
    MODEL_PATH,
    SUB_BYTE_BITS,
    all_operations,
    blob_file,
    blob_of,
    blob_values,
    block_of,
    data_type,
    functions,
    operation_name,
    own_values,
    value_of,
    walk_operations,
)
from requant.errors import RequantError
from requant.quantize.linear import quantize_affine
from requant.quantize.lookup import LookupTable, TableFunction
from requant.quantize.scheme import FLOAT16_BITS, Scheme

# Smaller tensors stay as they are: they weigh little, and scales and tables would eat the gain. coremltools' default.
WEIGHT_THRESHOLD = 2048
SMALLEST_BLOB = 10  # elements; what is smaller is written into the program itself, as coremltools does
FLOATS = ("FLOAT16", "FLOAT32")


def quantize_program(model: Model, scheme: Scheme, table_function: TableFunction | None) -> Model:
    """Return an ML Program with its weights stored as a scheme says.

    Quantized are the float constants in the weight file with more than `WEIGHT_THRESHOLD` elements and more than one
    axis. The program's operator set is raised where the stored form needs it.

    Args:
        model: an ML Program with float weights; it is not changed.
        scheme: the mode and the bits.
        table_function: makes the lookup table of a tensor; None for `linear`.

    Raises:
        RequantError: if a weight is not finite, or an operation changed its meaning in the operator set needed.
    """
    spec = model.copy_spec()
    for function in functions(spec).values():
        block = block_of(function)
        axes = output_channel_axes(block, model)
        for operation in walk_operations(block):
            if is_quantizable(operation):
                weights = value_of(operation.attributes["val"], model)
                _store(operation, weights, axes.get(operation_name(operation), 0), scheme, table_function, model)
    _raise_operator_set(spec, model)
    return with_new_weight_file(dataclasses.replace(model, spec=spec))


def is_quantizable(operation: Any) -> bool:
    """Return whether an operation is a float weight that is large enough to be quantized."""
    if operation.type != "const" or operation.attributes["val"].WhichOneof("value") != "blobFileValue":
        return False
    value_type = operation.attributes["val"].type
    sizes = [dimension.constant.size for dimension in value_type.tensorType.dimensions]
    return data_type(value_type) in FLOATS and len(sizes) > 1 and int(np.prod(sizes)) > WEIGHT_THRESHOLD


def output_channel_axes(block: Any, model: Model) -> dict[str, int]:
    """Return the axis of the output channels of each constant that is not stored with them first.

    A transposed convolution has them second; a matrix product last, or last but one where it transposes its operand.
    """
    axes: dict[str, int] = {}
    flags = {
        operation_name(o): bool(value_of(o.attributes["val"], model))
        for o in walk_operations(block)
        if o.type == "const"
        and data_type(o.attributes["val"].type) == "BOOL"
        and not len(o.outputs[0].type.tensorType.dimensions)
    }
    for operation in walk_operations(block):
        if operation.type == "conv_transpose":
            axes[_argument(operation, "weight")] = 1
        elif operation.type == "matmul":
            axes[_argument(operation, "y")] = -2 if flags.get(_argument(operation, "transpose_y")) else -1
            axes[_argument(operation, "x")] = -1 if flags.get(_argument(operation, "transpose_x")) else -2
    return axes


def _argument(operation: Any, name: str) -> str:
    bindings = operation.inputs[name].arguments if name in operation.inputs else []
    return bindings[0].name if bindings else ""


def _store(
    operation: Any,
    weights: NDArray[Any],
    axis: int,
    scheme: Scheme,
    table_function: TableFunction | None,
    model: Model,
) -> None:
    name = operation_name(operation)
    numbers = weights.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise RequantError(f"{model.path}: the weights {name} hold numbers that are not finite.")
    if scheme.bits == FLOAT16_BITS:
        if weights.dtype == np.float32 and np.abs(numbers).max() <= np.finfo(np.float16).max:
            parts = {"source_val": tensor(numbers.astype(np.float16)), "output_dtype": text("fp32")}
            _replace(operation, "constexpr_cast", parts, as_attributes=True)
    elif table_function is not None:
        _store_lookup_table(operation, table_function(scheme.bits, numbers), scheme.bits, weights.dtype)
    elif scheme.bits == 8:
        _store_affine(operation, numbers, axis, weights.dtype)
    else:
        _store_shift_scale(operation, numbers, axis, scheme.bits, weights.dtype)


def _store_affine(operation: Any, weights: NDArray[np.float32], axis: int, dtype: Any) -> None:
    axis %= weights.ndim
    codes = quantize_affine(weights, 8, axis, dtype)
    parts = {
        "quantized_data": tensor(codes.codes),
        "scale": tensor(codes.scale),
        "zero_point": tensor(codes.zero_point),
        "axis": tensor(np.array(axis, np.int32)),
    }
    _replace(operation, "constexpr_affine_dequantize", parts, as_attributes=True)


def _store_shift_scale(operation: Any, weights: NDArray[np.float32], axis: int, bits: int, dtype: Any) -> None:
    codes = quantize_affine(weights, bits, axis, dtype)
    shape = [1] * weights.ndim
    shape[axis] = -1
    parts = {
        "data": tensor(codes.codes, f"UINT{bits}"),
        "scale": tensor(codes.scale.reshape(shape)),
        "offset": tensor(codes.zero_point.reshape(shape), f"UINT{bits}"),
    }
    _replace(operation, "constexpr_blockwise_shift_scale", parts, as_attributes=False)


def _store_lookup_table(operation: Any, lookup: LookupTable, bits: int, dtype: Any) -> None:
    table = lookup.table.astype(dtype)
    if bits == 3:  # iOS 16's form has no tables of eight entries
        parts = {
            "indices": tensor(lookup.indices, f"UINT{bits}"),
            "lut": tensor(table.reshape((1,) * lookup.indices.ndim + (-1, 1))),
        }
        _replace(operation, "constexpr_lut_to_dense", parts, as_attributes=False)
        return
    packed = np.frombuffer(pack(lookup.indices, bits, "least significant first"), np.uint8)
    parts = {
        "indices": tensor(packed),
        "lut": tensor(table),
        "shape": tensor(np.array(lookup.indices.shape, np.uint32)),
    }
    _replace(operation, "constexpr_lut_to_dense", parts, as_attributes=True)


def _replace(operation: Any, kind: str, parts: dict[str, Any], *, as_attributes: bool) -> None:
    """Turn a `const` into a `constexpr_*` operation; the forms of iOS 16 keep their parts as attributes."""
    operation.type = kind
    del operation.attributes["val"]
    for key, value in parts.items():
        if as_attributes:
            operation.attributes[key].CopyFrom(value)
        else:
            operation.inputs[key].arguments.add().value.CopyFrom(value)


def text(content: str) -> Any:
    """Return a string as a constant of a program."""
    value = MIL_pb2.Value()
    value.type.tensorType.dataType = MIL_pb2.DataType.STRING
    value.immediateValue.tensor.strings.values.append(content)
    return value


def tensor(array: NDArray[Any], name: str = "") -> Any:
    """Return an array as a constant of a program, its data in the program itself.

    Args:
        array: of a type that programs have.
        name: of the data type, where it is one of less than a byte, as `UINT4`; the array then holds its codes.
    """
    value = MIL_pb2.Value()
    name = name or next(key for key, dtype in DTYPES.items() if np.dtype(dtype) == array.dtype)
    tensor_type = value.type.tensorType
    tensor_type.dataType = MIL_pb2.DataType.Value(name)
    tensor_type.rank = array.ndim
    for size in array.shape:
        tensor_type.dimensions.add().constant.size = size
    content = value.immediateValue.tensor
    if name in SUB_BYTE_BITS:
        content.bytes.values = pack(array, SUB_BYTE_BITS[name], "least significant first")
    elif name == "INT32":
        content.ints.values.extend(array.reshape(-1).tolist())
    elif name == "FLOAT32":
        content.floats.values.extend(array.reshape(-1).tolist())
    else:
        content.bytes.values = np.ascontiguousarray(array).tobytes()
    return value


def with_new_weight_file(model: Model) -> Model:
    """Return the model with its weight file written anew, in the order of the operations.

    What the program no longer names is left out, equal blobs are stored once, as functions of one program share them;
    large tensors that lie in the program itself move to the file. Files that hold no weights are kept. The model's spec
    is changed in place: call it on a copy.
    """
    writer = WeightFileWriter()
    stored: dict[Blob, int] = {}
    read = {WEIGHT_FILE}
    for operation in all_operations(model.spec):
        moved = _large_values(operation) if operation.type.startswith("constexpr_") else []
        blobs = [(value, blob_of(value, model)) for value in blob_values(operation)]
        read |= {blob_file(value) for value, _ in blobs}
        for value, blob in [*blobs, *((value, _new_blob(value)) for value in moved)]:
            if blob not in stored:
                stored[blob] = writer.add(blob)
            value.blobFileValue.offset = stored[blob]
            value.blobFileValue.fileName = MODEL_PATH + WEIGHT_FILE
    weight_file = writer.to_bytes()
    others = {name: data for name, data in model.files.items() if name not in read}
    return dataclasses.replace(model, files=others | ({WEIGHT_FILE: weight_file} if weight_file else {}))


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
    data = np.array(content.floats.values, "<f4").tobytes() if name == "FLOAT32" else content.bytes.values
    return Blob(name, data, unused_bits(_count(value), SUB_BYTE_BITS[name]) if name in SUB_BYTE_BITS else 0)


def _raise_operator_set(spec: Any, model: Model) -> None:
    """Raise specification version and operator sets to what the compressed constants in the program need.

    Raises:
        RequantError: if the program uses an operation that the newer operator set defines otherwise.
    """
    forms = {o.type: o for o in all_operations(spec) if o.type.startswith("constexpr_")}
    if not forms:
        return
    grouped = any("indices" in o.inputs for o in forms.values())
    blockwise = grouped or "constexpr_blockwise_shift_scale" in forms
    version = BLOCKWISE_CONSTANTS if blockwise else COMPRESSED_CONSTANTS
    for name, function in functions(spec).items():
        old = OPSETS.get(function.opset, version)
        if old >= version:
            continue
        _require_same_meaning(block_of(function), old, version, model)
        block = block_of(function)
        spec.mlProgram.functions[name].block_specializations[opset_of(version)].CopyFrom(block)
        del spec.mlProgram.functions[name].block_specializations[function.opset]
        spec.mlProgram.functions[name].opset = opset_of(version)
    spec.specificationVersion = max(spec.specificationVersion, version)


def _require_same_meaning(block: Any, old: int, new: int, model: Model) -> None:
    for operation in walk_operations(block):
        changed = CHANGED_OPERATIONS.get(operation.type, 0)
        if old < changed <= new:
            raise RequantError(
                f"{model.path}: the operation {operation_name(operation)} of type {operation.type} has another meaning "
                f"in the operator set {opset_of(changed)}, which this scheme needs or passes. Convert the original "
                f"again with that deployment target, or use a scheme that runs on the model's own."
            )


# Operations that lost a parameter in a later operator set: specification version of the change. All others only gained
# types, or optional parameters whose defaults mean what was meant before (coremltools 9.0, the operations registered in
# converters/mil/mil/ops/defs).
CHANGED_OPERATIONS = {"crop_resize": 8, "non_maximum_suppression": 8}
