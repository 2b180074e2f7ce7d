"""An ML Program as operations with values: its constants, compressed or not, as numpy arrays.

The program is read from Apple's own messages (`MIL.proto`), operation by operation. A weight is the result of a `const`
operation, or of a `constexpr_*` operation that Core ML decompresses when it loads the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from requant.coreml.blob import Blob, blob_size, read_blob
from requant.coreml.compression import decompress, form_of
from requant.coreml.mapped import Content
from requant.coreml.messages import MIL_pb2
from requant.coreml.model import DATA_FOLDER, Model
from requant.coreml.packing import packed_size, unpack
from requant.coreml.weights import Form, StoredWeight
from requant.errors import RequantError

T = TypeVar("T")
MODEL_PATH = "@model_path/"
MOST_SHARING, ALWAYS_SHARED = 8, 64 << 20  # how often a program may read its weight files, and bytes beside that
_LARGEST_WITHOUT_NUMBERS = 1 << 20  # elements of a constant that the program says nothing of but its type
DTYPES: dict[str, str] = {
    "BOOL": "?", "FLOAT16": "<f2", "FLOAT32": "<f4", "FLOAT64": "<f8", "INT8": "<i1", "INT16": "<i2", "INT32": "<i4",
    "INT64": "<i8", "UINT8": "<u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8",
}  # fmt: skip
SUB_BYTE_BITS = {"INT4": 4, "UINT4": 4, "UINT6": 6, "UINT3": 3, "UINT2": 2, "UINT1": 1}
# The parameter with a code per weight of the operations with a linear form.
_CODE_PARAMETERS = {"constexpr_blockwise_shift_scale": "data", "constexpr_sparse_blockwise_shift_scale": "nonzero_data"}


def functions(spec: Any) -> dict[str, Any]:
    """Return the functions of a program by name."""
    return dict(spec.mlProgram.functions)


def block_of(function: Any) -> Any:
    """Return the block of a function for the operator set that it names.

    Raises:
        RequantError: if there is none.
    """
    if function.opset not in function.block_specializations:  # to ask for one would add it
        raise RequantError(f"a function of the program has no operations for the operator set {function.opset!r}.")
    return function.block_specializations[function.opset]


def walk_operations(block: Any) -> Iterator[Any]:
    """Yield all operations of a block, those of nested blocks too, in the order of the file."""
    for operation in block.operations:
        yield operation
        for nested in operation.blocks:
            yield from walk_operations(nested)


def walk_blocks(block: Any) -> Iterator[Any]:
    """Yield a block and all blocks in it."""
    yield block
    for operation in block.operations:
        for nested in operation.blocks:
            yield from walk_blocks(nested)


def all_operations(spec: Any) -> Iterator[Any]:
    """Yield all operations of all functions; the functions in the order of their names."""
    for _, function in sorted(spec.mlProgram.functions.items()):
        yield from walk_operations(block_of(function))


def data_type(value_type: Any) -> str:
    """Return the name of a tensor type's element type, as `FLOAT16`; the number of one that is not known."""
    number = value_type.tensorType.dataType
    names: dict[int, Any] = MIL_pb2.DataType.DESCRIPTOR.values_by_number
    return str(names[number].name) if number in names else str(number)


def shape_of(value_type: Any) -> tuple[int, ...]:
    """Return the shape of a tensor type; -1 for a dimension that the program leaves open."""
    return tuple(
        dimension.constant.size if dimension.WhichOneof("dimension") == "constant" else -1
        for dimension in value_type.tensorType.dimensions
    )


def value_of(value: Any, model: Model) -> Any:
    """Return a constant of a program: a numpy array, or a list for a list.

    Strings come as `str`; elements of less than a byte as uint8 or int8.

    Raises:
        RequantError: if the value's blob is missing or damaged, or its parts do not fit each other.
    """
    try:
        return _value_of(value, model)
    except (ValueError, OverflowError, TypeError) as error:
        raise RequantError(f"{model.path} is damaged: a value does not fit its type ({error}).") from error


