"""Making one variant of a float model: quantized, described, written canonically, read back and audited."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from requant.coreml.audit import audit
from requant.coreml.inventory import require_float, stored_weights
from requant.coreml.kind import Kind
from requant.coreml.model import Model, load, to_bytes
from requant.errors import RequantError
from requant.quantize.custom import load_table_function
from requant.quantize.lookup import TableFunction, clustered, evenly_spaced
from requant.quantize.network import quantize_network
from requant.quantize.program import quantize_program
from requant.quantize.scheme import FLOAT16_BITS, Scheme, require_storable
from requant.records import write_whole

_TABLE_FUNCTIONS: dict[str, TableFunction] = {"linear_lut": evenly_spaced, "kmeans": clustered}


def quantize(model: Model, scheme: Scheme, custom_lut: str | None = None) -> Model:
    """Return a float model with its weights stored as a scheme says; the model given is not changed.

    Author, licence, descriptions and metadata are kept; the description gets a line that says what was done.

    Args:
        model: a NeuralNetwork or an ML Program with float weights.
        scheme: the mode and the bits.
        custom_lut: `file.py:function` for the mode `custom_lut`.

    Raises:
        RequantError: if the model is quantized already, its kind can't store the scheme, a weight is not finite, or the
            user's function fails or returns what does not fit.
    """
    require_storable(scheme, model.kind)
    require_float(model)
    function = _table_function(scheme, custom_lut)
    quantizer = quantize_network if model.kind is Kind.NEURAL_NETWORK else quantize_program
    variant = quantizer(model, scheme, function)
    metadata = variant.spec.description.metadata
    note = f"Weights quantized by requant, {scheme}: {scheme.description}."
    metadata.shortDescription = "\n".join(filter(None, [metadata.shortDescription, note]))
    return variant


def _table_function(scheme: Scheme, custom_lut: str | None) -> TableFunction | None:
    if scheme.mode == "custom_lut" and scheme.bits != FLOAT16_BITS:
        if not custom_lut:
            raise RequantError("the mode custom_lut wants a function of yours: custom_lut: file.py:function")
        return load_table_function(custom_lut)
    return _TABLE_FUNCTIONS.get(scheme.mode)


def make_variant(float_model: Path, scheme: Scheme, output: Path, custom_lut: str | None = None) -> dict[str, Any]:
    """Write a variant of the float model in a file and return the audit of the bytes written.

    Raises:
        RequantError: as `quantize`, and if the variant came out no smaller than the float model although it has
            weights to quantize.
    """
    source = load(float_model)
    variant = quantize(source, scheme, custom_lut)
    name = output.name.removesuffix(source.kind.suffix)
    data = to_bytes(variant, name)
    write_whole(output, data)
    record = audit(load(output), source, str(scheme))
    before = len(to_bytes(source, name))
    if len(data) >= before and not _has_nothing_to_gain(source, scheme):
        output.unlink()
        raise RequantError(
            f"{scheme} made {float_model} no smaller ({len(data)} bytes, before {before}). Its tensors are too "
            "small to gain anything; ship it in 16 bits or as it is."
        )
    return record


def _has_nothing_to_gain(source: Model, scheme: Scheme) -> bool:
    """Return whether a variant as large as its source is expected: 16 bits of what is float16 already."""
    return scheme.bits == FLOAT16_BITS and all(weight.form == "float16" for weight in stored_weights(source))
