"""What a model stores, whichever kind it is, and in a pipeline what all models in it store."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from requant.coreml import network, program
from requant.coreml.kind import Kind
from requant.coreml.model import Model
from requant.coreml.network import WeightField
from requant.coreml.pipeline import parts_of
from requant.coreml.weights import COMPRESSED, Form, StoredWeight
from requant.errors import RequantError


def network_fields(model: Model) -> list[WeightField]:
    """Return every weight field of a NeuralNetwork that holds numbers, or of all those in a pipeline."""
    return [
        dataclasses.replace(field, name=prefix + field.name, layer=prefix + field.layer)
        for prefix, part in parts_of(model)
        if part.kind is Kind.NEURAL_NETWORK
        for field in network.weight_fields(part.spec)
    ]


def each_weight(model: Model) -> Iterator[StoredWeight]:
    """Yield every weight tensor of a model, decoded, with how it is stored, one at a time.

    Raises:
        RequantError: if one is damaged, naming it.
    """
    for prefix, part in parts_of(model):
        weights = network.each_weight(part.spec) if part.kind is Kind.NEURAL_NETWORK else program.each_weight(part)
        for weight in weights:
            yield dataclasses.replace(weight, name=prefix + weight.name) if prefix else weight


def has_weights(model: Model) -> bool:
    """Return whether a model has any weights, without decoding those that are float."""
    return next(_forms(model), None) is not None


def stored_weights(model: Model) -> list[StoredWeight]:
    """Return every weight tensor of a model, decoded, with how it is stored."""
    return list(each_weight(model))


def require_float(model: Model) -> None:
    """Make sure that no weight of a model is quantized, palettized or pruned already.

    Raises:
        RequantError: if one is, naming the tensors and their bits.
    """
    compressed = [(name, form, bits) for name, form, bits in _forms(model) if form in COMPRESSED]
    if compressed:
        shown = [f"  {name}: {form}" + (f", {bits} bits" if bits else "") for name, form, bits in compressed[:8]]
        more = [f"  and {len(compressed) - 8} more"] if len(compressed) > 8 else []
        raise RequantError(
            f"{model.path} is quantized already. Keep the float original; a quantized model cannot be quantized again. "
            "Found:\n" + "\n".join(shown + more)
        )


def _forms(model: Model) -> Iterator[tuple[str, Form, int]]:
    """Yield the name, form and bits of every weight, without decoding those that are float."""
    for prefix, part in parts_of(model):
        if part.kind is Kind.NEURAL_NETWORK:
            for field in network.weight_fields(part.spec):
                yield prefix + field.name, *network.stored_form(field.params)
        else:
            for name, form, bits in program.stored_forms(part):
                yield prefix + name, form, bits
