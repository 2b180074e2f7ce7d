"""What a model is made of, in words: what `requant describe` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from requant.coreml.deployment import oldest_system
from requant.coreml.description import Feature, inputs_of, outputs_of
from requant.coreml.inventory import stored_weights
from requant.coreml.kind import KINDS, PIPELINES
from requant.coreml.model import Model
from requant.coreml.network import network_of, walk_layers
from requant.coreml.pipeline import parts_of, stages_of
from requant.coreml.program import all_operations, is_constant
from requant.coreml.reading import reading
from requant.coreml.weights import StoredWeight, bits_per_weight
from requant.errors import printable
from requant.quantize.variant import facts_of


def describe(model: Model, size: int, tensors: bool = False) -> str:
    """Return a model's inputs, outputs, size, weights by stored form, oldest system, and layers by type.

    Args:
        model: of any kind.
        size: of its file, in bytes.
        tensors: whether to name every weight tensor too.

    Raises:
        RequantError: if it is damaged.
    """
    with reading(model.path):
        return "\n".join(printable(line.replace("\n", " ")) for line in _lines(model, size, tensors))


def _lines(model: Model, size: int, tensors: bool) -> Iterator[str]:
    yield f"{model.path}: {_title(model)}, {size / 1e6:.2f} MB, {_system(model)}"
    for function in _function_names(model):
        yield from [f"  function {function}"] if function else []
        for title, features in (("input", inputs_of(model, function)), ("output", outputs_of(model, function))):
            yield from (f"  {title} {_feature(feature)}" for feature in features)
    yield from (f"  state {state.name}: {_shape(state)}" for state in model.spec.description.state)
    yield from _contents(model, tensors)


def _title(model: Model) -> str:
    body = model.spec.WhichOneof("Type")
    return str(KINDS.get(body, body))


def _system(model: Model) -> str:
    system = oldest_system(model)
    return f"iOS {system.ios} and macOS {system.macos} or newer"


def _function_names(model: Model) -> list[str]:
    return [function.name for function in model.spec.description.functions] or [""]


def _feature(feature: Feature) -> str:
    shape = " x ".join("any" if size < 0 else str(size) for size in feature.open_shape)
    kind = {"picture": feature.colour, "array": feature.dtype}.get(feature.type, "")
    optional = "(may be left out)" if feature.optional else ""
    return f"{feature.name}: " + " ".join(filter(None, [feature.type, shape, kind, optional]))


def _shape(state: Any) -> str:
    return " x ".join(map(str, state.type.stateType.arrayType.shape))


def _contents(model: Model, tensors: bool, prefix: str = "") -> Iterator[str]:
    body = model.spec.WhichOneof("Type")
    if body in PIPELINES:
        stages = [(name, stage.spec.WhichOneof("Type"), stage) for name, stage in stages_of(model)]
        yield f"  {len(stages)} models one after the other: " + ", ".join(kind for _, kind, _ in stages)
        for name, kind, stage in stages:
            if kind in KINDS or kind in PIPELINES:
                yield f"  in the {kind} {prefix}{name}:"
                yield from (f"  {line}" for line in _contents(stage, tensors, f"{prefix}{name}/"))
    if not prefix and not parts_of(model):
        yield "  no weights to quantize"
    if body not in KINDS:
        return
    weights = stored_weights(model)
    yield f"  {_count(weights)}"
    yield from _forms(weights)
    if tensors:
        readers = {facts.name: facts.types for facts in facts_of(model)}
        yield from (_tensor(weight, prefix, readers.get(weight.name, ())) for weight in weights)
    counted = _layer_types(model).most_common()
    word = "operations" if body == "mlProgram" else "layers"
    total = sum(n for _, n in counted)
    yield f"  {total} {word[: None if total != 1 else -1]}: " + ", ".join(f"{n} {name}" for name, n in counted)


def _count(weights: list[StoredWeight]) -> str:
    if not weights:
        return "no weights to quantize"
    count = sum(weight.values.size for weight in weights)
    return f"{count:,} weights in {len(weights)} tensors, {bits_per_weight(weights):.2f} bits per weight"


def _layer_types(model: Model) -> Counter[str]:
    if model.spec.WhichOneof("Type") == "mlProgram":
        return Counter(operation.type for operation in all_operations(model.spec) if not is_constant(operation))
    return Counter(layer.WhichOneof("layer") for layer in walk_layers(network_of(model.spec).layers))


def _forms(weights: list[StoredWeight]) -> Iterator[str]:
    """Yield a line per stored form, the one that takes most bytes first."""
    groups: dict[str, list[StoredWeight]] = {}
    for weight in weights:
        groups.setdefault(_form(weight), []).append(weight)
    for form, members in sorted(groups.items(), key=lambda item: -sum(w.stored_bytes for w in item[1])):
        count, stored = sum(w.values.size for w in members), sum(w.stored_bytes for w in members)
        tensors = f"{len(members)} tensor" + ("s" if len(members) != 1 else "")
        yield f"    {form}: {count:,} weights in {tensors}, {stored / 1e6:.2f} MB"


def _tensor(weight: StoredWeight, prefix: str, types: Sequence[str]) -> str:
    """Return a line of a tensor; the types are those that rules of the configuration look at."""
    shape = " x ".join(map(str, weight.values.shape))
    return f"    {prefix}{weight.name}: {shape}, {_form(weight)}" + (f", of {' and '.join(types)}" if types else "")


def _form(weight: StoredWeight) -> str:
    bits = f", {weight.bits} bit" + ("s" if weight.bits != 1 else "") if 0 < weight.bits < 16 else ""
    return f"{weight.form}{bits}"


def describe_audit(record: Mapping[str, Any]) -> str:
    """Return what a variant stores, tensor by tensor, from its audit (`requant.coreml.audit`)."""
    snr = _decibels(record["weight_snr_db"])
    lines = [
        f"  {record['bits_per_weight']:.2f} bits per weight, weight SNR {snr}, iOS {record['ios']} and macOS "
        f"{record['macos']} or newer"
    ]
    for tensor in record["tensors"]:
        shape = " x ".join(map(str, tensor["shape"]))
        became = f"{tensor['form']}, {tensor['bits_per_weight']:.2f} bits per weight, SNR {_decibels(tensor['snr_db'])}"
        why = f" ({tensor['reason']})" if tensor["reason"] else ""
        lines.append(f"    {tensor['name']}: {shape}, {became}{why}")
    return "\n".join(lines)


def _decibels(value: float | None) -> str:
    return "infinite (equal)" if value is None else f"{value:.1f} dB"
