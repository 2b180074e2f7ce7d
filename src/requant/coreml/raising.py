"""Raising an ML Program to a newer operator set, from the file alone, without a change of what it computes.

A program names an operator set per function (`CoreML5` is iOS 15). The newer stored forms of weights exist only in the
newer sets; and a newer set reads some operations differently. Those are rewritten here; `CHANGES` lists them. All other
operations only gained types, or optional parameters whose defaults mean what was meant before.

Source: the operations as coremltools 9.0 registers them for each set (`converters/mil/mil/ops/defs`, iOS 15 to iOS 18),
and the pass with which it guards negative indices (`guard_negative_gather_indices`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from requant.coreml.kind import Kind
from requant.coreml.messages import MIL_pb2
from requant.coreml.model import Model
from requant.coreml.pipeline import parts_of, raise_version
from requant.coreml.program import (
    DTYPES,
    SUB_BYTE_BITS,
    blob_of,
    block_of,
    data_type,
    functions,
    operation_name,
    shape_of,
    value_of,
    walk_operations,
)
from requant.coreml.systems import OPSETS, SYSTEMS, opset_of
from requant.errors import RequantError

IOS17, IOS18 = 8, 9  # specification versions
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Raising:
    """A raised program.

    Attributes:
        model: the program, with its operator sets raised.
        rewritten: the names of the operations that were rewritten, in the order of the file.
    """

    model: Model
    rewritten: tuple[str, ...]


@dataclass(frozen=True)
class Change:
    """An operation that a newer operator set reads differently.

    Attributes:
        spec_version: the first specification version whose operator set does.
        rewrite: adds what has the old meaning in the new set; returns whether anything had to be changed.
    """

    spec_version: int
    rewrite: Callable[[_Site], bool]


def raised(model: Model, spec_version: int) -> Model:
    """Return an ML Program whose functions' operator sets are at least those of a specification version.

    Functions with a newer set stay as they are, and so does all else, to the bit, but the operations that the newer set
    reads differently: they are rewritten. Parts of weights that are rewritten move from the weight file into the
    program; whoever stores the model may write the file anew.

    Args:
        model: an ML Program, or a pipeline of some; it is not changed.
        spec_version: 6 (iOS 15) or newer.

    Raises:
        RequantError: if the model is no ML Program, or an operation can't be rewritten, naming it.
    """
    return raise_program(model, spec_version).model


def raise_program(model: Model, spec_version: int) -> Raising:
    """Return what `raised` returns, with the names of the operations that were rewritten."""
    if model.kind is not Kind.ML_PROGRAM:
        raise RequantError(f"{model.path} is no ML Program: it has no operator set to raise.")
    if spec_version not in OPSETS.values():
        known = ", ".join(str(version) for version in OPSETS.values())
        raise RequantError(f"specification version {spec_version} has no operator set; there are {known}.")
    newer = dataclasses.replace(model, spec=model.copy_spec())
    rewritten: list[str] = []
    for prefix, part in parts_of(newer):
        for _, function in sorted(functions(part.spec).items()):
            old = OPSETS.get(function.opset, spec_version)
            if old < spec_version:
                rewritten += (prefix + name for name in _raise_function(function, old, spec_version, part))
    raise_version(newer.spec, spec_version)
    return Raising(newer, tuple(rewritten))


def _raise_function(function: Any, old: int, new: int, model: Model) -> list[str]:
    block = block_of(function)
    changes = {kind: change for kind, change in CHANGES.items() if old < change.spec_version <= new}
    rewriter = _Rewriter(model, changes, _names(function.inputs, block))
    rewriter.block(block, _Scope({value.name: value.type for value in function.inputs}))
    function.block_specializations[opset_of(new)].CopyFrom(block)
    del function.block_specializations[function.opset]
    function.opset = opset_of(new)
    return rewriter.rewritten


def _names(inputs: Any, block: Any) -> set[str]:
    """Return every name in a function."""
    names = {value.name for value in [*inputs, *block.inputs]}
    for operation in walk_operations(block):
        names |= {output.name for output in operation.outputs}
        names |= {value.name for nested in operation.blocks for value in nested.inputs}
        if "name" in operation.attributes:
            names |= set(operation.attributes["name"].immediateValue.tensor.strings.values)
    return names


@dataclass
class _Scope:
    """What is known of the values at a place in a program: their types, and what makes them."""

    types: dict[str, Any]
    makers: dict[str, tuple[Any, int]] = field(default_factory=dict)

    def nested(self, block: Any) -> _Scope:
        """Return the scope in which a block of an operation begins."""
        inner = {value.name: value.type for value in block.inputs}
        makers = {name: maker for name, maker in self.makers.items() if name not in inner}
        return _Scope(self.types | inner, makers)

    def add(self, operation: Any) -> None:
        """Take the results of an operation in."""
        for index, output in enumerate(operation.outputs):
            self.types[output.name] = output.type
            self.makers[output.name] = (operation, index)


class _Rewriter:
    """Rewrites the operations of a function, block by block."""

    def __init__(self, model: Model, changes: dict[str, Change], names: set[str]) -> None:
        self.model = model
        self.changes = changes
        self.names = names
        self.rewritten: list[str] = []

    def block(self, block: Any, scope: _Scope) -> None:
        """Rewrite a block and the blocks in it."""
        operations: list[Any] = []
        changed = False
        for operation in block.operations:
            for nested in operation.blocks:
                self.block(nested, scope.nested(nested))
            found = self._rewritten(operation, scope)
            changed |= found is not None
            for each in [operation] if found is None else found:
                scope.add(each)
                operations.append(each)
        if changed:
            copies = [_copied(operation) for operation in operations]
            del block.operations[:]
            block.operations.extend(copies)

    def _rewritten(self, operation: Any, scope: _Scope) -> list[Any] | None:
        """Return the operations that an operation becomes; None if it stays as it is."""
        change = self.changes.get(operation.type)
        if change is None:
            return None
        site = _Site(operation, scope, self.model, self.names)
        try:
            if not change.rewrite(site):
                return None
        except _NotKnownError as error:
            ios = SYSTEMS[change.spec_version].ios
            raise RequantError(
                f"{self.model.path}: the operation {operation_name(operation)} of type {operation.type} has another "
                f"meaning in the operator set {opset_of(change.spec_version)} (iOS {ios}), and can't be rewritten for "
                f"it: {error}. Convert the original again with that deployment target, or use a scheme that runs on "
                f"the model's own."
            ) from error
        self.rewritten.append(operation_name(operation))
        return site.operations


class _NotKnownError(Exception):
    """What an operation would have to be rewritten with is not known from the file."""


def _copied(message: Any) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


class _Site:
    """An operation that is being rewritten: what it has, and the operations that take its place.

    Attributes:
        old: the operation.
        scope: the values at its place.
        model: the model.
        operations: what it becomes.
    """

    def __init__(self, old: Any, scope: _Scope, model: Model, names: set[str]) -> None:
        self.old = old
        self.scope = _Scope(dict(scope.types), dict(scope.makers))
        self.model = model
        self.operations: list[Any] = []
        self._names = names
        self._in_place: dict[str, str] = {}

    @property
    def is_named(self) -> bool:
        """Whether the old operation has a name beside those of its results."""
        return "name" in self.old.attributes

    def argument(self, key: str) -> str:
        """Return the name of the value that is a parameter; one given in place becomes a constant."""
        binding = self._binding(key)
        if binding is None:
            raise _NotKnownError(f"it has no parameter {key}")
        if binding.WhichOneof("binding") == "name":
            return str(binding.name)
        if key not in self._in_place:
            self._in_place[key] = self._constant(binding.value, key)
        return self._in_place[key]

    def _binding(self, key: str) -> Any:
        arguments = self.old.inputs[key].arguments if key in self.old.inputs else []
        return arguments[0] if len(arguments) == 1 else None

    def known(self, key: str, default: Any = None) -> NDArray[Any]:
        """Return a parameter that has to be constant."""
        binding = self._binding(key)
        if binding is None:
            if default is None:
                raise _NotKnownError(f"it has no parameter {key}")
            return np.asarray(default)
        if binding.WhichOneof("binding") == "value":
            return np.asarray(value_of(binding.value, self.model))
        found = self.constant_named(binding.name)
        if found is None:
            raise _NotKnownError(f"its parameter {key} is computed")
        return found

    def constant_named(self, name: str) -> NDArray[Any] | None:
        """Return the value of a constant; None for what is computed."""
        maker, _ = self.scope.makers.get(name, (None, 0))
        if maker is None or maker.type != "const":
            return None
        return np.asarray(value_of(maker.attributes["val"], self.model))

    def type_of(self, name: str) -> tuple[str, Shape]:
        """Return the element type and the shape of a value, -1 for a size that is open."""
        value_type = self.scope.types.get(name)
        if value_type is None or value_type.WhichOneof("type") != "tensorType":
            raise _NotKnownError(f"the type of {name} is not known")
        dimensions = value_type.tensorType.dimensions
        if value_type.tensorType.rank != len(dimensions) or any(d.unknown.variadic for d in dimensions):
            raise _NotKnownError(f"the number of axes of {name} is not known")
        return data_type(value_type), shape_of(value_type)

    def constant(self, array: NDArray[Any], part: str) -> str:
        """Add a constant and return its name."""
        return self._constant(_value(array), part)

    def _constant(self, value: Any, part: str) -> str:
        name = self._fresh(part)
        made = MIL_pb2.Operation(type="const")
        made.attributes["name"].CopyFrom(_value(np.array(name, object)))
        made.attributes["val"].CopyFrom(value)
        made.outputs.add(name=name).type.CopyFrom(value.type)
        return self._added(made)[0]

    def add(self, kind: str, part: str, results: Sequence[tuple[str, Shape]], /, **inputs: str) -> list[str]:
        """Add an operation and return the names of its results.

        Args:
            kind: its type.
            part: what it is of the old operation, for its name.
            results: their element types and shapes.
            inputs: names of values by parameter.
        """
        made = MIL_pb2.Operation(type=kind)
        name = self._fresh(part)
        made.attributes["name"].CopyFrom(_value(np.array(name, object)))
        for index, (dtype, shape) in enumerate(results):
            output = made.outputs.add(name=name if len(results) == 1 else self._fresh(f"{part}_{index}"))
            _set_type(output.type, dtype, shape)
        for key, value in inputs.items():
            made.inputs[key].arguments.add().name = value
        return self._added(made)

    def one(self, kind: str, part: str, dtype: str, shape: Shape, /, **inputs: str) -> str:
        """Add an operation of one result and return its name."""
        return self.add(kind, part, [(dtype, shape)], **inputs)[0]

    def last(self, kind: str, index: int = 0, /, **inputs: str) -> None:
        """Add an operation that makes a result of the old one, under its name and of its type."""
        name = _value(np.array(self.old.outputs[index].name, object))
        made = MIL_pb2.Operation(type=kind)
        made.attributes["name"].CopyFrom(self.old.attributes["name"] if index == 0 and self.is_named else name)
        made.outputs.add().CopyFrom(self.old.outputs[index])
        for key, value in inputs.items():
            made.inputs[key].arguments.add().name = value
        self._added(made)

    def keep(self, **inputs: str) -> None:
        """Add the old operation, some of its parameters replaced."""
        made = _copied(self.old)
        for key, value in inputs.items():
            made.inputs[key].Clear()
            made.inputs[key].arguments.add().name = value
        self._added(made)

    def keep_inner(
        self, part: str, results: Sequence[tuple[str, Shape]], drop: Sequence[str], **inputs: str
    ) -> list[str]:
        """Add an operation of the old one's type, with its other parameters, and return the names of its results."""
        names = self.add(self.old.type, part, results)
        made = self.operations[-1]
        for key, argument in self.old.inputs.items():
            if key not in drop:
                made.inputs[key].CopyFrom(argument)
        for key, value in inputs.items():
            made.inputs[key].Clear()
            made.inputs[key].arguments.add().name = value
        return names

    def _added(self, operation: Any) -> list[str]:
        self.operations.append(operation)
        self.scope.add(operation)
        return [output.name for output in operation.outputs]

    def _fresh(self, part: str) -> str:
        """Return a name that nothing in the function has yet."""
        base = f"{operation_name(self.old)}_{part}"
        name, number = base, 0
        while name in self._names:
            number += 1
            name = f"{base}_{number}"
        self._names.add(name)
        return name


