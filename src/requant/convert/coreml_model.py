"""Originals that are Core ML models already: checked to be float, and made uniform."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from requant.coreml.inventory import require_float, stored_weights
from requant.coreml.kind import Kind
from requant.coreml.model import Model, load
from requant.coreml.network import decode, set_float32, weight_fields
from requant.errors import RequantError


def convert(path: Path) -> Model:
    """Return the float model of a Core ML original.

    A NeuralNetwork's float16 weights become float32, which loses nothing: quantizers that look for float32 weights
    skip all others in silence. An ML Program keeps the precision that it has, for its operations are typed by it.

    Raises:
        RequantError: if it can't be read, has no weights to quantize, or is quantized already.
    """
    model = load(path)
    if not stored_weights(model):
        raise RequantError(f"{path} has no weights that could be quantized; ship it as it is.")
    require_float(model)
    return _in_float32(model) if model.kind is Kind.NEURAL_NETWORK else model


def _in_float32(model: Model) -> Model:
    spec = model.copy_spec()
    for field in weight_fields(spec):
        if field.params.float16Value and field.kind != "custom":
            set_float32(field.params, decode(field))
    return dataclasses.replace(model, spec=spec)