def _value_of(value: Any, model: Model) -> Any:
    if value.type.WhichOneof("type") == "listType":
        return [value_of(item, model) for item in value.immediateValue.list.values]
    if value.WhichOneof("value") == "blobFileValue":
        return _blob_array(value, model)
    return _immediate_array(value)


def _immediate_array(value: Any) -> NDArray[Any]:
    tensor = value.immediateValue.tensor
    kind = tensor.WhichOneof("value")
    name, shape = data_type(value.type), shape_of(value.type)
    if kind is None:
        if math.prod(shape) > _LARGEST_WITHOUT_NUMBERS:
            raise ValueError(f"it has the shape {shape} and no numbers")
        return np.zeros(shape, object if name == "STRING" else _dtype(name))
    values = getattr(tensor, kind).values
    if kind == "bytes":
        return _decode_bytes(values, name, shape)
    if kind == "strings":
        return np.array(list(values), dtype=object).reshape(shape)
    return np.array(values, _dtype(name)).reshape(shape)


def _dtype(name: str) -> str:
    """Return numpy's type for an element type; elements of less than a byte get one each."""
    if name in SUB_BYTE_BITS:
        return "<i1" if name.startswith("INT") else "<u1"
    if name not in DTYPES:
        raise RequantError(f"a constant of the program is of type {name}, which requant can't read yet.")
    return DTYPES[name]


def _blob_array(value: Any, model: Model) -> NDArray[Any]:
    return _decode_bytes(blob_of(value, model).data, data_type(value.type), shape_of(value.type))


def blob_file(value: Any) -> str:
    """Return the file of the package in which a value's blob lies, as `weights/weight.bin`."""
    name: str = value.blobFileValue.fileName
    return name.removeprefix(MODEL_PATH)


def blob_of(value: Any, model: Model) -> Blob:
    """Return the blob of a value that lies in a file of the package.

    Raises:
        RequantError: if the file or the blob is missing or damaged.
    """
    return _from_file(value, model, read_blob)


def _from_file(value: Any, model: Model, read: Callable[[Content, int], T]) -> T:
    """Return what is read of the blob of a value."""
    name = blob_file(value)
    try:
        return read(model.files[name], value.blobFileValue.offset)
    except KeyError as error:
        raise RequantError(f"{model.path} is incomplete: {DATA_FOLDER}{name} is missing.") from error
    except ValueError as error:
        raise RequantError(f"{model.path} is damaged: {error}.") from error


def _require_measure(block: Any, model: Model) -> None:
    """Make sure that the values of a function do not share the bytes of the weight files beyond all measure.

    Two operations may share a blob. A thousand of them that read the whole file would take a thousand times its memory.
    """
    size = 0
    for operation in walk_operations(block):
        with suppress(RequantError):  # of a blob that can't be read, which is told with the name of the constant
            size += blob_bytes(operation, model)
    there = sum(map(len, model.files.values()))
    if size > MOST_SHARING * there + ALWAYS_SHARED:
        raise RequantError(
            f"{model.path} is not to be trusted: its program reads {size:,} bytes of weights from files of {there:,}."
        )