def _set_type(value_type: Any, dtype: str, shape: Shape) -> None:
    tensor_type = value_type.tensorType
    tensor_type.dataType = MIL_pb2.DataType.Value(dtype)
    tensor_type.rank = len(shape)
    for size in shape:
        dimension = tensor_type.dimensions.add()
        if size < 0:
            dimension.unknown.variadic = False
        else:
            dimension.constant.size = size


def _value(array: NDArray[Any]) -> Any:
    """Return an array, of type object for strings, as a value in the program itself, as coremltools writes it."""
    value = MIL_pb2.Value()
    content = value.immediateValue.tensor
    if array.dtype == object:
        name = "STRING"
        content.strings.values.extend(array.reshape(-1).tolist())
    else:
        name = next(key for key, dtype in DTYPES.items() if np.dtype(dtype) == array.dtype)
        field_name = {"BOOL": "bools", "INT32": "ints", "FLOAT32": "floats"}.get(name)
        if field_name:
            getattr(content, field_name).values.extend(array.reshape(-1).tolist())
        else:
            content.bytes.values = np.ascontiguousarray(array).tobytes()
    _set_type(value.type, name, array.shape)
    return value


def _integers(*values: int) -> NDArray[np.int32]:
    return np.array(values, np.int32)


# iOS 17: indices are counted from zero; negative ones, which counted from the end, are undefined.

