"""Classifiers by the nearest neighbours (`NearestNeighbors.proto`).

Both kinds of index, linear and kd-tree, are exact, so that all samples can be looked at here. Apple describes which
label wins; the dictionary has each label's share of the weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from requant.coreml.description import inputs_of
from requant.coreml.model import Model
from requant.errors import RequantError
from requant.runtime.classical.classes import class_outputs, labels_of
from requant.runtime.classical.registry import Predict, body_of, family
from requant.runtime.classical.values import require_numeric, vector_of
from requant.runtime.features import Inputs, Outputs


@family("kNearestNeighborsClassifier")
def classifier(model: Model) -> Predict:
    """Open a classifier by the nearest neighbours.

    An index without samples predicts the default label, without probabilities.

    Raises:
        RequantError: if the sizes of its parts do not fit, or it has neither samples nor a default label.
    """
    body, inputs = body_of(model), inputs_of(model)
    require_numeric(model, inputs)
    index, width = body.nearestNeighborsIndex, body.nearestNeighborsIndex.numberOfDimensions
    rows = [list(sample.vector) for sample in index.floatSamples]
    if any(len(row) != width for row in rows):
        raise RequantError(f"{model.path} is damaged: a sample has not {width} numbers.")
    samples = np.array(rows, np.float64).reshape(-1, width)
    owners = labels_of(body)
    if len(owners) != len(samples):
        raise RequantError(f"{model.path} is damaged: it has {len(samples)} samples and {len(owners)} labels.")
    if not owners:
        return _only_default(model, body)
    labels: Any = list(dict.fromkeys(owners))
    classes = np.array([labels.index(owner) for owner in owners])
    neighbours = body.numberOfNeighbors.defaultValue
    inverse = body.WhichOneof("WeightingScheme") == "inverseDistanceWeighting"

    def predict(given: Inputs) -> Outputs:
        vector = vector_of(given, inputs)
        if vector.size != width:
            raise RequantError(f"the samples have {width} numbers, but the inputs hold {vector.size}.")
        distances = np.square(samples - vector).sum(axis=1)
        nearest = np.argsort(distances, kind="stable")[:neighbours]
        weights = _inverse(distances[nearest]) if inverse else np.ones(len(nearest))
        votes = np.bincount(classes[nearest], weights, len(labels))
        return class_outputs(model, labels, int(votes.argmax()), votes / votes.sum())

    return predict


def _inverse(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 / distance, the distance being the squared one; samples that are hit exactly outweigh all others."""
    hit = distances == 0
    return hit.astype(np.float64) if hit.any() else 1 / distances


def _only_default(model: Model, body: Any) -> Predict:
    kind = body.WhichOneof("DefaultClassLabel")
    if kind is None:
        raise RequantError(f"{model.path} has no samples and no default label: there is nothing that it can predict.")
    label = getattr(body, kind)
    return lambda _: class_outputs(model, [label], 0, None)
