"""Which variants are good enough, and which of them to ship: the smallest."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from requant.coreml.systems import System, system_of
from requant.errors import RequantError
from requant.evaluate.intervals import CONFIDENCE, mcnemar, wilcoxon
from requant.progress import amount

Figures = Mapping[str, Any]
SIGNIFICANT = 1 - CONFIDENCE  # a p value below this is taken for more than chance
FEWEST_RANKED = 6  # samples; of fewer, Wilcoxon's test finds every difference to be chance
MOST_DIGITS = 6


@dataclass(frozen=True)
class Target:
    """What a target is about: the figure, its name for people, its unit, and whether more is better.

    Attributes:
        figure: the column.
        title: for people.
        unit: likewise.
        form: how a number is written, as a format of Python.
        percent: whether it is a share that is shown in percent.
        at_least: whether the limit is the lowest figure wanted, or the highest.
        of_outputs: whether it is about how good a variant is, and not about its file.
    """

    figure: str
    title: str
    unit: str = ""
    form: str = ".3g"
    percent: bool = False
    at_least: bool = True
    of_outputs: bool = True

    def met_by(self, value: float, limit: float) -> bool:
        """Return whether a figure reaches a limit; NaN never does."""
        return value >= limit if self.at_least else value <= limit

    def shown(self, value: float, more: int = 0) -> str:
        """Return a figure for people, with its unit.

        Args:
            value: the figure.
            more: digits more than usual.
        """
        if math.isinf(value):
            return "infinite (equal to the float model's)" if self.unit == "dB" and value > 0 else "infinite"
        if self.figure == "accuracy_drop" and value <= 0:
            return "none"
        digits = f".{int(self.form[1]) + more}{self.form[2]}"
        return f"{self._number(value):{digits}} {'%' if self.percent else self.unit}".strip()

    def _number(self, value: float) -> float:
        return 100 * value if self.percent else value

    def apart(self, value: float, limit: float) -> tuple[str, str]:
        """Return a figure and a limit for people, in as many digits as it takes to tell them apart."""
        pairs = ((self.shown(value, more), self.shown(limit, more)) for more in range(MOST_DIGITS))
        return next((pair for pair in pairs if pair[0] != pair[1] or value == limit), (str(value), str(limit)))

    def distance(self, value: float, limit: float) -> str:
        """Return in words by how much a figure misses a limit."""
        word = "low" if self.at_least else "high"
        by = abs(self._number(value) - self._number(limit))
        unit = "percentage points" if self.percent else self.unit
        return f"{f'{by:.2g} {unit}'.strip()} too {word}" if math.isfinite(by) else f"too {word}"


# The keys of `targets` in the configuration.
TARGETS: dict[str, Target] = {
    "min_psnr": Target("psnr_db", "PSNR", "dB", ".1f"),
    "min_ssim": Target("ssim", "SSIM"),
    "max_flip": Target("flip", "FLIP error", at_least=False),
    "min_snr": Target("snr_db", "SNR", "dB", ".1f"),
    "min_cosine": Target("cosine", "cosine similarity", form=".4g"),
    "max_relative_error": Target("relative_error", "relative error", at_least=False),
    "min_agreement": Target("agreement", "agreement with the float model", form=".1f", percent=True),
    "min_accuracy": Target("accuracy", "accuracy", form=".1f", percent=True),
    "max_accuracy_drop": Target("accuracy_drop", "drop in accuracy", form=".1f", percent=True, at_least=False),
    "min_top5_accuracy": Target("top5_accuracy", "top-5 accuracy", form=".1f", percent=True),
    "max_kl_divergence": Target("kl_divergence", "divergence", "nats", at_least=False),
    "min_weight_snr": Target("weight_snr_db", "SNR of the weights", "dB", ".1f"),
    "max_size": Target("size_mb", "size", "MB", ".2f", at_least=False, of_outputs=False),
    "max_download": Target("zip_mb", "download", "MB", ".2f", at_least=False, of_outputs=False),
}
# What is asked for where the configuration sets no target for the outputs, by the first figure that they have.
DEFAULT_TARGETS: tuple[tuple[str, float], ...] = (
    ("min_psnr", 30.0),
    ("max_accuracy_drop", 0.01),
    ("min_agreement", 0.98),
    ("min_snr", 30.0),
    ("min_weight_snr", 30.0),  # of a model that is not run
)
METRIC = "metric_"  # begins the column of a metric of the user's
DEPLOYMENT_TARGET = "deployment_target"
# Of several outputs, the one counts that a figure is worst of.
_WORST: dict[str, Callable[..., Any]] = {
    "psnr_db": min,
    "worst_psnr_db": min,
    "ssim": min,
    "flip": max,
    "snr_db": min,
    "cosine": min,
    "relative_error": max,
    "max_error": max,
    "agreement": min,
    "accuracy": min,
    "float_accuracy": min,
    "accuracy_drop": max,
    "top5_accuracy": min,
    "kl_divergence": max,
}
# Figures with a confidence interval: those of the targets.
UNSURE = tuple(target.figure for target in TARGETS.values() if target.of_outputs and target.figure in _WORST)

NOT_RUN = "That is the error of its weights; the model was not run, so that nobody knows what becomes of its outputs."
DETAILS = ("acceptable", "unsure", "runner_up", "next_smaller", "closest")  # what a recommendation says as data


@dataclass(frozen=True)
class Miss:
    """A target that a variant misses.

    Attributes:
        target: its key.
        value: the figure, or the system that the variant needs.
        limit: what was wanted.
        words: both for people.
        distance: by how much, for people.
        shortfall: the same as a share of the limit.
    """

    target: str
    value: float | str
    limit: float | str
    words: str
    distance: str
    shortfall: float

    def to_record(self) -> dict[str, Any]:
        """Return it for a record; an infinite figure is None."""
        return {"target": self.target, "value": _finite(self.value), "limit": self.limit, "words": self.words}


@dataclass(frozen=True)
class Recommendation:
    """The variant to ship, None for the float model, and why.

    Attributes:
        scheme: the variant.
        reason: a few sentences.
        details: the same as data: `acceptable` (the variants that meet all targets, the smallest first), `unsure` (the
            targets beyond which the confidence interval of the recommended one reaches), `runner_up`, `next_smaller`
            and `closest`, each None or a record of a variant.
    """

    scheme: str | None
    reason: str
    details: dict[str, Any] = field(default_factory=dict)


def flat_figures(evaluation: Figures) -> dict[str, Any]:
    """Return an evaluation as one row: each figure, with its confidence interval, of the output that it is worst of.

    A figure that no output has is NaN; one that is infinite (no difference to the float model) is infinite. Below
    `each` are the numbers per sample that two variants can be compared by.
    """
    outputs = list(evaluation["outputs"].values())
    row: dict[str, Any] = {}
    for figure, worst in _WORST.items():
        output = _worst(outputs, figure, worst)
        row[figure] = _number(output, figure)
        if figure in UNSURE:
            row |= {f"{figure}_{end}": _number(output, f"{figure}_{end}") for end in ("low", "high")}
        if figure == "accuracy_drop":
            row["accuracy_p"] = _number(output, "accuracy_p")
    for name, found in evaluation.get("metrics", {}).items():
        ends = {f"{METRIC}{name}_{end}": _number(found, end) for end in ("low", "high")}
        row |= {f"{METRIC}{name}": _number(found, "value"), **ends}
    return {**row, "each": _of_each(outputs)}


def _worst(outputs: Sequence[Figures], figure: str, worst: Callable[..., Any]) -> Figures:
    having = [output for output in outputs if figure in output]
    return worst(having, key=lambda output: _number(output, figure)) if having else {}


def _number(figures: Figures, key: str) -> float:
    """Return a figure of a record: NaN where there is none, infinite where it is None."""
    if key not in figures:
        return math.nan
    return math.inf if figures[key] is None else float(figures[key])


def _of_each(outputs: Sequence[Figures]) -> dict[str, list[float]]:
    """Return the numbers per sample of the first output that has some, by the target's figure that they stand for."""
    for output in outputs:
        if "correct" in output:
            return {"accuracy": [float(digit) for digit in output["correct"]]}
        if "psnr_db_of_each" in output:
            return {"psnr_db": [math.inf if value is None else value for value in output["psnr_db_of_each"]]}
        if "snr_db_of_each" in output:
            return {"snr_db": [float(value) for value in output["snr_db_of_each"].split()]}
    return {}


