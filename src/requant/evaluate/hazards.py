"""What is known to go wrong, or to cost, with a stored form on Apple devices: what no figure shows off the device.

Each has a source that everybody can read. What Apple has mended goes from the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from requant.convert import FLOAT
from requant.coreml.audit import UNTOUCHED
from requant.quantize.scheme import Scheme

Concerns = Callable[[Mapping[str, Any], set[Scheme]], bool]

_GUIDE = "https://apple.github.io/coremltools/docs-guides/source"
SEPARATOR = "; "


@dataclass(frozen=True)
class Hazard:
    """A hazard.

    Attributes:
        name: a few words for a table.
        words: what may happen, and where.
        source: the page that says so; empty for what follows from this library's own way.
        applies: whether it concerns a variant: its evaluation, and the schemes that its tensors took.
    """

    name: str
    words: str
    source: str
    applies: Concerns


def _takes(quality: Callable[[Scheme], bool]) -> Concerns:
    return lambda _, schemes: any(quality(scheme) for scheme in schemes)


HAZARDS: tuple[Hazard, ...] = (
    Hazard(
        "scaled tables may crash",
        "A lookup table with per-channel scales has been reported to crash when the model is loaded for the Neural "
        "Engine of macOS 26.",
        "https://github.com/apple/coremltools/pull/2688",
        _takes(lambda scheme: scheme.scaled),
    ),
    Hazard(
        "blocks are for the GPU",
        "Apple recommends blocks where the GPU runs the model, and one scale per channel where the Neural Engine does.",
        f"{_GUIDE}/opt-quantization-perf.html",
        _takes(lambda scheme: scheme.granularity == "block"),
    ),
    Hazard(
        "many tables may be slow",
        "Every lookup table more of a tensor may slow the model down; Apple finds groups of 8 or 16 channels a good "
        "measure.",
        f"{_GUIDE}/opt-palettization-perf.html",
        _takes(lambda scheme: scheme.granularity == "group"),
    ),
    Hazard(
        "rewritten operations",
        "Its operations were rewritten for a newer system than the model was converted for. The float model gives the "
        "same with them on the evaluation data; an error that no sample shows would not be seen.",
        "",
        lambda evaluation, _: bool(evaluation["raised"] and evaluation["raised"]["rewritten"]),
    ),
)


def hazards_of(evaluation: Mapping[str, Any]) -> list[Hazard]:
    """Return what is known of the forms that a variant stores; nothing for a float model.

    Args:
        evaluation: the variant's record (`requant.evaluate.comparison.evaluate`).
    """
    if evaluation["scheme"] == FLOAT:
        return []
    schemes = {Scheme.parse(name) for name in {tensor["requested"] for tensor in evaluation["tensors"]} - {UNTOUCHED}}
    return [hazard for hazard in HAZARDS if hazard.applies(evaluation, schemes)]
