"""The table of a model's variants, one row each, as a pandas data frame and a file of tab-separated values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from requant.convert import FLOAT
from requant.coreml.systems import System
from requant.errors import RequantError
from requant.evaluate.hazards import SEPARATOR, hazards_of
from requant.evaluate.judgement import (
    DETAILS,
    METRIC,
    Recommendation,
    conversion_in_words,
    effective_targets,
    flat_figures,
    missed,
    recommend,
    recommend_float,
    target_of,
)
from requant.quantize.scheme import Scheme
from requant.records import read_record, write_record

ENDS = {"low": "lower", "high": "upper"}


def _with_interval(column: str, meaning: str) -> dict[str, str]:
    """Return a column and those of its confidence interval, with what they hold."""
    ends = {f"{column}_{end}": f"{word} end of its 95 % confidence interval" for end, word in ENDS.items()}
    return {column: meaning, **ends}


# The columns of summary.tsv and what they hold; documented for users in docs/results.md.
COLUMNS: dict[str, str] = {
    "model": "name of the model in the configuration",
    "scheme": "what was done to the weights, as kmeans_4; float for the float model",
    "mode": "linear, linear_symmetric, linear_lut, kmeans, unique, custom_lut, prune (nothing else) or float",
    "family": "the scheme without its bits, as kmeans_group16",
    "bits": "bits per weight by the scheme's name; the float model's where weights are only pruned, nan if it has none",
    "file": "name of the delivered file",
    "size_mb": "its size in MB (10**6 bytes); of an ML Program, of all files in the package",
    "ratio": "size of the preserved original divided by this size",
    "zip_mb": "its size in MB when deflated: about what a download costs",
    "bits_per_weight": "bits that a weight takes on average, measured, tables and scales counted in",
    "ios": "oldest iOS that loads it",
    "macos": "oldest macOS that loads it",
    "raised_from_ios": "oldest iOS of the float model, if its operations were raised to store the variant's form",
    "hazards": "what is known to go wrong, or to cost, with its form on some devices; docs/systems.md says more",
    "untouched": "weight tensors that stayed as they were; the variant's audit says which and why",
    "weight_snr_db": "signal-to-noise ratio of the quantizable weights against the float model's, in dB; inf: equal",
    "samples": "samples of evaluation data",
    "synthetic": "whether these are made up",
    "source_db": "converted float model: lowest SNR (pictures: PSNR) of an output against its source, dB; inf: equal",
    "source_max_error": "converted float model: largest absolute difference to its source's output",
    "source_agreement": "converted float model, classifiers: share of samples with the same label as its source gives",
    **_with_interval("psnr_db", "pictures: PSNR against the float model's over all pictures, in dB; inf: equal"),
    "worst_psnr_db": "pictures: the lowest PSNR of a picture, in dB",
    **_with_interval("ssim", "pictures: mean structural similarity, 1: equal"),
    **_with_interval("flip", "pictures: mean FLIP error, what a viewer sees who flips between the two, 0: nothing"),
    **_with_interval("snr_db", "arrays: signal-to-noise ratio against the float model's, in dB; inf: equal"),
    **_with_interval("cosine", "arrays: mean cosine similarity to the float model's, 1: same direction"),
    **_with_interval("relative_error", "arrays: root mean square of the difference over that of the float model's"),
    "max_error": "largest absolute difference to the float model's output",
    **_with_interval("agreement", "classifiers: share of samples with the same label as the float model gives"),
    **_with_interval("accuracy", "classifiers with labelled data: share of samples with the right label"),
    **_with_interval("accuracy_drop", "classifiers with labelled data: the float model's accuracy minus this"),
    "accuracy_p": "p value of McNemar's exact test against the float model; above 0.05: the drop may be chance",
    **_with_interval(
        "top5_accuracy", "more than 5 classes, labelled data: share with the right one of the 5 likeliest"
    ),
    **_with_interval("kl_divergence", "classifiers: mean Kullback-Leibler divergence from the float model, in nats"),
    "meets_targets": "whether it meets all targets",
    "recommended": "whether it is the one to ship",
}
# Figures that can be drawn against the size, the most telling first, with a name for people.
FIDELITY: tuple[tuple[str, str], ...] = (
    ("psnr_db", "PSNR against the float model (dB)"),
    ("accuracy", "accuracy on the evaluation data"),
    ("agreement", "agreement with the float model"),
    ("snr_db", "SNR against the float model (dB)"),
    ("weight_snr_db", "SNR of the weights (dB)"),  # of a model that is not run
)
_TEXTS = ("ios", "macos", "raised_from_ios", "hazards")  # columns that are no numbers, whatever they look like
ABSOLUTE = "accuracy"  # the one of them that says something of a model by itself


@dataclass(frozen=True)
class Summary:
    """A model's table with the targets that it was judged by and the recommendation.

    Attributes:
        model: its name.
        type: what it is, for people: NeuralNetwork, ML Program, or a type in which there is nothing to quantize.
        table: a row for the float model and for each variant.
        targets: limits by name.
        recommendation: which one to ship.
        conversion: what the check of the float model against its source found, in words; empty for a Core ML original.
        system: the deployment target, for people; empty if none is set.
    """

    model: str
    type: str
    table: pd.DataFrame
    targets: dict[str, float]
    recommendation: Recommendation
    conversion: str = ""
    system: str = ""

    @property
    def variants(self) -> pd.DataFrame:
        """The rows of the variants: all but the float model's."""
        return self.table[self.table["scheme"] != FLOAT]