_UNSIGNED = frozenset({"UINT8", "UINT16", "UINT32", "UINT64"})
# Operations that give no negative numbers, and the results of theirs that are meant (None: all).
_COUNTING: dict[str, int | None] = {
    "non_zero": None, "reduce_argmax": None, "reduce_argmin": None, "argsort": None, "shape": None, "topk": 1,
}  # fmt: skip
# Operations whose results are numbers of their input, by the parameter that is meant.
_PASSING: dict[str, str] = {
    "cast": "x", "concat": "values", "expand_dims": "x", "gather": "x", "identity": "x", "reshape": "x", "reverse": "x",
    "slice_by_index": "x", "slice_by_size": "x", "squeeze": "x", "stack": "values", "tile": "x", "transpose": "x",
}  # fmt: skip
_DEEPEST = 64  # operations that are looked through


def _index_along_axis(data: str) -> Callable[[_Site], bool]:
    """Return the rewriting of operations whose indices count along one axis of the parameter `data`."""

    def rewrite(site: _Site) -> bool:
        if not _may_count_from_the_end(site):
            return False
        source = site.argument(data)
        _, shape = site.type_of(source)
        axis = int(site.known("axis", 0)) % max(len(shape), 1)
        if shape[axis] >= 0:
            size = np.array(shape[axis], np.int32)
            return _guarded(site, lambda: site.constant(size, "size"), size)
        return _guarded(site, lambda: _measured(site, source, axis, None), None)

    return rewrite


