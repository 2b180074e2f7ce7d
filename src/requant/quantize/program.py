"""Which constants of an ML Program take a scheme, and the program rewritten with them.

The program's own messages are edited: a `const` becomes one or more `constexpr_*` operations with the same result
(`requant.quantize.constants`), and the weight file is written anew. All else stays as it was, to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from requant.coreml.kind import Kind
from requant.coreml.model import Model
from requant.coreml.program import (
    blob_bytes,
    blob_values,
    block_of,
    constant_results,
    data_type,
    functions,
    is_stored_in_float16,
    operation_name,
    shape_of,
    value_of,
    walk_blocks,
    walk_operations,
)
from requant.coreml.systems import OPSETS
from requant.coreml.weights import LARGEST_FLOAT16
from requant.errors import RequantError
from requant.progress import Progress
from requant.quantize.constants import (
    FLOATS,
    Spool,
    float16_constant,
    linear_constant,
    palette_constant,
    sparse_constant,
    stored_size,
    with_fresh_names,
)
from requant.quantize.kmeans import kmeans_tables
from requant.quantize.linear import quantize_affine
from requant.quantize.lookup import TableFunction, count_distinct, distinct_bits
from requant.quantize.palettize import palettize
from requant.quantize.pruning import kept, require_sparsity
from requant.quantize.scheme import SCHEMES, Scheme, has_one_kmeans_table
from requant.quantize.selection import Choice, Selection, TensorFacts, UnstorableError


@dataclass(frozen=True)
class Reading:
    """How the operations of a program read a constant.

    Attributes:
        types: of the operations.
        axes: of the output channels and of the input channels, as the first of them has them.
        groups: the greatest number of groups of a convolution that reads it.
    """

    types: tuple[str, ...] = ()
    axes: tuple[int, int] = (0, 1)
    groups: int = 1


def quantize_program(
    model: Model,
    scheme: Scheme,
    selection: Selection,
    table_functions: Mapping[str, TableFunction],
    version: int,
    spool: Spool,
    prefix: str = "",
) -> dict[str, Choice]:
    """Store the weights of an ML Program as a scheme says, in the model's own messages.

    Weights are the float constants in the weight file. Those with one axis, and those that the selection leaves out,
    stay as they are. The weight file is not written: see `requant.quantize.constants.with_new_weight_file`.

    Args:
        model: an ML Program with float weights, whose spec may be changed.
        scheme: what is done to the weights.
        selection: which of them take it.
        table_functions: by mode.
        version: the specification version of the functions' operator sets.
        spool: takes the new constants.
        prefix: of the names of weights, in a pipeline.

    Returns:
        What was asked for each tensor.

    Raises:
        RequantError: if a weight is not finite, or can't take the scheme and the selection refuses that.
    """
    choices: dict[str, Choice] = {}
    for function in functions(model.spec).values():
        block = block_of(function)
        readings = readings_of(block, model)
        # A function's own operator set may be newer already; its constants then have the newer forms.
        names = {output.name for operation in walk_operations(block) for output in operation.outputs}
        asked = _Asked(
            model, scheme, selection, table_functions, max(version, OPSETS.get(function.opset, version)), prefix
        )
        asked = asked.with_tables(block, readings)
        progress = Progress(f"{model.path.name}: quantizing {scheme}", _bytes_of_weights(block, model))
        for inner in walk_blocks(block):
            for index in reversed(range(len(inner.operations))):
                operation = inner.operations[index]
                if is_weight(operation):
                    reading = readings.get(operation_name(operation), Reading())
                    size = blob_bytes(operation, model)
                    choices[prefix + operation_name(operation)], made = asked.choose(operation, reading)
                    _replace(inner.operations, index, spool.take(with_fresh_names(made, names)))
                    progress.advance(size)
    return dict(reversed(choices.items()))


def _replace(operations: Any, index: int, made: list[Any]) -> None:
    """Put operations in the place of one; nothing for none."""
    for offset, operation in enumerate(made[:-1]):
        operations.insert(index + offset, operation)
    for last in made[-1:]:
        operations[index + len(made) - 1].CopyFrom(last)


def may_change(model: Model, scheme: Scheme, selection: Selection, prefix: str = "") -> bool:
    """Return whether any weight of a program is asked to be stored otherwise than it is."""
    for function in functions(model.spec).values():
        readings = readings_of(block_of(function), model)
        for operation in filter(is_weight, walk_operations(block_of(function))):
            facts = _facts(operation, readings.get(operation_name(operation), Reading()), prefix)
            wanted = selection.choose(facts, scheme, Kind.ML_PROGRAM).scheme
            if wanted and not (wanted.is_float16 and is_stored_in_float16(operation)):
                return True
    return False


def is_weight(operation: Any) -> bool:
    """Return whether an operation is a constant in the weight file whose numbers are floats."""
    if operation.type not in ("const", "constexpr_cast"):
        return False
    return any(data_type(value.type) in FLOATS for value in blob_values(operation))


def _bytes_of_weights(block: Any, model: Model) -> int:
    return sum(blob_bytes(operation, model) for operation in walk_operations(block) if is_weight(operation))


def _facts(operation: Any, reading: Reading, prefix: str) -> TensorFacts:
    shape = shape_of(operation.outputs[0].type)
    return TensorFacts(prefix + operation_name(operation), reading.types, shape, int(np.prod(shape)))


def program_facts(model: Model, prefix: str = "") -> list[TensorFacts]:
    """Return what rules look at, for every weight of a program."""
    return [
        _facts(operation, readings.get(operation_name(operation), Reading()), prefix)
        for function in functions(model.spec).values()
        for readings in [readings_of(block_of(function), model)]
        for operation in walk_operations(block_of(function))
        if is_weight(operation)
    ]


def readings_of(block: Any, model: Model) -> dict[str, Reading]:
    """Return how the operations of a block, and of those in it, read each constant by its name.

    A convolution has the output channels of its weight first, a transposed one second; a matrix product last, or last
    but one where it transposes its operand (as coremltools' `select_input_output_channel_axis`).
    """
    ranks = {o.name: len(o.type.tensorType.dimensions) for op in walk_operations(block) for o in op.outputs}
    small = _small_constants(block, model)
    readings: dict[str, Reading] = {}
    for operation in walk_operations(block):
        for parameter, name in _names(operation):
            found = readings.get(name)
            axes = found.axes if found else _axes(operation, parameter, ranks.get(name, 0), small)
            groups = _groups(operation, small) if operation.type.startswith("conv") else 1
            types = tuple(sorted({*(found.types if found else ()), operation.type}))
            readings[name] = Reading(types, axes, max(groups, found.groups if found else 1))
    return readings


def _names(operation: Any) -> Iterator[tuple[str, str]]:
    for parameter, argument in sorted(operation.inputs.items()):
        for binding in argument.arguments:
            if binding.WhichOneof("binding") == "name":
                yield parameter, binding.name


def _first(operation: Any, parameter: str) -> str:
    return next((name for key, name in _names(operation) if key == parameter), "")


def _groups(operation: Any, small: Mapping[str, Any]) -> int:
    groups = small.get(_first(operation, "groups"), 1)
    if not isinstance(groups, int):
        raise RequantError(
            f"the operation {operation_name(operation)!r} has the groups {groups!r}, which is no number."
        )
    return groups


def _small_constants(block: Any, model: Model) -> dict[str, Any]:
    """Return the single numbers among the constants of a block by name."""
    values = {
        operation_name(o): np.asarray(value_of(o.attributes["val"], model))
        for o in walk_operations(block)
        if o.type == "const" and o.outputs and not o.outputs[0].type.tensorType.dimensions
        if o.attributes["val"].type.WhichOneof("type") == "tensorType"
        and not o.attributes["val"].type.tensorType.dimensions
    }
    return {name: value.item() for name, value in values.items() if value.size == 1}


def _axes(operation: Any, parameter: str, rank: int, small: Mapping[str, Any]) -> tuple[int, int]:
    if operation.type == "conv_transpose":
        return 1, 0
    if operation.type == "matmul" and rank > 1:
        transposed = bool(small.get(_first(operation, f"transpose_{parameter}"), False))
        last_is_output = transposed != (parameter == "y")
        return (rank - 1, rank - 2) if last_is_output else (rank - 2, rank - 1)
    return 0, 1


@dataclass(frozen=True)
class _Asked:
    """What is asked of a function's constants; the fields are the arguments of `quantize_program`."""

    model: Model
    scheme: Scheme
    selection: Selection
    table_functions: Mapping[str, TableFunction]
    version: int
    prefix: str
    tables: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def with_tables(self, block: Any, readings: Mapping[str, Reading]) -> _Asked:
        """Return the same with the k-means tables of all tensors that have just one: together they are made quicker."""
        wanted: dict[Scheme, list[Any]] = {}
        for operation in walk_operations(block):
            if is_weight(operation):
                facts = _facts(operation, readings.get(operation_name(operation), Reading()), self.prefix)
                scheme = self.selection.choose(facts, self.scheme, Kind.ML_PROGRAM).scheme
                if scheme and has_one_kmeans_table(scheme) and len(facts.shape) > 1:
                    wanted.setdefault(scheme, []).append(operation)
        tables: dict[str, NDArray[np.float32]] = {}
        for scheme, operations in wanted.items():
            operations.sort(key=lambda operation: int(np.prod(shape_of(operation.outputs[0].type))))
            weights = self._each_finite(operations, f"{self.model.path.name}: tables of {scheme}")
            made = kmeans_tables(weights, 1 << scheme.bits, keep_zeros=scheme.zeros)
            tables |= dict(zip(map(operation_name, operations), made, strict=True))
        return replace(self, tables=tables)

    def _each_finite(self, operations: list[Any], what: str) -> Iterator[NDArray[Any]]:
        sizes = [blob_bytes(operation, self.model) for operation in operations]
        progress = Progress(what, sum(sizes))
        for operation, size in zip(operations, sizes, strict=True):
            yield self.finite(operation)
            progress.advance(size)

    def finite(self, operation: Any) -> NDArray[Any]:
        """Return the numbers of a constant.

        Raises:
            RequantError: if one is not finite.
        """
        weights = np.asarray(constant_results(operation, self.model, {})[operation_name(operation)])
        if not np.isfinite(weights).all():
            name = self.prefix + operation_name(operation)
            raise RequantError(f"{self.model.path}: the weights {name} hold numbers that are not finite.")
        return weights

    def choose(self, operation: Any, reading: Reading) -> tuple[Choice, list[Any]]:
        """Return what is asked for a tensor, and the operations that store it; none for one that stays as it is."""
        facts = _facts(operation, reading, self.prefix)
        weights = self.finite(operation)
        choice = self.selection.choose(facts, self.scheme, Kind.ML_PROGRAM)
        if choice.scheme and len(facts.shape) < 2:
            choice = Choice(None, "it has one axis; Core ML compresses tensors with two or more")
        while choice.scheme:
            try:
                ready = self.tables.get(operation_name(operation)) if has_one_kmeans_table(choice.scheme) else None
                made = _stored(operation, weights, choice.scheme, reading, self.table_functions, self.version, ready)
                before, after = stored_size([operation], self.model), stored_size(made, self.model)
                if after >= before:
                    raise UnstorableError(f"it would take {after:,} bytes instead of {before:,}")
                return choice, made
            except UnstorableError as error:
                choice = _without(choice, str(error), facts.name, self.selection, weights)
        return choice, []


def _without(choice: Choice, why: str, name: str, selection: Selection, weights: NDArray[Any]) -> Choice:
    """Return what a tensor becomes that can't take what was chosen."""
    if not (choice.scheme and choice.scheme.is_float16):
        return selection.otherwise(choice, why, name)
    beyond = float(np.abs(weights).max()) > LARGEST_FLOAT16
    if beyond and selection.beyond_float16 == "refuse":
        raise RequantError(f"the tensor {name}: {why}. Set beyond_float16 to float32 to keep such tensors in float32.")
    return Choice(None, "; ".join(filter(None, [choice.reason, why])))


def _stored(
    operation: Any,
    weights: NDArray[Any],
    scheme: Scheme,
    reading: Reading,
    table_functions: Mapping[str, TableFunction],
    version: int,
    ready: NDArray[np.float32] | None,
) -> list[Any]:
    """Return the operations that store a tensor; `ready` is its table, if it has been made already.

    Raises:
        UnstorableError: if its shape or numbers do not take the scheme.
    """
    if scheme.is_float16:
        return _in_float16(operation, weights, version)
    mask = _mask(weights, scheme, reading)
    if mask is not None and not mask.any():
        raise UnstorableError("no weight would be left")
    if scheme.mode is None:
        assert mask is not None
        return sparse_constant(operation, weights, version, mask)
    if scheme.is_linear:
        dense = weights if mask is None else np.where(mask, weights, weights.dtype.type(0))
        codes = quantize_affine(
            dense,
            scheme.bits,
            blocks_of(scheme, weights.shape, reading.axes),
            weights.dtype,
            signed=bool(scheme.signed),
            symmetric=scheme.mode == "linear_symmetric",
        )
        return linear_constant(operation, codes, scheme.bits, version, mask)
    _require_whole_vectors(weights.shape, scheme, reading)
    if scheme.mode == "unique":
        scheme = replace(scheme, bits=_unique_bits(weights, scheme, version))
    axis = reading.axes[0]
    palette = palettize(weights, scheme, axis, table_functions[str(scheme.mode)], mask, ready)
    of_codes = None if mask is None else mask.take(range(0, weights.shape[axis], scheme.vector), axis)
    return palette_constant(operation, palette, version, of_codes)


def _in_float16(operation: Any, weights: NDArray[Any], version: int) -> list[Any]:
    if is_stored_in_float16(operation):
        raise UnstorableError("it is stored in float16 already")
    largest = float(np.abs(weights).max())
    if largest > LARGEST_FLOAT16:
        raise UnstorableError(f"it holds numbers up to {largest:.5g}, beyond float16's range of {LARGEST_FLOAT16:.0f}")
    return float16_constant(operation, weights, version)


def _mask(weights: NDArray[Any], scheme: Scheme, reading: Reading) -> NDArray[np.bool_] | None:
    if scheme.pruning is None:
        return None
    _require_whole_vectors(weights.shape, scheme, reading)
    mask = kept(weights, scheme.pruning, reading.axes, scheme.vector)
    require_sparsity(mask, scheme.pruning, reading.axes, scheme.vector)
    return mask


def _require_whole_vectors(shape: tuple[int, ...], scheme: Scheme, reading: Reading) -> None:
    """Make sure that vectors divide the output channels, those of each group of a convolution too."""
    channels = shape[reading.axes[0]]
    if reading.axes[0] == 0:
        channels //= reading.groups
    if channels % scheme.vector:
        raise UnstorableError(f"its {channels} output channels can't be divided into vectors of {scheme.vector}")


def blocks_of(scheme: Scheme, shape: tuple[int, ...], axes: tuple[int, int]) -> tuple[int, ...]:
    """Return how many blocks with a scale of their own there are along each axis of a tensor.

    Raises:
        UnstorableError: if the size of a block does not divide the input channels.
    """
    blocks = [1] * len(shape)
    if scheme.granularity != "tensor":
        blocks[axes[0]] = shape[axes[0]]
    if scheme.granularity == "block":
        channels = shape[axes[1]]
        if channels % scheme.size:
            raise UnstorableError(f"its {channels} input channels can't be divided into blocks of {scheme.size}")
        blocks[axes[1]] = channels // scheme.size
    return tuple(blocks)


def _unique_bits(weights: NDArray[Any], scheme: Scheme, version: int) -> int:
    """Return the fewest bits, at most those of the scheme, that hold the distinct numbers of a tensor."""
    if scheme.granularity == "group" or scheme.vector > 1:
        return scheme.bits
    available = tuple(bits for bits in SCHEMES[Kind.ML_PROGRAM]["unique"] if bits != 3 or version > 8)
    return distinct_bits(count_distinct(weights), scheme.bits, available)