def target_of(key: str) -> Target:
    """Return what a key of `targets` is about; `min_metric_NAME` and `max_metric_NAME` are about the user's metrics."""
    if key in TARGETS:
        return TARGETS[key]
    bound, _, figure = key.partition("_")
    return Target(figure, figure.removeprefix(METRIC), form=".4g", at_least=bound == "min")


def effective_targets(targets: Mapping[str, float], row: Figures, model: str) -> dict[str, float]:
    """Return the targets to judge a model by.

    Those of the configuration; where none of them is about the outputs, the default for their kind besides, for a small
    file alone is no merit.

    Raises:
        RequantError: if a target is about a figure that the model's outputs do not have.
    """
    for key in targets:
        target = target_of(key)
        if math.isnan(row.get(target.figure, math.nan)):
            raise RequantError(
                f"the target {key} of the model {model} can't be judged: its outputs and evaluation data give no "
                f"{target.title}."
            )
    if any(target_of(key).of_outputs for key in targets):
        return dict(targets)
    default = next(((key, limit) for key, limit in DEFAULT_TARGETS if not math.isnan(row[TARGETS[key].figure])), None)
    return dict([*([default] if default else []), *targets.items()])


def missed(row: Figures, targets: Mapping[str, float], system: System | None = None) -> list[Miss]:
    """Return the targets that a variant misses.

    Args:
        row: its figures.
        targets: the limits.
        system: the oldest one that variants have to run on; None if none is set.
    """
    misses = [_miss(row, key, limit) for key, limit in targets.items()]
    if system and row["spec_version"] > system.spec_version:
        needed = system_of(row["spec_version"])
        words = f"runs on {needed} or newer, wanted {system}"
        misses.append(Miss(DEPLOYMENT_TARGET, str(needed), str(system), words, "too new", math.inf))
    return [miss for miss in misses if miss]