def _index_of_many_axes(data: str) -> Callable[[_Site], bool]:
    """Return the rewriting of operations whose indices are points in the parameter `data`."""

    def rewrite(site: _Site) -> bool:
        if not _may_count_from_the_end(site):
            return False
        source = site.argument(data)
        _, shape = site.type_of(source)
        count = site.type_of(site.argument("indices"))[1][-1]
        if count < 0:
            raise _NotKnownError("how many axes its indices are of is not known")
        first = int(site.known("batch_dims", 0))
        sizes = _integers(*shape[first : first + count])
        if (sizes >= 0).all():
            return _guarded(site, lambda: site.constant(sizes, "sizes"), sizes)
        return _guarded(site, lambda: _measured(site, source, first, count), None)

    return rewrite


def _may_count_from_the_end(site: _Site) -> bool:
    binding = site.argument("indices")
    return not _is_never_negative(site, binding, _DEEPEST)


def _is_never_negative(site: _Site, name: str, depth: int) -> bool:
    """Return whether it is certain that a value has no negative numbers."""
    value_type = site.scope.types.get(name)
    if value_type is not None and data_type(value_type) in (*_UNSIGNED, "BOOL"):
        return True
    maker, index = site.scope.makers.get(name, (None, 0))
    if maker is None or depth == 0:
        return False
    if maker.type == "const":
        return bool((np.asarray(value_of(maker.attributes["val"], site.model)) >= 0).all())
    if maker.type in _COUNTING:
        return _COUNTING[maker.type] in (None, index)
    if maker.type not in _PASSING or (maker.type == "cast" and data_type(maker.outputs[0].type) != "INT32"):
        return False
    bindings = maker.inputs[_PASSING[maker.type]].arguments
    return all(
        binding.WhichOneof("binding") == "name" and _is_never_negative(site, binding.name, depth - 1)
        for binding in bindings
    )


