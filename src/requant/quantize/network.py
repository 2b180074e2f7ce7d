"""Storing quantized weights in a NeuralNetwork."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from requant.coreml.deployment import FLOAT16_WEIGHTS, QUANTIZED_WEIGHTS
from requant.coreml.model import Model
from requant.coreml.network import WeightField, decode, set_float16, weight_fields
from requant.coreml.packing import pack
from requant.errors import RequantError
from requant.quantize.linear import LinearCodes, quantize_linear, quantize_symmetric
from requant.quantize.lookup import LookupTable, TableFunction
from requant.quantize.scheme import FLOAT16_BITS, Scheme

LINEAR: dict[str, Callable[[NDArray[np.float32], int, int], LinearCodes]] = {
    "linear": quantize_linear,
    "linear_symmetric": quantize_symmetric,
}
LARGEST_FLOAT16 = float(np.finfo(np.float16).max)


def quantize_network(model: Model, scheme: Scheme, table_function: TableFunction | None) -> Model:
    """Return a NeuralNetwork with its weights stored as a scheme says.

    At 16 bits all numbers become float16, but a layer with a number beyond float16's range (65504) stays float32, for
    Core ML refuses a layer of both, and so does a custom layer, whose own code reads its weights. Below, the weights of
    layers are quantized; biases and parameters of normalizations stay in float.

    Args:
        model: a NeuralNetwork with float32 weights; it is not changed.
        scheme: the mode and the bits.
        table_function: makes the lookup table of a tensor; None for the linear modes.

    Raises:
        RequantError: if the network is updatable, or a weight is not finite.
    """
    spec = model.copy_spec()
    if spec.isUpdatable:
        raise RequantError(
            f"{model.path} is an updatable model: Core ML trains its weights on the device, in float32. It can't be "
            "quantized."
        )
    fields = weight_fields(spec)
    weights = [decode(field) for field in fields]
    for field, numbers in zip(fields, weights, strict=True):
        if not np.isfinite(numbers).all():
            raise RequantError(f"{model.path}: the weights {field.name} hold numbers that are not finite.")
    if scheme.bits == FLOAT16_BITS:
        _store_float16(fields, weights)
    else:
        for field, numbers in zip(fields, weights, strict=True):
            if field.quantizable:
                _store(field, numbers, scheme, table_function)
    version = FLOAT16_WEIGHTS if scheme.bits == FLOAT16_BITS else QUANTIZED_WEIGHTS
    spec.specificationVersion = max(spec.specificationVersion, version)
    return dataclasses.replace(model, spec=spec)


def _store_float16(fields: list[WeightField], weights: list[NDArray[np.float32]]) -> None:
    stay = {
        field.layer
        for field, numbers in zip(fields, weights, strict=True)
        if field.kind == "custom" or np.abs(numbers).max() > LARGEST_FLOAT16
    }
    for field, numbers in zip(fields, weights, strict=True):
        if field.layer not in stay:
            set_float16(field.params, numbers)


def _store(field: WeightField, weights: NDArray[np.float32], scheme: Scheme, function: TableFunction | None) -> None:
    if function is None:
        channels, axis = (weights.reshape(1, -1), 0) if field.axis is None else (weights, field.axis)
        store_linear(field.params, LINEAR[scheme.mode](channels, scheme.bits, axis), scheme.bits)
    else:
        store_lookup_table(field.params, function(scheme.bits, weights), scheme.bits)


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