def _miss(row: Figures, key: str, limit: float) -> Miss | None:
    target = target_of(key)
    value = row[target.figure]
    if target.met_by(value, limit):
        return None
    found, wanted = target.apart(value, limit)
    words = f"{target.title} {found}, wanted {'at least' if target.at_least else 'at most'} {wanted}"
    return Miss(key, value, limit, words, target.distance(value, limit), abs(value - limit) / (abs(limit) or 1.0))


def recommend(rows: Sequence[Figures], targets: Mapping[str, float], system: System | None = None) -> Recommendation:
    """Return the smallest variant that meets all targets, and why.

    Args:
        rows: a row per variant, at least one, with `scheme`, `family`, `bytes`, `ratio`, `samples`, `spec_version` and
            the figures of the targets.
        targets: the limits.
        system: the oldest one that variants have to run on; None if none is set.
    """
    ordered = sorted(rows, key=lambda row: (row["bytes"], -_quality(row, targets)))
    good = [row for row in ordered if not missed(row, targets, system)]
    if not good:
        return _none_meets(ordered, targets, system)
    chosen = good[0]
    place = next(index for index, row in enumerate(ordered) if row is chosen)
    smaller = ordered[place - 1] if place else None
    second = _runner_up(chosen, good[1:])
    unsure = [key for key, limit in targets.items() if _is_unsure(chosen, key, limit)]
    sentences = [
        _meets(chosen, targets, system),
        "" if chosen["samples"] else NOT_RUN,
        _uncertainty(chosen, {key: targets[key] for key in unsure}),
        _against_float(chosen),
        _in_its_way(smaller, targets, system),
        _second(second, chosen, targets),
    ]
    details = {
        "acceptable": [row["scheme"] for row in good],
        "unsure": unsure,
        "runner_up": _record(second, chosen, targets, system),
        "next_smaller": _record(smaller, chosen, targets, system),
        "closest": None,
    }
    return Recommendation(chosen["scheme"], " ".join(filter(None, sentences)), details)


def _meets(row: Figures, targets: Mapping[str, float], system: System | None) -> str:
    achieved = [_achieved(row, key, limit) for key, limit in targets.items()]
    achieved += [f"runs on {system_of(row['spec_version'])} ({system} wanted)"] if system else []
    what = "the target" if len(achieved) == 1 else "all targets"
    size = f"{' '.join(amount(row['bytes']))}, {row['ratio']:.1f} times smaller than the original"
    return f"Ship {row['scheme']}: {size}. It is the smallest variant that meets {what}: {', '.join(achieved)}."


def _achieved(row: Figures, key: str, limit: float) -> str:
    target = target_of(key)
    return f"{_with_title(row, key)} ({'at least' if target.at_least else 'at most'} {target.shown(limit)})"


def _with_title(row: Figures, key: str) -> str:
    target = target_of(key)
    return f"{target.title} {target.shown(row[target.figure])}"


def _against_float(row: Figures) -> str:
    """Return whether the accuracy can be told from the float model's; nothing where there is none."""
    p = row.get("accuracy_p", math.nan)
    if math.isnan(p):
        return ""
    if p >= SIGNIFICANT:
        return f"It is not distinguishable from the float model on these {row['samples']} samples (p = {p:.1g})."
    word = "less" if row["accuracy_drop"] > 0 else "more"
    return f"It is {word} accurate than the float model, by more than chance ({_p_value(p)}, {row['samples']} samples)."


def _p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.1g}"