def _measured(site: _Site, source: str, first: int, count: int | None) -> str:
    """Add what measures axes of a tensor while the program runs: one, as a scalar, or several."""
    rank = len(site.type_of(source)[1])
    shape = site.one("shape", "shape", "INT32", (rank,), x=source)
    begin = site.constant(_integers(first), "begin")
    end = site.constant(_integers(first + (count or 1)), "end")
    if count is not None:
        return site.one("slice_by_index", "sizes", "INT32", (count,), x=shape, begin=begin, end=end)
    mask = site.constant(np.array([True]), "mask")
    return site.one("slice_by_index", "size", "INT32", (), x=shape, begin=begin, end=end, squeeze_mask=mask)


def _guarded(site: _Site, measure: Callable[[], str], sizes: NDArray[np.int32] | None) -> bool:
    """Add the old operation with indices that count from zero.

    Args:
        site: the operation.
        measure: adds what gives the sizes that the indices are of.
        sizes: these, where they are known.
    """
    indices = site.argument("indices")
    values = site.constant_named(indices)
    if values is not None and sizes is not None:
        counted = np.where(values < 0, values + sizes, values).astype(np.int32)
        site.keep(indices=site.constant(counted, "indices"))
        return True
    dtype, shape = site.type_of(indices)
    if dtype != "INT32":
        to = site.constant(np.array("int32", object), "dtype")
        indices = site.one("cast", "whole", "INT32", shape, x=indices, dtype=to)
    zero = site.constant(np.array(0, np.int32), "zero")
    size = measure()
    positive = site.one("greater_equal", "counts", "BOOL", shape, x=indices, y=zero)
    moved = site.one("add", "moved", "INT32", shape, x=indices, y=size)
    site.keep(indices=site.one("select", "indices", "INT32", shape, cond=positive, a=indices, b=moved))
    return True


# iOS 17: `clip` refuses a lower bound that is not below the upper one.


def _clip(site: _Site) -> bool:
    if float(site.known("alpha")) < float(site.known("beta")):
        return False
    x = site.argument("x")
    low = site.one("maximum", "above", *site.type_of(x), x=x, y=site.argument("alpha"))
    site.last("minimum", x=low, y=site.argument("beta"))
    return True


# iOS 17: `crop_resize` takes boxes (count, 4) with the picture of each, and gives (count, channels, height, width).


def _crop_resize(site: _Site) -> bool:
    x, roi = site.argument("x"), site.argument("roi")
    dtype, pictures = site.type_of(x)
    box_dtype, given = site.type_of(roi)
    if len(pictures) != 4 or len(given) != 5 or given[2] not in (4, 5):
        raise _NotKnownError(f"its boxes are of the shape {given}, not (boxes, 1, 4 or 5, 1, 1)")
    if given[0] < 0:
        raise _NotKnownError("how many boxes it cuts is not known")
    declared = shape_of(site.old.outputs[0].type)
    if given[2] == 5:
        repeats = 1
        boxes, indices = _boxes_with_pictures(site, roi, box_dtype, given[0], declared[1])
    else:
        repeats = pictures[0]
        boxes, indices = _boxes_of_all_pictures(site, roi, box_dtype, given[0], repeats)
    cut = [(dtype, (given[0] * repeats, *declared[2:]))]
    inner = site.keep_inner("cut", cut, ["roi"], boxes=boxes, box_indices=indices)[0]
    if repeats == 1:
        site.last("expand_dims", x=inner, axes=site.constant(_integers(1), "axes"))
    elif (np.array(declared) < 0).sum() > 1:
        raise _NotKnownError("more than one size of its result is not known")
    else:
        site.last("reshape", x=inner, shape=site.constant(_integers(*declared), "shape"))
    return True


def _boxes_with_pictures(site: _Site, roi: str, dtype: str, count: int, declared: int) -> tuple[str, str]:
    """Add the boxes and the indices of their pictures, taken apart."""
    if declared != 1:
        raise _NotKnownError(f"its boxes name their pictures, but its result is declared for {declared} pictures each")
    both = _flat(site, roi, dtype, count, 5)
    mask = site.constant(np.array([True, False]), "mask")
    begin, end = site.constant(_integers(0, 1), "begin"), site.constant(_integers(0, 5), "end")
    boxes = site.one(
        "slice_by_index", "boxes", dtype, (count, 4), x=both, begin=begin, end=end, begin_mask=mask, end_mask=mask
    )
    column = _first_column(site, both, dtype, count)
    to = site.constant(np.array("int32", object), "dtype")
    return boxes, site.one("cast", "box_indices", "INT32", (count,), x=column, dtype=to)


