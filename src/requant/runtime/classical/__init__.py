"""Models that are no networks: linear models, trees, support vectors, neighbours, and steps between features.

Each module holds one family of Apple's `Model` message and computes it with numpy, in the precision of its parameters.
"""

from __future__ import annotations

from requant.runtime.classical import (  # noqa: F401 - importing a family registers it
    array_feature_extractor,
    categorical_mapping,
    class_confidence_thresholding,
    dict_vectorizer,
    feature_vectorizer,
    generalized_linear_model,
    identity,
    imputer,
    nearest_neighbors,
    non_maximum_suppression,
    normalizer,
    one_hot_encoder,
    scaler,
    support_vector_machine,
    tree_ensemble,
)
from requant.runtime.classical.registry import FAMILIES, REFUSED
from requant.runtime.classical.runner import ClassicalRunner

__all__ = ["FAMILIES", "REFUSED", "ClassicalRunner"]