def _decode_bytes(data: Content, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    count = math.prod(shape)
    if name not in SUB_BYTE_BITS:
        dtype = np.dtype(_dtype(name))
        if count < 0 or count * dtype.itemsize > len(data):
            raise ValueError(f"there are {len(data)} bytes for the shape {shape} of {name}")
        array = np.frombuffer(data, dtype, count).reshape(shape)
        return array if array.flags.aligned else array.copy()  # in a zip, anything may lie anywhere
    bits = SUB_BYTE_BITS[name]
    codes = unpack(data, count, bits, "least significant first").reshape(shape)
    if name.startswith("INT"):
        return (codes.astype(np.int8) ^ (1 << (bits - 1))) - (1 << (bits - 1))
    return codes


def operation_name(operation: Any) -> str:
    """Return the name of an operation: that of its (first) result.

    Raises:
        RequantError: if it has no results.
    """
    if not operation.outputs:
        raise RequantError(f"the model is damaged: an operation of type {operation.type!r} has no result.")
    name: str = operation.outputs[0].name
    return name


def constants(operation: Any, model: Model, known: dict[str, Any]) -> dict[str, Any]:
    """Return an operation's constant parameters by name: its attributes and those of its inputs that are constant.

    Args:
        operation: any operation.
        model: the model that it belongs to.
        known: the constants before it, by the name of their results.
    """
    found = {key: value_of(value, model) for key, value in operation.attributes.items() if key != "name"}
    for key, argument in operation.inputs.items():
        bindings = argument.arguments
        if len(bindings) != 1:
            continue
        if bindings[0].WhichOneof("binding") == "value":
            found[key] = value_of(bindings[0].value, model)
        elif bindings[0].name in known:
            found[key] = known[bindings[0].name]
    return found


def is_constant(operation: Any) -> bool:
    """Return whether an operation's result is known before the model runs."""
    return bool(operation.type == "const" or operation.type.startswith("constexpr_"))


def is_stored_in_float16(operation: Any) -> bool:
    """Return whether a float constant that is not compressed further lies in the file as float16."""
    return bool(operation.type == "constexpr_cast" or data_type(operation.outputs[0].type) == "FLOAT16")


def constant_results(operation: Any, model: Model, known: dict[str, Any]) -> dict[str, Any]:
    """Return the results of a `const` or `constexpr_*` operation by their names, decompressed.

    Raises:
        RequantError: if a compressed form is unknown or damaged, naming it.
    """
    found = constants(operation, model, known)
    if operation.type == "const":
        return {operation_name(operation): found["val"]}
    results = decompress(operation.type, found, operation_name(operation))
    return {output.name: result for output, result in zip(operation.outputs, results, strict=True)}


def constant_values(block: Any, model: Model) -> dict[str, Any]:
    """Return all constants of a block and of the blocks in it by the name of their results.

    Raises:
        RequantError: if one can't be read, naming it and the file.
    """
    _require_measure(block, model)
    return _values_of((operation for operation in walk_operations(block) if is_constant(operation)), model)


def _values_of(operations: Iterable[Any], model: Model) -> dict[str, Any]:
    """Return the results of constant operations by name; parts stand before what is made of them."""
    known: dict[str, Any] = {}
    for operation in operations:
        try:
            known |= constant_results(operation, model, known)
        except RequantError as error:
            raise RequantError(f"{error} The constant {operation_name(operation)!r} can't be read.") from error
        except (KeyError, ValueError, TypeError, IndexError) as error:
            name = operation_name(operation)
            raise RequantError(f"{model.path}: the constant {name!r} is damaged: its parts do not fit.") from error
    return known


def stored_weights(model: Model) -> list[StoredWeight]:
    """Return every float tensor that lies in the weight file, decompressed, with how it is stored."""
    return list(each_weight(model))


def each_weight(model: Model) -> Iterator[StoredWeight]:
    """Yield every float tensor that lies in the weight file, decompressed, with how it is stored, one at a time.

    A constant that is a part of a `constexpr_*` operation (a lookup table, say) counts as part of that one.

    Raises:
        RequantError: if one can't be read, naming it.
    """
    for name, operations, size in _weight_chains(model):
        yield _stored_weight(name, operations, size, model)


def stored_forms(model: Model) -> Iterator[tuple[str, Form, int]]:
    """Yield the name, form and bits of every float tensor in the weight file; those that are float are not decoded."""
    for name, operations, size in _weight_chains(model):
        if len(operations) == 1 and operations[0].type in ("const", "constexpr_cast"):
            yield (name, "float16", 16) if is_stored_in_float16(operations[0]) else (name, "float32", 32)
        else:
            weight = _stored_weight(name, operations, size, model)
            yield name, weight.form, weight.bits


def _weight_chains(model: Model) -> Iterator[tuple[str, list[Any], int]]:
    """Yield the name, the operations and the stored bytes of every float tensor that lies in the weight file."""
    for _, function in sorted(model.spec.mlProgram.functions.items()):
        _require_measure(block_of(function), model)
        for name, operations in _chains(block_of(function)).items():
            size = sum(_stored_bytes(operation, model, len(operations) > 1) for operation in operations)
            if size and data_type(operations[-1].outputs[-1].type) in ("FLOAT16", "FLOAT32"):
                yield name, operations, size


def _stored_weight(name: str, operations: list[Any], size: int, model: Model) -> StoredWeight:
    known = _values_of(operations, model)
    if not isinstance(known[name], np.ndarray):
        raise RequantError(f"{model.path} is damaged: the constant {name!r} is declared as numbers, but is a list.")
    form, bits = form_of([(o.type, constants(o, model, known)) for o in operations], known[name])
    values = np.asarray(known[name], np.float32)
    return StoredWeight(name, values, form, bits or _code_bits(operations), size, values.ndim > 1)


def _chains(block: Any) -> dict[str, list[Any]]:
    """Return for each constant that is no part of another one the operations that store it, itself the last."""
    operations = [operation for operation in walk_operations(block) if is_constant(operation)]
    makers = {output.name: operation_name(operation) for operation in operations for output in operation.outputs}
    owners = {
        makers[binding.name]: operation_name(operation)
        for operation in operations
        if operation.type != "const"
        for argument in operation.inputs.values()
        for binding in argument.arguments
        if binding.WhichOneof("binding") == "name" and binding.name in makers
    }
    chains: dict[str, list[Any]] = {operation_name(o): [] for o in operations if operation_name(o) not in owners}
    for operation in operations:
        chains[_root(operation_name(operation), owners)].append(operation)
    return chains


def _root(name: str, owners: dict[str, str]) -> str:
    """Return the constant that another one is in the end a part of.

    Raises:
        RequantError: if it is a part of itself.
    """
    for _ in range(len(owners) + 1):
        if name not in owners:
            return name
        name = owners[name]
    raise RequantError(f"the model is damaged: the constant {name!r} is made of itself.")


def _stored_bytes(operation: Any, model: Model, is_part: bool) -> int:
    """Return the bytes that an operation takes in the weight file, and in the program if it is part of a weight."""
    counts = is_part or operation.type != "const"
    return blob_bytes(operation, model) + (_small_parts_bytes(operation) if counts else 0)


def _code_bits(operations: list[Any]) -> int:
    """Return the bits of a code of a linear form, 0 for a form that has none."""
    types = {output.name: output.type for operation in operations for output in operation.outputs}
    for operation in operations:
        if operation.type not in _CODE_PARAMETERS:
            continue
        for binding in operation.inputs[_CODE_PARAMETERS[operation.type]].arguments:
            value = binding.WhichOneof("binding") == "value"
            name = data_type(binding.value.type if value else types[binding.name])
            return SUB_BYTE_BITS.get(name) or np.dtype(_dtype(name)).itemsize * 8
    return 0


def _small_parts_bytes(operation: Any) -> int:
    """Return how many bytes the tables, scales and offsets take that lie in the program itself, for they are small."""
    numbers = {"FLOAT16": 16, "FLOAT32": 32, "INT8": 8, "UINT8": 8, **SUB_BYTE_BITS}
    return sum(
        packed_size(math.prod(shape_of(value.type)), numbers.get(data_type(value.type), 0))
        for value in own_values(operation)
        if value.WhichOneof("value") == "immediateValue" and value.type.WhichOneof("type") == "tensorType"
    )


def own_values(operation: Any) -> list[Any]:
    """Return the values that an operation itself holds: its attributes and its inputs that are values, not names."""
    values = [operation.attributes[key] for key in sorted(operation.attributes)]
    for key in sorted(operation.inputs):
        values += [b.value for b in operation.inputs[key].arguments if b.WhichOneof("binding") == "value"]
    return values


def blob_values(operation: Any) -> list[Any]:
    """Return the values of an operation that lie in the weight file."""
    return [value for value in own_values(operation) if value.WhichOneof("value") == "blobFileValue"]


def blob_bytes(operation: Any, model: Model) -> int:
    """Return how many bytes an operation's values take in the weight file."""
    return sum(_from_file(value, model, blob_size) for value in blob_values(operation))
