"""Making one variant of a float model: quantized, described, written canonically, read back and audited."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from requant.coreml.audit import audit
from requant.coreml.inventory import has_weights, require_float
from requant.coreml.kind import Kind
from requant.coreml.model import Model, load, save, size_of
from requant.coreml.pipeline import parts_of, raise_version, updatable_part
from requant.coreml.raising import raised
from requant.coreml.reading import reading
from requant.errors import RequantError
from requant.quantize.constants import Spool, weight_files, with_new_weight_file
from requant.quantize.custom import load_table_function
from requant.quantize.lookup import TableFunction, clustered, distinct, evenly_spaced
from requant.quantize.network import network_facts, quantize_network
from requant.quantize.program import may_change, program_facts, quantize_program
from requant.quantize.scheme import Scheme, needed_version
from requant.quantize.selection import Choice, Selection, TensorFacts, unused_rules
from requant.records import writing

_TABLE_FUNCTIONS: dict[str, TableFunction] = {"linear_lut": evenly_spaced, "kmeans": clustered, "unique": distinct}
SHOWN = 8  # tensors that a message names
EVERY_TENSOR = Selection()


def quantize(model: Model, scheme: Scheme, custom_lut: str | None = None, selection: Selection = EVERY_TENSOR) -> Model:
    """Return a float model with its weights stored as a scheme says; the model given is not changed.

    See `quantize_with_choices`, which says too what became of each tensor.
    """
    return quantize_with_choices(model, scheme, custom_lut, selection)[0]


def quantize_with_choices(
    model: Model,
    scheme: Scheme,
    custom_lut: str | None = None,
    selection: Selection = EVERY_TENSOR,
    *,
    in_place: bool = False,
    require_change: bool = True,
    output: Path | None = None,
) -> tuple[Model, dict[str, Choice]]:
    """Return a float model with its weights stored as a scheme says, and what was asked for each tensor.

    Author, licence, descriptions and metadata are kept; the description gets a line that says what was done.

    Args:
        model: a NeuralNetwork or an ML Program with float weights, or a pipeline of such models.
        scheme: what is done to the weights.
        custom_lut: `file.py:function` for the mode `custom_lut`.
        selection: which tensors take the scheme.
        in_place: whether the model given may be changed, which spares the memory of a copy.
        require_change: whether it is an error that no tensor takes the scheme.
        output: the file that the variant will be in. New weights of an ML Program are kept on its disk, in files
            without a name; None for the system's temporary folder.

    Raises:
        RequantError: if the model has no weights to quantize or is quantized already, its kind can't store the scheme,
            it is updatable, a rule of the selection fits no tensor, a weight is not finite, no tensor takes the scheme,
            an operation can't be raised to the operator set that the scheme needs, the user's function fails or returns
            what does not fit, or the disk is full.
    """
    with reading(model.path), Spool(output) as spool:
        return _quantized(model, scheme, custom_lut, selection, in_place, require_change, spool)


def _quantized(
    model: Model,
    scheme: Scheme,
    custom_lut: str | None,
    selection: Selection,
    in_place: bool,
    require_change: bool,
    spool: Spool,
) -> tuple[Model, dict[str, Choice]]:
    if not has_weights(model):
        raise _no_weights(model)
    selection = selection.for_scheme(scheme)
    selection.require_storable(scheme, model.kind)
    require_float(model)
    _require_fixed_weights(model)
    _require_fitting_rules(model, scheme, selection)
    functions = _table_functions(selection.schemes(scheme), custom_lut)
    variant = model if in_place else dataclasses.replace(model, spec=model.copy_spec())
    version = max(needed_version(each, model.kind) for each in selection.schemes(scheme))
    files = weight_files(model)
    choices: dict[str, Choice] = {}
    for prefix, part in parts_of(variant):
        if part.kind is Kind.NEURAL_NETWORK:
            choices |= quantize_network(part, scheme, selection, functions, prefix)
        else:
            choices |= _quantize_program(part, scheme, selection, functions, version, spool, prefix)
    if require_change:
        _require_a_change(choices, scheme, model)
    if any(choice.scheme for choice in choices.values()):
        raise_version(variant.spec, version)
    if model.kind is Kind.ML_PROGRAM:
        variant = with_new_weight_file(variant, files, spool)
    _note(variant.spec.description.metadata, scheme)
    return variant, choices


def _require_fixed_weights(model: Model) -> None:
    part = updatable_part(model)
    if part is not None:
        named = f"its model {part} is" if part else "it is"
        raise RequantError(
            f"{model.path} can't be quantized: {named} updatable, Core ML trains its weights on the device, in float32."
        )


def facts_of(model: Model) -> list[TensorFacts]:
    """Return what the rules of a selection look at, for every tensor of a model that can be quantized."""
    facts = []
    for prefix, part in parts_of(model):
        facts += network_facts(part, prefix) if part.kind is Kind.NEURAL_NETWORK else program_facts(part, prefix)
    return facts


def _require_fitting_rules(model: Model, scheme: Scheme, selection: Selection) -> None:
    facts = facts_of(model) if selection.rules else []
    for number in unused_rules(selection, facts, scheme)[:1]:
        rule = selection.rules[number - 1]
        names = ", ".join(f"{f.name} ({'/'.join(f.types)})" for f in facts[:SHOWN])
        raise RequantError(
            f"a rule of tensors (name: {rule.name}, type: {rule.type}, store: {rule.store}) fits no tensor of "
            f"{model.path}. `requant describe --tensors` names them all; the first are {names}."
        )


def _table_functions(schemes: Sequence[Scheme], custom_lut: str | None) -> dict[str, TableFunction]:
    functions = dict(_TABLE_FUNCTIONS)
    if any(scheme.mode == "custom_lut" and scheme.is_table for scheme in schemes):
        if not custom_lut:
            raise RequantError("the mode custom_lut wants a function of yours: custom_lut: file.py:function")
        functions["custom_lut"] = load_table_function(custom_lut)
    return functions


def _quantize_program(
    part: Model,
    scheme: Scheme,
    selection: Selection,
    functions: Mapping[str, TableFunction],
    version: int,
    spool: Spool,
    prefix: str,
) -> dict[str, Choice]:
    """Raise a program and store its weights, in its own messages; one of which no weight changes is not raised."""
    if may_change(part, scheme, selection, prefix):
        part.spec.CopyFrom(raised(part, version).spec)
    return quantize_program(part, scheme, selection, functions, version, spool, prefix)


def _no_weights(model: Model) -> RequantError:
    return RequantError(f"{model.path} has no weights that could be quantized; ship it as it is.")


def _require_a_change(choices: Mapping[str, Choice], scheme: Scheme, model: Model) -> None:
    """Make sure that some tensor takes what is asked for, if there is anything to gain."""
    if any(choice.scheme for choice in choices.values()) or expects_nothing(scheme, choices):
        return
    if not choices:
        raise _no_weights(model)
    reasons = [f"  {name}: {choice.reason}" for name, choice in choices.items()]
    more = [f"  and {len(reasons) - SHOWN} more"] if len(reasons) > SHOWN else []
    raise RequantError(
        f"no tensor of {model.path} takes {scheme}; there would be nothing to ship.\n"
        + "\n".join(reasons[:SHOWN] + more)
    )


def expects_nothing(scheme: Scheme, choices: Mapping[str, Choice]) -> bool:
    """Return whether a variant as large as its source is expected: 16 bits of what is float16 already."""
    return scheme.is_float16 and any("float16 already" in choice.reason for choice in choices.values())


def _note(metadata: Any, scheme: Scheme) -> None:
    note = f"Weights quantized by requant, {scheme}: {scheme.description}."
    metadata.shortDescription = "\n".join(filter(None, [metadata.shortDescription, note]))


def write_variant(
    float_model: Path,
    scheme: Scheme,
    output: Path,
    custom_lut: str | None = None,
    selection: Selection = EVERY_TENSOR,
) -> dict[str, Choice]:
    """Write a variant of the float model in a file and return what was asked for each tensor.

    Raises:
        RequantError: as `quantize_with_choices`.
    """
    with writing(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        variant, choices = quantize_with_choices(
            load(float_model), scheme, custom_lut, selection, in_place=True, output=output
        )
        save(variant, output)
    return choices


def make_variant(
    float_model: Path,
    scheme: Scheme,
    output: Path,
    custom_lut: str | None = None,
    selection: Selection = EVERY_TENSOR,
) -> dict[str, Any]:
    """Write a variant of the float model in a file and return the audit of the bytes written.

    Raises:
        RequantError: as `quantize_with_choices`, if a tensor that was not to be touched came out changed, and if the
            variant came out no smaller than the float model although it has weights to quantize.
    """
    choices = write_variant(float_model, scheme, output, custom_lut, selection)
    try:
        requests = {tensor: (choice.requested, choice.reason) for tensor, choice in choices.items()}
        record = audit(load(output), load(float_model), str(scheme), requests)
        _require_smaller(output.stat().st_size, float_model, scheme, choices)
    except RequantError:
        output.unlink()
        raise
    return record


def _require_smaller(size: int, float_model: Path, scheme: Scheme, choices: Mapping[str, Choice]) -> None:
    before = size_of(float_model)
    if size >= before and not expects_nothing(scheme, choices):
        raise RequantError(
            f"{scheme} made {float_model} no smaller ({size} bytes, before {before}). Its tensors are too "
            "small to gain anything; ship it in 16 bits or as it is."
        )