def summarize(
    model: str, evaluations: Sequence[Mapping[str, Any]], targets: Mapping[str, float], system: System | None = None
) -> Summary:
    """Return the table of a model.

    Args:
        model: its name.
        evaluations: of the float model and of each variant, if there are any (`requant.evaluate.comparison.evaluate`).
        targets: limits by the keys of `requant.evaluate.judgement.TARGETS`; empty for the default.
        system: the deployment target: the oldest system that variants have to run on; None if none is set.

    Raises:
        RequantError: if a target can't be judged on this model.
    """
    float_model, *variants = evaluations
    bits = float_model["bits_per_weight"]
    rows = [_row(model, evaluation, math.nan if bits is None else round(bits)) for evaluation in evaluations]
    judged_by = effective_targets(targets, rows[0], model) if variants or targets else {}
    for row in rows:
        row["meets_targets"] = not missed(row, judged_by, system)
    recommendation = recommend(rows[1:], judged_by, system) if variants else recommend_float(float_model)
    for row in rows:
        row["recommended"] = row["scheme"] == (recommendation.scheme or FLOAT)
    check = float_model["conversion"]
    return Summary(
        model,
        float_model["type"],
        pd.DataFrame(rows)[columns_of(rows[0])],
        judged_by,
        recommendation,
        conversion_in_words(check) if check else "",
        str(system or ""),
    )


def summarize_unfinished(
    model: str,
    evaluations: Sequence[Mapping[str, Any]],
    targets: Mapping[str, float],
    system: System | None,
    missing: Sequence[str],
) -> Summary:
    """Return the table of a model some variants of which could not be made or judged; it recommends nothing.

    Args:
        model: its name.
        evaluations: of the float model and of the variants that there are.
        targets: as of `summarize`.
        system: likewise.
        missing: the variants that are not there.

    Raises:
        RequantError: if a target can't be judged on this model.
    """
    summary = summarize(model, evaluations, targets, system)
    there, whole = len(evaluations) - 1, len(evaluations) - 1 + len(missing)
    lacking = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
    if missing and not there:
        reason = f"Incomplete: {lacking}. There is the float model alone, and nothing is recommended yet."
    elif missing:
        reason = f"Incomplete: {there} of {whole} variants are there, {lacking}. So nothing is recommended yet."
    else:
        reason = "Incomplete: all variants are there, but they could not be judged. So nothing is recommended yet."
    return replace(summary, table=summary.table.assign(recommended=False), recommendation=Recommendation(None, reason))


def columns_of(row: Mapping[str, Any]) -> list[str]:
    """Return the columns of a table: those that every model has, and before the last two the user's metrics."""
    *columns, meets, recommended = COLUMNS
    return [*columns, *(key for key in row if key.startswith(METRIC)), meets, recommended]


def metrics_of(table: pd.DataFrame) -> list[str]:
    """Return the columns of the user's metrics, without those of their confidence intervals."""
    return [name for name in table if name.startswith(METRIC) and not name.endswith(tuple(f"_{end}" for end in ENDS))]


def spread_of(row: Mapping[str, Any], column: str) -> float:
    """Return how far the confidence interval of a figure reaches from it, at its further end; NaN if there is none.

    An infinite end says nothing that could be written with a plus and a minus; the other one counts then.
    """
    reach = [abs(row[column] - row.get(f"{column}_{end}", math.nan)) for end in ENDS]
    return max((each for each in reach if math.isfinite(each)), default=math.nan)


