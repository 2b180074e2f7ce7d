"""The table of what quantizing each tensor of a model alone does to its outputs (`requant.evaluate.sensitivity`)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from requant.errors import RequantError
from requant.records import write_whole

# The columns of the table, and what they hold; documented for users in docs/sensitivity.md.
COLUMNS: dict[str, str] = {
    "position": "the tensor's place in the model, from 1",
    "tensor": "its name, as the audit has it",
    "type": "the type of the layer, or those of the operations that read it",
    "shape": "its sizes",
    "weights": "how many numbers it has",
    "float_bytes": "bytes that it takes in the float model",
    "scheme": "what was done to it, and to it alone",
    "bits": "of the scheme",
    "bytes": "bytes that it takes then, tables and scales counted in",
    "saved_bytes": "what that saves",
    "psnr_db": "pictures: PSNR against the float model's over all pictures, in dB; inf: equal",
    "snr_db": "arrays: signal-to-noise ratio against the float model's, in dB; inf: equal",
    "kl_divergence": "classifiers: mean Kullback-Leibler divergence from the float model's probabilities, in nats",
    "agreement": "classifiers: share of samples with the same label as the float model gives",
    "accuracy_drop": "classifiers with labelled data: the float model's accuracy minus that of this model",
    "samples": "samples that the models were run on",
    "synthetic": "whether these are made up",
    "reason": "why the tensor can't be stored so, which leaves the figures empty",
}
# Figures that tell how much a tensor hurts, the most telling first.
EFFECTS = ("psnr_db", "kl_divergence", "snr_db", "agreement")
_HARMLESS_DB, _HARMLESS_NATS = 120.0, 1e-12  # where the scales of harm begin


def gather(parts: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the table of all parts: a row for each tensor and scheme, in the model's order."""
    rows = [_row(part, tensor, cell) for part in parts for tensor in part["tensors"] for cell in tensor["cells"]]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.sort_values(["position", "bits"], ascending=[True, False], kind="stable", ignore_index=True)


def _row(part: Mapping[str, Any], tensor: Mapping[str, Any], cell: Mapping[str, Any]) -> dict[str, Any]:
    figures = {name: math.inf if value is None else value for name, value in cell["figures"].items()}
    return {
        "position": tensor["position"],
        "tensor": tensor["name"],
        "type": "/".join(tensor["types"]),
        "shape": "x".join(map(str, tensor["shape"])),
        "weights": math.prod(tensor["shape"]),
        "float_bytes": tensor["bytes"],
        "scheme": cell["scheme"],
        "bits": cell["bits"],
        "bytes": cell["bytes"],
        "saved_bytes": tensor["bytes"] - cell["bytes"],
        "samples": part["samples"],
        "synthetic": part["synthetic"],
        "reason": cell["reason"],
        **figures,
    }


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write the table as tab-separated values."""
    text = table.to_csv(sep="\t", index=False, float_format="%.6g", na_rep="nan", lineterminator="\n")
    write_whole(path, text.encode())


def read_table(path: Path) -> pd.DataFrame:
    """Read what `write_table` wrote.

    Raises:
        RequantError: if another version of this library wrote it.
    """
    texts = ("tensor", "type", "shape", "scheme", "reason")
    table = pd.read_csv(
        path,
        sep="\t",
        dtype=dict.fromkeys(texts, str),
        keep_default_na=False,
        na_values={name: ["nan"] for name in COLUMNS if name not in texts},
    )
    if set(COLUMNS) - set(table):
        raise RequantError(f"{path} was written by another version of requant. Make it anew: snakemake --cores all")
    return table


def effect_of(table: pd.DataFrame) -> str:
    """Return the column that tells most about how much the tensors hurt; empty if none has a figure."""
    return next((column for column in EFFECTS if table[column].notna().any()), "")


def harm(column: str, values: Any) -> Any:
    """Return figures as numbers that grow evenly with the damage: decibels turned round, divergences as logarithms.

    Args:
        column: one of `EFFECTS`.
        values: its figures, of any shape; no number stays no number.
    """
    numbers = np.asarray(values, np.float64)
    if column == "kl_divergence":
        return np.log10(np.maximum(numbers, _HARMLESS_NATS))
    return 1 - numbers if column == "agreement" else -np.minimum(numbers, _HARMLESS_DB)


def most_sensitive(table: pd.DataFrame, count: int | None = None) -> list[str]:
    """Return the names of the tensors that hurt most, the worst first, by their harm on average over all bits."""
    column = effect_of(table)
    harms = pd.Series(harm(column, table[column]) if column else 0.0, table.index)
    means = harms.groupby(table["tensor"], sort=False).mean().sort_values(ascending=False, kind="stable")
    return list(means.index[:count])
