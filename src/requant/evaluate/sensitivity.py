"""Which layers hurt: the outputs of a model of which one tensor alone is quantized, all others stay float.

Every figure is that of the variant which a rule for that one tensor would make: it is quantized, and run, as any other
variant. It is held against the float model, raised to the operator set that the variant needs: what rounding in another
order makes of the outputs (`requant.evaluate.raised` proves that it is no more) would drown the effect of a small
tensor, and is not the tensor's doing.
"""

from __future__ import annotations

import dataclasses
import glob
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from requant.coreml.description import inputs_of
from requant.coreml.inventory import each_weight
from requant.coreml.kind import Kind
from requant.coreml.model import Model, load
from requant.coreml.pipeline import parts_of
from requant.coreml.raising import raised
from requant.errors import RequantError
from requant.evaluate.comparison import compare
from requant.evaluate.data import Data, EvaluationData, load_data
from requant.evaluate.outputs import ModelOutputs, run_all
from requant.quantize.scheme import Scheme, needed_version
from requant.quantize.selection import UNTOUCHED, WEIGHT_THRESHOLDS, Rule, Selection, TensorFacts
from requant.quantize.variant import facts_of, quantize_with_choices
from requant.runtime import open_model

Figures = dict[str, float]
_WORST: dict[str, Callable[[list[float]], float]] = {
    "psnr_db": min, "snr_db": min, "kl_divergence": max, "agreement": min, "accuracy_drop": max,
}  # fmt: skip


def measured_tensors(model: Model, weight_threshold: int | None = None) -> list[TensorFacts]:
    """Return the tensors of a model that can be quantized, in its order.

    Args:
        model: a NeuralNetwork or an ML Program with float weights, or a pipeline of such models.
        weight_threshold: tensors with at most this many numbers are left out; None for the default of the model's kind.

    Raises:
        RequantError: if there is none.
    """
    threshold = WEIGHT_THRESHOLDS[model.kind] if weight_threshold is None else weight_threshold
    least_axes = 2 if model.kind is Kind.ML_PROGRAM else 1  # Core ML compresses no constant with fewer
    large = [facts for facts in facts_of(model) if facts.count > threshold and len(facts.shape) >= least_axes]
    if not large:
        raise RequantError(
            f"no tensor of {model.path} has more than {threshold:,} numbers, so that there is nothing to measure. "
            "Set weight_threshold to a smaller number."
        )
    return list({facts.name: facts for facts in large}.values())


def only(tensor: TensorFacts, tensors: Iterable[TensorFacts], scheme: Scheme) -> Selection:
    """Return the selection that lets one tensor take a scheme, and leaves all others as they are.

    Args:
        tensor: the one.
        tensors: all tensors of the model. A rule fits the name of a layer too, which may be that of another tensor.
        scheme: what it takes.
    """
    rule = Rule(str(scheme), name=glob.escape(tensor.name))
    others = [Rule(UNTOUCHED, name=glob.escape(f.name)) for f in tensors if f.name != tensor.name and rule.fits(f)]
    return Selection((*others, rule, Rule(UNTOUCHED)))


