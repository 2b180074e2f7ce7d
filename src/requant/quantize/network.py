"""Which weights of a NeuralNetwork take a scheme, and how they are stored in its `WeightParams` messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from requant.coreml.kind import Kind
from requant.coreml.model import Model
from requant.coreml.network import WeightField, decode, set_float16, weight_fields
from requant.coreml.packing import pack
from requant.coreml.weights import LARGEST_FLOAT16
from requant.errors import RequantError
from requant.quantize.kmeans import kmeans_tables, nearest
from requant.quantize.linear import LinearCodes, quantize_linear, quantize_symmetric
from requant.quantize.lookup import LookupTable, TableFunction, count_distinct, distinct_bits
from requant.quantize.scheme import SCHEMES, Scheme, has_one_kmeans_table
from requant.quantize.selection import Choice, Selection, TensorFacts, UnstorableError

LINEAR: dict[str, Callable[[NDArray[np.float32], int, int], LinearCodes]] = {
    "linear": quantize_linear,
    "linear_symmetric": quantize_symmetric,
}


def quantize_network(
    model: Model, scheme: Scheme, selection: Selection, table_functions: Mapping[str, TableFunction], prefix: str = ""
) -> dict[str, Choice]:
    """Store the weights of a NeuralNetwork as a scheme says, in the model's own messages.

    Below 16 bits, the weights of layers are quantized; biases and parameters of normalizations stay in float. Where a
    weight becomes float16, all float numbers of its layer do, for Core ML refuses a layer of float32 and float16. A
    layer with a number beyond float16's range (65504) stays float32, and so does one that Core ML, or the code of a
    custom layer, reads as float32 only.

    Args:
        model: a NeuralNetwork with float32 weights, whose spec may be changed.
        scheme: what is done to the weights.
        selection: which of them take it.
        table_functions: by mode.
        prefix: of the names of weights, in a pipeline.

    Returns:
        What was asked for each weight.

    Raises:
        RequantError: if a weight is not finite, or can't take the scheme and the selection refuses that.
    """
    fields = weight_fields(model.spec)
    choices = {field.name: _choice(field, prefix, scheme, selection) for field in fields}
    for field in fields:
        if not np.isfinite(decode(field)).all():
            raise RequantError(f"{model.path}: the weights {prefix}{field.name} hold numbers that are not finite.")
    tables = _kmeans_tables(fields, choices)
    for field in fields:
        choice = choices[field.name]
        if choice.scheme and not choice.scheme.is_float16:
            try:
                _store(field, decode(field), choice.scheme, table_functions, tables.get(field.name))
            except UnstorableError as error:
                choices[field.name] = selection.otherwise(choice, str(error), prefix + field.name)
    choices |= _store_float16(fields, choices, selection, prefix)
    return {prefix + name: choice for name, choice in choices.items()}


def network_facts(model: Model, prefix: str = "") -> list[TensorFacts]:
    """Return what rules look at, for every weight of a network that can be quantized."""
    return [_facts(field, prefix) for field in weight_fields(model.spec) if field.quantizable]


def _facts(field: WeightField, prefix: str) -> TensorFacts:
    return TensorFacts(prefix + field.name, (field.kind,), field.shape, int(np.prod(field.shape)))


def _choice(field: WeightField, prefix: str, scheme: Scheme, selection: Selection) -> Choice:
    if field.quantizable:
        return selection.choose(_facts(field, prefix), scheme, Kind.NEURAL_NETWORK)
    if scheme.is_float16 and field.float16:
        return Choice(scheme)
    return Choice(None, field.reason)


def _layers(fields: list[WeightField]) -> Iterator[list[WeightField]]:
    layers: dict[str, list[WeightField]] = {}
    for field in fields:
        layers.setdefault(field.layer, []).append(field)
    yield from layers.values()


def _store_float16(
    fields: list[WeightField], choices: Mapping[str, Choice], selection: Selection, prefix: str
) -> dict[str, Choice]:
    """Store the float numbers of each layer that has a weight in float16 as such, and return what changed by that."""
    changed: dict[str, Choice] = {}
    for layer in _layers(fields):
        floats = [field for field in layer if len(field.params.floatValue)]
        asked = {f.name: choice for f in floats if (choice := choices[f.name]).scheme and choice.scheme.is_float16}
        if not asked:
            continue
        weights = [field for field in layer if field.quantizable and field in floats and field.name not in asked]
        reason = _why_not_float16(floats, prefix)
        if reason and selection.beyond_float16 == "refuse":
            raise RequantError(
                f"{reason}. Set beyond_float16 to float32 to keep the layers of such tensors in float32."
            )
        if weights:
            reason = f"{prefix}{weights[0].name} stays float32, and Core ML refuses a layer of both"
        for field in floats:
            if reason:
                said = choices[field.name].reason
                changed[field.name] = Choice(None, "; ".join(filter(None, [said, reason])))
            else:
                set_float16(field.params, decode(field))
                changed[field.name] = asked.get(field.name, Choice(Scheme.of("linear", 16), "its layer is in float16"))
    return changed


def _why_not_float16(fields: list[WeightField], prefix: str) -> str:
    for field in fields:
        largest = float(np.abs(decode(field)).max())
        if largest > LARGEST_FLOAT16:
            return f"{prefix}{field.name} holds numbers up to {largest:.5g}, beyond float16's range of 65504"
    return ""


def _kmeans_tables(fields: list[WeightField], choices: Mapping[str, Choice]) -> dict[str, NDArray[np.float32]]:
    """Return the tables of all weights that take one by k-means, which are quicker made together, by name."""
    wanted: dict[Scheme, list[WeightField]] = {}
    for field in fields:
        scheme = choices[field.name].scheme
        if scheme and has_one_kmeans_table(scheme):
            wanted.setdefault(scheme, []).append(field)
    tables: dict[str, NDArray[np.float32]] = {}
    for scheme, alike in wanted.items():
        alike.sort(key=lambda field: int(np.prod(field.shape)))
        made = kmeans_tables((decode(field) for field in alike), 1 << scheme.bits, keep_zeros=scheme.zeros)
        tables |= dict(zip((field.name for field in alike), made, strict=True))
    return tables


def _store(
    field: WeightField,
    weights: NDArray[np.float32],
    scheme: Scheme,
    table_functions: Mapping[str, TableFunction],
    table: NDArray[np.float32] | None,
) -> None:
    if scheme.is_linear and scheme.mode:
        whole = field.axis is None or scheme.granularity == "tensor"
        channels, axis = (weights.reshape(1, -1), 0) if whole or field.axis is None else (weights, field.axis)
        store_linear(field.params, LINEAR[scheme.mode](channels, scheme.bits, axis), scheme.bits)
        return
    if scheme.mode == "unique":
        available = SCHEMES[Kind.NEURAL_NETWORK]["unique"]
        scheme = replace(scheme, bits=distinct_bits(count_distinct(weights), scheme.bits, available))
    if table is None:
        lookup = table_functions[scheme.mode or ""](scheme.bits, weights)
    else:
        lookup = LookupTable(table, nearest(table, weights))
    store_lookup_table(field.params, lookup, scheme.bits)


def store_linear(params: Any, codes: LinearCodes, bits: int) -> None:
    """Store codes with a scale and a bias per channel in a `WeightParams` message."""
    params.Clear()
    params.quantization.numberOfBits = bits
    params.quantization.linearQuantization.scale.extend(codes.scale.tolist())
    params.quantization.linearQuantization.bias.extend(codes.bias.tolist())
    params.rawValue = pack(codes.codes, bits, "most significant first")


def store_lookup_table(params: Any, lookup: LookupTable, bits: int) -> None:
    """Store indices with their table in a `WeightParams` message."""
    params.Clear()
    params.quantization.numberOfBits = bits
    params.quantization.lookupTableQuantization.floatValue.extend(lookup.table.tolist())
    params.rawValue = pack(lookup.indices, bits, "most significant first")