def _boxes_of_all_pictures(site: _Site, roi: str, dtype: str, count: int, pictures: int) -> tuple[str, str]:
    """Add each box once per picture, and the indices of the pictures."""
    if pictures < 0:
        raise _NotKnownError("how many pictures it cuts boxes from is not known")
    boxes = _flat(site, roi, dtype, count, 4)
    if pictures > 1:
        repeats = site.constant(_integers(1, pictures), "repeats")
        rows = site.one("tile", "tiled", dtype, (count, 4 * pictures), x=boxes, reps=repeats)
        boxes = _flat(site, rows, dtype, count * pictures, 4)
    return boxes, site.constant(np.tile(np.arange(pictures, dtype=np.int32), count), "box_indices")


def _flat(site: _Site, name: str, dtype: str, count: int, width: int) -> str:
    shape = site.constant(_integers(count, width), "flat_shape")
    return site.one("reshape", "flat", dtype, (count, width), x=name, shape=shape)


def _first_column(site: _Site, name: str, dtype: str, count: int) -> str:
    begin, every = site.constant(_integers(0, 0), "origin"), site.constant(np.array([True, False]), "every")
    first = site.constant(np.array([False, True]), "first")
    return site.one(
        "slice_by_index", "column", dtype, (count,), x=name, begin=begin, end=begin, begin_mask=every, end_mask=every,
        squeeze_mask=first,
    )  # fmt: skip


# iOS 17: `non_maximum_suppression` has the boxes on the last axis, no threshold of the scores, and gives no number of
# boxes. Boxes below the threshold can't suppress one above it, for the better score goes first; so those that the
# threshold would have rejected can be taken from the end of the result.

_LEAST = {"FLOAT32": -3.4e38, "FLOAT16": -65504.0}  # what coremltools writes for no threshold


def _non_maximum_suppression(site: _Site) -> bool:
    boxes, scores = site.argument("boxes"), site.argument("scores")
    dtypes = [site.type_of(name)[0] for name in (boxes, scores)]
    shapes = [site.type_of(name)[1] for name in (boxes, scores)]
    batch, most = shape_of(site.old.outputs[2].type)
    perm = site.constant(_integers(0, 2, 1), "perm")
    inputs = {}
    for key, name, dtype, shape in zip(("boxes", "scores"), (boxes, scores), dtypes, shapes, strict=True):
        inputs[key] = site.one("transpose", key, dtype, (shape[0], shape[2], shape[1]), x=name, perm=perm)
    kept_shapes = [(batch, shape[2], most) for shape in shapes]
    results = [*zip(dtypes, kept_shapes, strict=True), ("INT32", (batch, most))]
    kept = site.keep_inner("kept", results, ["score_threshold"], **inputs)
    zero = site.constant(np.array(0, np.int32), "zero")
    valid = site.one("greater_equal", "filled", "BOOL", (batch, most), x=kept[2], y=zero)
    rejects = not float(site.known("score_threshold")) <= _LEAST[dtypes[1]]
    if rejects:
        valid = _reaching(site, valid, kept[1], dtypes[1], (batch, most))
    for index, key in enumerate(("boxes", "scores")):
        if not rejects:
            site.last("transpose", index, x=kept[index], perm=perm)
            continue
        rows = site.one(
            "transpose", f"all_{key}", dtypes[index], (batch, most, shapes[index][2]), x=kept[index], perm=perm
        )
        axes = site.constant(_integers(2), "axes")
        mask = site.one("expand_dims", "mask", "BOOL", (batch, most, 1), x=valid, axes=axes)
        nothing = site.constant(np.array(0, DTYPES[dtypes[index]]), "nothing")
        site.last("select", index, cond=mask, a=rows, b=nothing)
    if rejects:
        site.last("select", 2, cond=valid, a=kept[2], b=site.constant(np.array(-1, np.int32), "missing"))
    else:
        site.last("identity", 2, x=kept[2])
    to = site.constant(np.array("int32", object), "dtype")
    ones = site.one("cast", "ones", "INT32", (batch, most), x=valid, dtype=to)
    last = {"axes": site.constant(_integers(1), "axes"), "keep_dims": site.constant(np.array(False), "keep_dims")}
    site.last("reduce_sum", 3, x=ones, **last)
    return True