def _row(model: str, evaluation: Mapping[str, Any], float_bits: float) -> dict[str, Any]:
    scheme = None if evaluation["scheme"] == FLOAT else Scheme.parse(evaluation["scheme"])
    bits_per_weight = math.nan if evaluation["bits_per_weight"] is None else evaluation["bits_per_weight"]
    equal = math.nan if math.isnan(bits_per_weight) else math.inf
    weight_snr = evaluation["weight_snr_db"]
    return {
        "model": model,
        "scheme": evaluation["scheme"],
        "mode": scheme.kind_of_mode if scheme else FLOAT,
        "family": scheme.family if scheme else FLOAT,
        "bits": (scheme.bits if scheme else 0) or float_bits,
        "file": evaluation["file"],
        "bytes": evaluation["bytes"],
        "size_mb": evaluation["bytes"] / 1e6,
        "ratio": evaluation["ratio"],
        "zip_mb": evaluation["zip_bytes"] / 1e6,
        "bits_per_weight": bits_per_weight,
        "ios": evaluation["ios"],
        "macos": evaluation["macos"],
        "spec_version": evaluation["spec_version"],
        "raised_from_ios": _raised_from(evaluation),
        "hazards": SEPARATOR.join(hazard.name for hazard in hazards_of(evaluation)),
        "untouched": evaluation["untouched"],
        "weight_snr_db": equal if weight_snr is None else weight_snr,
        "samples": evaluation["data"]["samples"],
        "synthetic": evaluation["data"]["synthetic"],
        **_source_figures(evaluation),
        **flat_figures(evaluation),
    }


def _source_figures(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Return how far the float model is from its source; no numbers for a variant, or without a source."""
    check = evaluation["conversion"] if evaluation["scheme"] == FLOAT else None
    if not check:
        return dict.fromkeys(("source_db", "source_max_error", "source_agreement"), math.nan)
    return {
        "source_db": math.inf if check["ratio_db"] is None else check["ratio_db"],
        "source_max_error": math.nan if check["max_error"] is None else check["max_error"],
        "source_agreement": math.nan if check["agreement"] is None else check["agreement"],
    }


def _raised_from(evaluation: Mapping[str, Any]) -> str:
    """Return the oldest iOS of the float model, if the variant needs a newer one; empty if it does not."""
    proof = evaluation["raised"]
    return str(proof["from_ios"]) if proof and proof["from_ios"] != evaluation["ios"] else ""


def write_summary(summary: Summary, table: Path, judgement: Path) -> None:
    """Write the table as tab-separated values, and targets and recommendation as JSON."""
    summary.table.to_csv(table, sep="\t", index=False, float_format="%.6g", na_rep="nan")
    record = {
        "model": summary.model,
        "type": summary.type,
        "targets": summary.targets,
        "system": summary.system,
        "variants": len(summary.variants),
        "recommended": summary.recommendation.scheme,
        "reason": summary.recommendation.reason,
        **summary.recommendation.details,
        "conversion": summary.conversion,
    }
    write_record(judgement, record)


def read_summary(table: Path, judgement: Path) -> Summary:
    """Read what `write_summary` wrote.

    Raises:
        RequantError: if another version of this library wrote it.
    """
    record = read_record(judgement)
    rows = pd.read_csv(table, sep="\t", dtype=dict.fromkeys(_TEXTS, str))
    if {"type", "conversion", "system"} - set(record) or set(COLUMNS) - set(rows):
        raise RequantError(f"{table} was written by another version of requant. Make it anew: snakemake --cores all")
    rows[["raised_from_ios", "hazards"]] = rows[["raised_from_ios", "hazards"]].fillna("")
    return Summary(
        record["model"],
        record["type"],
        rows,
        record["targets"],
        Recommendation(record["recommended"], record["reason"], {key: record[key] for key in DETAILS if key in record}),
        record["conversion"],
        record["system"],
    )


def interval_of(rows: pd.DataFrame, column: str, end: str) -> pd.Series:
    """Return an end, `low` or `high`, of the confidence interval of a figure; NaN for a figure that has none."""
    name = f"{column}_{end}"
    return rows[name] if name in rows else pd.Series(math.nan, rows.index)


def fidelity_of(table: pd.DataFrame) -> tuple[str, str]:
    """Return the column that tells most about a model's fidelity, and its name for people."""
    return next(((column, title) for column, title in FIDELITY if table[column].notna().any()), FIDELITY[-1])


def limit_of(column: str, summary: Summary) -> float | None:
    """Return the limit that the targets set for a column, if they do; a drop in accuracy counts for the accuracy."""
    for key, limit in summary.targets.items():
        if target_of(key).figure == column:
            return limit
        if key == "max_accuracy_drop" and column == "accuracy":
            return float(summary.table.loc[summary.table["scheme"] == FLOAT, "accuracy"].iloc[0]) - limit
    return None
