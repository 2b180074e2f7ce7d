"""Which variants are good enough, and which of them to ship: the smallest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from requant.errors import RequantError

Figures = Mapping[str, Any]
SMALLEST_IN_MB = 10_000  # what has fewer bytes would be shown as 0.00 or 0.01 MB


@dataclass(frozen=True)
class Target:
    """What a target is about: the figure, its name for people, its unit, and whether more is better."""

    figure: str
    title: str
    unit: str = ""
    percent: bool = False
    at_least: bool = True

    def met_by(self, value: float, limit: float) -> bool:
        """Return whether a figure reaches a limit; NaN never does."""
        return value >= limit if self.at_least else value <= limit

    def shown(self, value: float) -> str:
        """Return a figure for people, with its unit."""
        if math.isinf(value):
            return "infinite (equal to the float model's)"
        if not self.at_least and value <= 0:
            return "none"
        number = f"{100 * value:.1f} %" if self.percent else f"{value:.3g}" if not self.unit else f"{value:.1f}"
        return f"{number} {self.unit}".strip()


# The keys of `targets` in the configuration.
TARGETS: dict[str, Target] = {
    "min_psnr": Target("psnr_db", "PSNR", "dB"),
    "min_ssim": Target("ssim", "SSIM"),
    "min_snr": Target("snr_db", "SNR", "dB"),
    "min_agreement": Target("agreement", "agreement with the float model", percent=True),
    "min_accuracy": Target("accuracy", "accuracy", percent=True),
    "max_accuracy_drop": Target("accuracy_drop", "drop in accuracy", percent=True, at_least=False),
}
# What is asked for where the configuration sets no target, by the first figure that the model's outputs have.
DEFAULT_TARGETS: tuple[tuple[str, float], ...] = (
    ("min_psnr", 30.0),
    ("max_accuracy_drop", 0.01),
    ("min_agreement", 0.98),
    ("min_snr", 30.0),
)


@dataclass(frozen=True)
class Recommendation:
    """The variant to ship, None for the float model, and a sentence that says why."""

    scheme: str | None
    reason: str


def flat_figures(evaluation: Figures) -> dict[str, Any]:
    """Return an evaluation as one row: for each figure the worst over the outputs that have it.

    A figure that no output has is NaN; one that is infinite (no difference to the float model) is infinite.
    """
    row: dict[str, Any] = {
        figure: _worst(evaluation, figure, worst)
        for figure, worst in (
            ("psnr_db", min), ("worst_psnr_db", min), ("ssim", min), ("snr_db", min), ("max_error", max),
            ("agreement", min), ("accuracy", min), ("float_accuracy", min), ("kl_divergence", max),
        )
    }  # fmt: skip
    row["accuracy_drop"] = row["float_accuracy"] - row["accuracy"]
    return row


def _worst(evaluation: Figures, figure: str, worst: Any) -> float:
    values = [output[figure] for output in evaluation["outputs"].values() if figure in output]
    return float(worst(math.inf if value is None else value for value in values)) if values else math.nan


def effective_targets(targets: Mapping[str, float], row: Figures, model: str) -> dict[str, float]:
    """Return the targets to judge a model by: those of the configuration, or the default for its kind of outputs.

    Raises:
        RequantError: if a target is about a figure that the model's outputs do not have.
    """
    for key in targets:
        if math.isnan(row[TARGETS[key].figure]):
            raise RequantError(
                f"the target {key} of the model {model} can't be judged: its outputs and evaluation data give no "
                f"{TARGETS[key].title}."
            )
    if targets:
        return dict(targets)
    return next(({key: limit} for key, limit in DEFAULT_TARGETS if not math.isnan(row[TARGETS[key].figure])), {})


def missed(row: Figures, targets: Mapping[str, float]) -> list[str]:
    """Return for each target that a variant misses a phrase with the figure and the limit."""
    phrases = []
    for key, limit in targets.items():
        target = TARGETS[key]
        if not target.met_by(row[target.figure], limit):
            word = "at least" if target.at_least else "at most"
            phrases.append(f"{target.title} {target.shown(row[target.figure])}, wanted {word} {target.shown(limit)}")
    return phrases


def recommend(rows: Sequence[Figures], targets: Mapping[str, float]) -> Recommendation:
    """Return the smallest variant that meets all targets, and why.

    Args:
        rows: a row per variant, at least one, with `scheme`, `bytes`, `ratio`, `meets_targets` and the figures of the
            targets.
        targets: the limits.
    """
    ordered = sorted(rows, key=lambda row: (row["bytes"], -_quality(row, targets)))
    best = next((index for index, row in enumerate(ordered) if row["meets_targets"]), None)
    if best is None:
        return Recommendation(None, _none_meets(ordered, targets))
    chosen = ordered[best]
    achieved = ", ".join(f"{TARGETS[key].title} {_wanted(chosen, key, limit)}" for key, limit in targets.items())
    sentence = (
        f"Ship {chosen['scheme']}: {chosen['bytes'] / 1e6:.2f} MB, {chosen['ratio']:.1f} times smaller than the "
        f"original. It is the smallest variant that meets the target: {achieved}."
    )
    if best:
        smaller = ordered[best - 1]
        sentence += f" The next smaller one, {smaller['scheme']}, does not: {'; '.join(missed(smaller, targets))}."
    return Recommendation(chosen["scheme"], sentence)


def recommend_float(evaluation: Figures) -> Recommendation:
    """Return the advice for a model without variants: there is nothing to quantize in it, or none are wanted.

    Args:
        evaluation: of the float model.
    """
    size = " ".join(amount(evaluation["bytes"]))
    if evaluation["bits_per_weight"] is None:
        what = f"this {evaluation['type']} has no weights that Core ML stores in fewer bits"
        return Recommendation(None, f"Nothing to quantize: {what}. Ship it as it is: {size}.")
    return Recommendation(
        None, f"The configuration leaves no variants to make (modes, deployment_target). The float model has {size}."
    )


def amount(count: int) -> tuple[str, str]:
    """Return a number of bytes for people, and its unit."""
    return (f"{count / 1e6:.2f}", "MB") if count >= SMALLEST_IN_MB else (f"{count:,}", "bytes")


def _wanted(row: Figures, key: str, limit: float) -> str:
    target = TARGETS[key]
    return f"{target.shown(row[target.figure])} ({'at least' if target.at_least else 'at most'} {target.shown(limit)})"


def _quality(row: Figures, targets: Mapping[str, float]) -> float:
    if not targets:
        return 0.0
    target = TARGETS[next(iter(targets))]
    return float(row[target.figure]) * (1 if target.at_least else -1)


def _none_meets(rows: Sequence[Figures], targets: Mapping[str, float]) -> str:
    closest = max(rows, key=lambda row: (-len(missed(row, targets)), _quality(row, targets)))
    return (
        f"Ship the float model: no variant meets the target. The closest is {closest['scheme']}: "
        f"{'; '.join(missed(closest, targets))}."
    )


def conversion_in_words(record: Mapping[str, Any]) -> str:
    """Return what the check of a conversion found, as `85 dB against PyTorch 2.13.0 (450 samples, ...)`."""
    ratio = "equal to" if record["ratio_db"] is None else f"{record['ratio_db']:.0f} dB against"
    samples = f"{record['samples']} {'made-up inputs' if record['synthetic'] else 'samples'}"
    more = [samples]
    if record["max_error"]:
        more.append(f"largest error {record['max_error']:.2g}")
    if record["agreement"] is not None:
        more.append(f"{record['agreement']:.2%} of the labels agree")
    return f"conversion: {ratio} {record['framework']} ({', '.join(more)})"
