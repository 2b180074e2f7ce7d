"""Originals that are Core ML models already: checked to be float, and made uniform."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from requant.convert.settings import ConversionSettings
from requant.coreml.inventory import network_fields, require_float
from requant.coreml.kind import Kind
from requant.coreml.model import Model, load
from requant.coreml.network import WeightField, decode, set_float32
from requant.coreml.reading import reading


def convert(path: Path, settings: ConversionSettings | None = None) -> Model:
    """Return the float model of a Core ML original.

    A NeuralNetwork's float16 weights become float32, which loses nothing: quantizers that look for float32 weights
    skip all others in silence. An ML Program keeps the precision that it has, for its operations are typed by it. In a
    pipeline, this holds for each network and program in it; its other models stay as they are, as does a model in which
    there is nothing to quantize.

    Args:
        path: of the original.
        settings: other formats have them; a Core ML model says itself all that there is to know.

    Raises:
        RequantError: if it can't be read, is quantized already, or has networks and programs together.
    """
    del settings
    model = load(path)
    with reading(path):
        kind = model.kind
        require_float(model)
        return _in_float32(model) if kind is Kind.NEURAL_NETWORK else model


def _in_float32(model: Model) -> Model:
    if not any(_is_float16(field) for field in network_fields(model)):
        return model
    changed = dataclasses.replace(model, spec=model.copy_spec())
    for field in filter(_is_float16, network_fields(changed)):
        set_float32(field.params, decode(field))
    return changed


def _is_float16(field: WeightField) -> bool:
    return bool(field.params.float16Value) and field.kind != "custom"