def _is_unsure(row: Figures, key: str, limit: float) -> bool:
    """Return whether the confidence interval of a figure that meets a target reaches beyond its limit."""
    target = target_of(key)
    end = _far_end(row, target)
    return not math.isnan(end) and not target.met_by(end, limit)


def _far_end(row: Figures, target: Target) -> float:
    return float(row.get(f"{target.figure}_{'low' if target.at_least else 'high'}", math.nan))


def _uncertainty(row: Figures, unsure: Mapping[str, float]) -> str:
    ends = [_reached(row, target_of(key), limit) for key, limit in unsure.items()]
    start = f"That is not certain on these {row['samples']} samples: the 95 % interval of"
    return f"{start} {', that of '.join(ends)}." if ends else ""


def _reached(row: Figures, target: Target, limit: float) -> str:
    return f"the {target.title} reaches {target.apart(_far_end(row, target), limit)[0]}"


def _in_its_way(smaller: Figures | None, targets: Mapping[str, float], system: System | None) -> str:
    if smaller is None:
        return ""
    misses = "; ".join(miss.words for miss in missed(smaller, targets, system))
    return f"The next smaller one, {smaller['scheme']}, does not: {misses}."


def _runner_up(chosen: Figures, larger: Sequence[Figures]) -> Figures | None:
    """Return the next larger variant of the same family that meets the targets, else the second smallest of all."""
    family = (row for row in larger if row["family"] == chosen["family"])
    return next(family, larger[0] if larger else None)


def _second(second: Figures | None, chosen: Figures, targets: Mapping[str, float]) -> str:
    if second is None:
        return ""
    key = next((key for key in targets if target_of(key).of_outputs), None)
    figure = f", {_with_title(second, key)}" if key else ""
    return (
        f"The runner-up is {second['scheme']}: {' '.join(amount(second['bytes']))}{figure}{_compared(second, chosen)}."
    )


def _compared(row: Figures, chosen: Figures) -> str:
    """Return in words whether a variant differs from the recommended one by more than chance."""
    p = _paired(row, chosen)
    if p is None:
        return ""
    return f" (a difference beyond chance, {_p_value(p)})" if p < SIGNIFICANT else f" (no sure difference, p = {p:.1g})"


def _paired(row: Figures, chosen: Figures) -> float | None:
    """Return the p value of a paired test of two variants, by the figure that both have of each sample.

    McNemar's test for right labels, Wilcoxon's signed-rank test for PSNR and SNR.
    """
    first, second = row.get("each", {}), chosen.get("each", {})
    figure = next((name for name in first if len(first[name]) == len(second.get(name, ()))), None)
    if figure is None or (figure != "accuracy" and len(first[figure]) < FEWEST_RANKED):
        return None
    test = mcnemar if figure == "accuracy" else wilcoxon
    return float(test(first[figure], second[figure]))


def _record(
    row: Figures | None, chosen: Figures | None, targets: Mapping[str, float], system: System | None
) -> dict[str, Any] | None:
    """Return what the judgement says of a variant besides the recommended one."""
    if row is None:
        return None
    return {
        "scheme": row["scheme"],
        "bytes": row["bytes"],
        "figures": {target_of(key).figure: _finite(row[target_of(key).figure]) for key in targets},
        "missed": [miss.to_record() for miss in missed(row, targets, system)],
        "p": None if chosen is None else _paired(row, chosen),
    }


def _finite(value: float | str) -> float | str | None:
    return value if isinstance(value, str) or math.isfinite(value) else None


def _quality(row: Figures, targets: Mapping[str, float]) -> float:
    """Return a figure by which one variant is better than another: that of the first target about the outputs."""
    target = next((target_of(key) for key in targets if target_of(key).of_outputs), None)
    return float(row[target.figure]) * (1 if target.at_least else -1) if target else 0.0


def _none_meets(rows: Sequence[Figures], targets: Mapping[str, float], system: System | None) -> Recommendation:
    def distance(row: Figures) -> tuple[int, float, float]:
        misses = missed(row, targets, system)
        return len(misses), sum(miss.shortfall for miss in misses), -_quality(row, targets)

    closest = min(rows, key=distance)
    misses = "; ".join(f"{miss.words} ({miss.distance})" for miss in missed(closest, targets, system))
    what = "the target" if len(targets) + bool(system) == 1 else "all targets"
    reason = f"Ship the float model: no variant meets {what}. The closest is {closest['scheme']}: {misses}."
    if not closest["samples"]:
        reason += f" {NOT_RUN}"
    details: dict[str, Any] = {
        "acceptable": [],
        "unsure": [],
        "runner_up": None,
        "next_smaller": None,
        "closest": _record(closest, None, targets, system),
    }
    return Recommendation(None, reason, details)


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
