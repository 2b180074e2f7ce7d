"""The user's own metric: a Python function in a file of theirs, and the checks of what it returns.

The function is `function(reference, outputs, targets)`: what the float model and the variant gave, as dictionaries of
arrays by output name with the samples along the first axis, and the right labels. It returns one number, or one number
per sample, of which the mean counts and which then has a confidence interval.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from requant.errors import RequantError
from requant.evaluate.intervals import Statistic, intervals, mean_of
from requant.evaluate.outputs import ModelOutputs
from requant.user_function import load_function

Arrays = dict[str, NDArray[Any]]
VALUE = "value"


def measure(
    metrics: Mapping[str, str], outputs: ModelOutputs, reference: ModelOutputs, *, itself: bool = False
) -> dict[str, dict[str, float | None]]:
    """Return the value of each of the user's metrics, with `low` and `high` where it gives one number per sample.

    Args:
        metrics: functions as `file.py:function`, by the name of the metric.
        outputs: the variant's.
        reference: the float model's.
        itself: whether the two are the same model's, whose difference from itself is no matter of chance.

    Returns:
        For each metric its figures; None for infinity.

    Raises:
        RequantError: if a function is not there, fails, or returns anything else than numbers.
    """
    given = arrays_of(reference), arrays_of(outputs), np.array(outputs.targets, str)
    found = {}
    for name, function in metrics.items():
        values = _call(function, name, len(outputs.names), given)
        found[name] = {key: value if np.isfinite(value) else None for key, value in _figures(values, itself).items()}
    return found


def arrays_of(outputs: ModelOutputs) -> Arrays:
    """Return all outputs as arrays that can't be written to, by name, the samples along the first axis.

    Pictures are uint8 (samples, height, width[, 3]), probabilities float64 (samples, classes), labels text (samples).
    """
    arrays: Arrays = {**outputs.pictures, **outputs.arrays, **outputs.probabilities}
    arrays |= {name: np.array(labels, str) for name, labels in outputs.labels.items()}
    views = {name: array.view() for name, array in arrays.items()}
    for view in views.values():
        view.flags.writeable = False
    return views


def _call(reference: str, name: str, samples: int, given: tuple[Arrays, Arrays, NDArray[Any]]) -> NDArray[np.float64]:
    """Return what a metric gave: a single number without axes, or an array of one number per sample."""
    function = load_function(reference, "metrics")
    try:
        result = function(dict(given[0]), dict(given[1]), given[2])
    except Exception as error:
        raise RequantError(f"the metric {name}, {reference}, failed.\n{traceback.format_exc(limit=-1)}") from error
    try:
        values = np.asarray("" if result is None else result, np.float64)
    except (TypeError, ValueError) as error:
        raise RequantError(
            f"the metric {name}, {reference}, has to return a number or one number per sample, not "
            f"{type(result).__name__}."
        ) from error
    if values.shape not in ((), (samples,)):
        raise RequantError(
            f"the metric {name}, {reference}, returned an array of shape {values.shape} for {samples} samples. It has "
            f"to return a number, or one number per sample: shape ({samples},)."
        )
    if np.isnan(values).any() or (values == -np.inf).any():
        raise RequantError(f"the metric {name}, {reference}, returned what is no number, or minus infinity.")
    return values


def _figures(values: NDArray[np.float64], itself: bool) -> dict[str, float]:
    figures = {VALUE: float(values.mean())}
    if values.ndim and not itself:
        found = intervals({VALUE: values}, {VALUE: Statistic((VALUE,), mean_of)})
        figures |= dict(zip(("low", "high"), found[VALUE], strict=True)) if found else {}
    return figures
