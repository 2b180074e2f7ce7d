"""What a classifier returns: the label that it predicts, and the probabilities of all labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from requant.coreml.description import predicted_names
from requant.coreml.model import Model
from requant.errors import RequantError
from requant.runtime.features import Outputs

Labels = list[str] | list[int]


def labels_of(body: Any) -> Labels:
    """Return the labels of a classifier in the order of its classes; empty where it declares none."""
    kind = body.WhichOneof("ClassLabels")
    return list(getattr(body, kind).vector) if kind else []


def require_labels(model: Model, body: Any) -> Labels:
    """Return the labels of a classifier.

    Raises:
        RequantError: if there are fewer than two.
    """
    labels = labels_of(body)
    if len(labels) < 2:
        raise RequantError(f"{model.path} is a classifier, but declares {len(labels)} class labels.")
    return labels


def class_outputs(model: Model, labels: Labels, best: int, probabilities: NDArray[np.float64] | None) -> Outputs:
    """Return the outputs of a classifier by their names.

    Args:
        model: the classifier.
        labels: of its classes.
        best: the class that is predicted.
        probabilities: one per class, or None where the model can't tell them.
    """
    label, dictionary = predicted_names(model)
    outputs: Outputs = {label: labels[best]} if label else {}
    if dictionary and probabilities is not None:
        outputs[dictionary] = dict(zip(labels, probabilities.tolist(), strict=True))
    return outputs


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `exp(x_i) / sum_j exp(x_j)`, float64."""
    powers = np.exp(scores - scores.max())
    return np.asarray(powers / powers.sum())


def logistic(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `1 / (1 + exp(-x))`, float64, without an overflow for any x."""
    powers = np.exp(-np.abs(scores))
    return np.asarray(np.where(scores >= 0, 1, powers) / (1 + powers))
