"""The proof that raising a program to a newer operator set leaves what the float model gives unchanged.

Rewritten operations (`requant.coreml.raising`) may round in another order; more than that is an error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from requant.coreml.model import load
from requant.coreml.raising import raise_program
from requant.coreml.systems import system_of
from requant.errors import RequantError
from requant.evaluate.comparison import Figures, compare
from requant.evaluate.data import Data, load_data
from requant.evaluate.outputs import ModelOutputs, run_all
from requant.runtime import open_model

LEAST_SNR_DB = 100.0  # float32 has 24 bits, 144 dB; sums in another order lose a part of that
LARGEST_ERROR = 1e-5  # of a probability


def compare_raised(float_model: Path, spec_version: int, data: Data) -> dict[str, Any]:
    """Raise a float model, run both on evaluation data, and return what was done and how the outputs differ.

    Args:
        float_model: an ML Program.
        spec_version: to raise it to.
        data: evaluation data; None for inputs that are made up.

    Returns:
        The specification version, its iOS and that of the model as it was, the number of samples and whether they are
        made up, whether all outputs are equal to the bit, the names of the operations that were rewritten, and the
        figures of each output.

    Raises:
        RequantError: if the model can't be raised, or an output differs by more than rounding, with the figures.
    """
    model = load(float_model)
    raising = raise_program(model, spec_version)
    record = {
        "spec_version": raising.model.spec.specificationVersion,
        "ios": system_of(raising.model.spec.specificationVersion).ios,
        "from_ios": system_of(model.spec.specificationVersion).ios,
        "rewritten": list(raising.rewritten),
    }
    if raising.model.spec == model.spec:  # it has the operator set already: there is nothing to compare
        return record | {"samples": 0, "synthetic": False, "equal": True, "outputs": {}}
    runners = [open_model(each) for each in (model, raising.model)]
    samples = load_data(data, runners[0].inputs)
    reference, outputs = (run_all(runner, samples) for runner in runners)
    figures = compare(outputs, reference)
    for name, found in figures.items():
        if not _is_rounding(found):
            raise RequantError(
                f"{float_model}: raised to iOS {system_of(spec_version).ios}, the float model gives another {name!r} "
                f"({_in_words(found)}). Convert the original again with that deployment target."
            )
    return record | {
        "samples": len(samples.names),
        "synthetic": samples.synthetic,
        "equal": _are_equal(outputs, reference),
        "outputs": figures,
    }


def _is_rounding(figures: Figures) -> bool:
    """Return whether the figures of an output are those of equal numbers, or of numbers rounded otherwise."""
    if figures["type"] == "label":
        return bool(figures["agreement"] == 1)
    if figures["type"] == "probabilities":
        return bool(figures["max_error"] <= LARGEST_ERROR)
    if figures["max_error"] == 0:
        return True
    snr = figures.get("snr_db")  # pictures have none: they have to be equal
    return snr is not None and snr >= LEAST_SNR_DB


def _in_words(figures: Figures) -> str:
    words = {"agreement": "{:.2%} of the labels agree", "max_error": "largest error {:.3g}", "snr_db": "SNR {:.1f} dB"}
    return ", ".join(text.format(figures[key]) for key, text in words.items() if figures.get(key) is not None)


def _are_equal(outputs: ModelOutputs, reference: ModelOutputs) -> bool:
    pairs = [
        (values, getattr(reference, group)[name])
        for group in ("pictures", "arrays", "probabilities")
        for name, values in getattr(outputs, group).items()
    ]
    return outputs.labels == reference.labels and all(bool((a == b).all()) for a, b in pairs)