def some_of(data: EvaluationData, samples: int) -> EvaluationData:
    """Return at most so many samples of evaluation data, held in memory, for they are run many times.

    They are spread evenly over the data, which often is sorted by class; where nobody knows how many there are, they
    are the first ones.
    """
    if data.counted:
        count = len(data.names)
        chosen = [index * count // samples for index in range(samples)] if count > samples else list(range(count))
        names = [data.names[index] for index in chosen]
    else:
        names = list(islice(data.names, samples))
        chosen = list(range(len(names)))
    inputs = [data.inputs(index) for index in chosen]
    targets = [data.targets[index] for index in chosen] if data.targets else ()
    return dataclasses.replace(data, names=names, inputs=inputs.__getitem__, targets=targets, counted=True)


def effect(outputs: ModelOutputs, reference: ModelOutputs) -> Figures:
    """Return how outputs differ from the reference's: of each figure, the worst over the outputs that have it.

    Returns:
        `psnr_db`, `snr_db`, `kl_divergence` (nats), `agreement` (0 to 1), `accuracy_drop`; each only where there are
        such outputs. A ratio is infinite where nothing differs.
    """
    found: dict[str, list[float]] = {}
    for figures in compare(outputs, reference).values():
        if "accuracy" in figures:
            figures["accuracy_drop"] = figures["float_accuracy"] - figures["accuracy"]
        for name in _WORST:
            if name in figures:
                found.setdefault(name, []).append(math.inf if figures[name] is None else float(figures[name]))
    return {name: worst(found[name]) for name, worst in _WORST.items() if name in found}


class Bench:
    """A float model with a few samples, on which variants of it are run."""

    def __init__(self, model: Model, data: EvaluationData, custom_lut: str | None = None) -> None:
        """Take a float model.

        Args:
            model: the float model; it is not changed.
            data: the samples.
            custom_lut: `file.py:function` for the mode `custom_lut`.
        """
        self._model, self._data, self._custom_lut = model, data, custom_lut
        self._tensors = facts_of(model)
        self._prefixes = [prefix for prefix, _ in parts_of(model)]
        self._references: dict[tuple[str, int], ModelOutputs] = {}

    def measure(self, tensor: TensorFacts, scheme: Scheme) -> dict[str, Any]:
        """Return what becomes of the outputs when a tensor alone takes a scheme.

        Returns:
            The scheme, its bits, the bytes that the tensor takes then, the figures of `effect` (None for an infinite
            one), and why it can't take the scheme, where it can't; there are no figures then.

        Raises:
            RequantError: if the kind of model can't store the scheme, or the model can't be run.
        """
        selection = only(tensor, self._tensors, scheme)
        variant, choices = quantize_with_choices(self._model, scheme, self._custom_lut, selection, require_change=False)
        choice = choices[tensor.name]
        figures: Figures = {}
        if choice.scheme:
            reference = self._reference(tensor, needed_version(scheme, self._model.kind))
            figures = effect(run_all(open_model(variant), self._data), reference)
        return {
            "scheme": str(scheme),
            "bits": scheme.bits,
            "bytes": _stored_bytes(variant, tensor.name),
            "figures": {name: value if math.isfinite(value) else None for name, value in figures.items()},
            "reason": choice.reason,
        }

    def float_bytes(self, tensor: TensorFacts) -> int:
        """Return the bytes that a tensor takes in the float model."""
        return _stored_bytes(self._model, tensor.name)

    def _reference(self, tensor: TensorFacts, version: int) -> ModelOutputs:
        """Return the outputs of the float model with the operator set of the tensor's part as the variant has it."""
        prefix = next((prefix for prefix in self._prefixes if prefix and tensor.name.startswith(prefix)), "")
        if (prefix, version) not in self._references:
            model = dataclasses.replace(self._model, spec=self._model.copy_spec())
            for name, part in parts_of(model):
                if name == prefix and part.kind is Kind.ML_PROGRAM:
                    part.spec.CopyFrom(raised(part, version).spec)
            self._references[prefix, version] = run_all(open_model(model), self._data)
        return self._references[prefix, version]


def _stored_bytes(model: Model, tensor: str) -> int:
    return next(weight.stored_bytes for weight in each_weight(model) if weight.name == tensor)


def measure_part(
    float_model: Path,
    schemes: Sequence[Scheme],
    part: int,
    parts: int,
    samples: int,
    data: Data = None,
    weight_threshold: int | None = None,
    custom_lut: str | None = None,
) -> dict[str, Any]:
    """Return the record of one part of a model's tensors, each alone in each scheme.

    Args:
        float_model: its file.
        schemes: one after the other.
        part: which part, from 1; every `parts`-th tensor belongs to it.
        parts: how many parts there are.
        samples: how many samples to run at most.
        data: evaluation data, None for made-up inputs.
        weight_threshold: see `measured_tensors`.
        custom_lut: `file.py:function` for the mode `custom_lut`.

    Raises:
        RequantError: as `measured_tensors` and `Bench.measure`, or if the data does not fit the model.
    """
    model = load(float_model)
    chosen = some_of(load_data(data, inputs_of(model)), samples)
    bench = Bench(model, chosen, custom_lut)
    tensors = list(enumerate(measured_tensors(model, weight_threshold), 1))[part - 1 :: parts]
    records = []
    for number, (position, tensor) in enumerate(tensors, 1):
        logging.info("tensor %d of %d: %s, %s numbers", number, len(tensors), tensor.name, f"{tensor.count:,}")
        cells = []
        for scheme in schemes:
            cells.append(bench.measure(tensor, scheme))
            logging.info("%s alone in %s: %s", tensor.name, scheme, in_words(cells[-1]))
        records.append(
            {
                "position": position,
                "name": tensor.name,
                "types": list(tensor.types),
                "shape": list(tensor.shape),
                "bytes": bench.float_bytes(tensor),
                "cells": cells,
            }
        )
    return {"samples": len(chosen.names), "synthetic": chosen.synthetic, "tensors": records}


def in_words(cell: Mapping[str, Any]) -> str:
    """Return what was measured of one tensor in one scheme as a phrase for people."""
    if not cell["figures"]:
        return str(cell["reason"])
    units = {"psnr_db": "PSNR {:.1f} dB", "snr_db": "SNR {:.1f} dB", "kl_divergence": "divergence {:.2g} nats"}
    units |= {"agreement": "agreement {:.1%}", "accuracy_drop": "drop in accuracy {:.1%}"}
    figures = {name: math.inf if value is None else value for name, value in cell["figures"].items()}
    return ", ".join(units[name].format(value) for name, value in figures.items())