def _reaching(site: _Site, valid: str, scores: str, dtype: str, shape: Shape) -> str:
    """Add which results are boxes whose best score reaches the threshold; the best of all counts anyway."""
    axes, keep = site.constant(_integers(1), "axes"), site.constant(np.array(False), "keep_dims")
    best = site.one("reduce_max", "best", dtype, shape, x=scores, axes=axes, keep_dims=keep)
    reach = site.one("greater_equal", "reach", "BOOL", shape, x=best, y=site.argument("score_threshold"))
    first = site.constant(np.arange(shape[1])[None] == 0, "first")
    either = site.one("logical_or", "either", "BOOL", shape, x=reach, y=first)
    return site.one("logical_and", "valid", "BOOL", shape, x=valid, y=either)


# iOS 18: compressed constants have their parts as inputs; indices and masks are tensors of less than a byte each,
# where they were packed into bytes with a shape beside them.


def _cast_constant(site: _Site) -> bool:
    _add_compressed(site, {key: value for key, value in site.old.attributes.items() if key != "name"})
    return True


def _lookup_table(site: _Site) -> bool:
    shape, lut = _attribute(site, "shape"), _attribute(site, "lut")
    bits = int(np.log2(lut.size))
    sizes = tuple(int(size) for size in shape)
    table = _reshaped(site.old.attributes["lut"], (1,) * len(sizes) + (lut.size, 1))
    codes = _packed(site, "indices", f"UINT{bits}", sizes)
    _add_compressed(site, {"indices": codes, "lut": table})
    return True


def _sparse(site: _Site) -> bool:
    sizes = tuple(int(size) for size in _attribute(site, "shape"))
    mask = _packed(site, "mask", "UINT1", sizes)
    _add_compressed(site, {"mask": mask, "nonzero_data": site.old.attributes["nonzero_data"]})
    return True


def _attribute(site: _Site, key: str) -> NDArray[Any]:
    if key not in site.old.attributes:
        raise _NotKnownError(f"it has no parameter {key}")
    return np.asarray(value_of(site.old.attributes[key], site.model))


def _reshaped(value: Any, shape: Shape) -> Any:
    """Return a value of the program in another shape, its data as they are."""
    copy = _copied(value)
    name = data_type(copy.type)
    copy.type.Clear()
    _set_type(copy.type, name, shape)
    return copy


def _packed(site: _Site, key: str, dtype: str, shape: Shape) -> Any:
    """Return packed bytes as a tensor of what they hold; both forms pack from the least significant bit on."""
    value = site.old.attributes[key]
    if dtype not in SUB_BYTE_BITS:  # whole bytes
        return _reshaped(value, shape)
    is_blob = value.WhichOneof("value") == "blobFileValue"
    data = blob_of(value, site.model).data if is_blob else value.immediateValue.tensor.bytes.values
    copy = MIL_pb2.Value()
    copy.immediateValue.tensor.bytes.values = data
    _set_type(copy.type, dtype, shape)
    return copy


def _add_compressed(site: _Site, parts: dict[str, Any]) -> None:
    made = _copied(site.old)
    for key in [key for key in made.attributes if key != "name"]:
        del made.attributes[key]
    for key, value in sorted(parts.items()):
        made.inputs[key].arguments.add().value.CopyFrom(value)
    site.operations.append(made)


# Operations by type that a newer operator set reads differently.
CHANGES: dict[str, Change] = {
    "clip": Change(IOS17, _clip),
    "constexpr_cast": Change(IOS18, _cast_constant),
    "constexpr_lut_to_dense": Change(IOS18, _lookup_table),
    "constexpr_sparse_to_dense": Change(IOS18, _sparse),
    "crop_resize": Change(IOS17, _crop_resize),
    "gather": Change(IOS17, _index_along_axis("x")),
    "gather_along_axis": Change(IOS17, _index_along_axis("x")),
    "gather_nd": Change(IOS17, _index_of_many_axes("x")),
    "non_maximum_suppression": Change(IOS17, _non_maximum_suppression),
    "scatter": Change(IOS17, _index_along_axis("data")),
    "scatter_along_axis": Change(IOS17, _index_along_axis("data")),
    "scatter_nd": Change(IOS17, _index_of_many_axes("data")),
}
