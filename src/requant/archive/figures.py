"""The figures of a model as descriptions give them: a value with its confidence interval and unit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

# Columns of the table of variants that are about a model's file or the data, and not about how good its outputs are.
_OF_FILE = frozenset(
    (
        "bits", "bits_per_weight", "bytes", "ios", "macos", "raised_from_ios", "ratio", "recommended", "samples",
        "size_mb", "spec_version", "synthetic", "untouched", "zip_bytes", "zip_mb",
    )
)  # fmt: skip
_UNITS = {"_db": "dB", "_mb": "MB"}
_ENDS = ("_low", "_high")


@dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
        name: the column of the table of variants, as `psnr_db`.
        value: a number, infinite where there is no difference at all, or a text.
        interval: the ends of its 95 % confidence interval; None if it has none.
        unit: `dB`, `MB` or empty.
        of_outputs: whether it says how good a model's outputs are.
    """

    name: str
    value: float | str
    interval: tuple[float | str, float | str] | None
    unit: str
    of_outputs: bool


def measured(figures: Mapping[str, float | str]) -> tuple[Figure, ...]:
    """Return the figures that a model has, in the order given; NaN stands for one that it does not have.

    Args:
        figures: by column, with `NAME_low` and `NAME_high` beside `NAME` for the ends of its interval.
    """
    known = {name: value for name, value in figures.items() if isinstance(value, str) or not math.isnan(value)}
    return tuple(_figure(name, known) for name in known if not _is_end(name, known))


def in_json(value: float | str) -> float | str:
    """Return a number as JSON can hold it: an infinite one as text, `inf` or `-inf`."""
    return value if isinstance(value, str) or math.isfinite(value) else str(float(value))


def _is_end(name: str, figures: Mapping[str, float | str]) -> bool:
    return any(name.endswith(end) and name.removesuffix(end) in figures for end in _ENDS)


def _figure(name: str, figures: Mapping[str, float | str]) -> Figure:
    low, high = (figures.get(name + end) for end in _ENDS)
    interval = None if low is None or high is None else (low, high)
    unit = next((unit for ending, unit in _UNITS.items() if name.endswith(ending)), "")
    return Figure(name, figures[name], interval, unit, name not in _OF_FILE and not isinstance(figures[name], str))
