"""Originals from XGBoost: `.ubj` and `.json`, its own formats, which hold numbers and no code.

The trees are read from XGBoost's documented model format. What XGBoost adds to their sum (`base_score`) is stored in
another way by nearly every version, so that it is measured: the margin that XGBoost predicts, less what the trees give.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from requant.convert.settings import ConversionSettings
from requant.convert.source import SourceInput
from requant.convert.tabular import (
    Columns,
    Labels,
    Tree,
    columns_of,
    declare_classifier,
    declare_regressor,
    labels_for,
    new_spec,
    row_of,
    source_inputs,
)
from requant.coreml.model import Model
from requant.errors import RequantError
from requant.frameworks import require

_Task = Literal["number", "logistic", "binary", "multiclass"]
# What XGBoost makes of the sum of the trees, by its name of the objective.
_TASKS: dict[str, _Task] = {
    "reg:squarederror": "number",
    "reg:linear": "number",
    "reg:squaredlogerror": "number",
    "reg:pseudohubererror": "number",
    "reg:absoluteerror": "number",
    "reg:quantileerror": "number",
    "rank:pairwise": "number",
    "rank:ndcg": "number",
    "rank:map": "number",
    "binary:logitraw": "number",
    "reg:logistic": "logistic",
    "binary:logistic": "binary",
    "multi:softprob": "multiclass",
    "multi:softmax": "multiclass",
}


@dataclass(frozen=True)
class _Ensemble:
    """The trees of a model.

    Attributes:
        trees: in XGBoost's order.
        values: of the nodes of each tree; those of leaves count.
        groups: the dimension that each tree adds to.
        dimensions: how many there are.
        columns: how many the model has.
        task: what the sum is for.
    """

    trees: list[Tree]
    values: list[NDArray[np.float64]]
    groups: list[int]
    dimensions: int
    columns: int
    task: _Task

    def total(self, row: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return what the trees give for a row."""
        result = np.zeros(self.dimensions)
        for tree, values, group in zip(self.trees, self.values, self.groups, strict=True):
            result[group] += values[tree.reached(row)]
        return result


@dataclass(frozen=True)
class _Source:
    """An XGBoost model, ready to be run.

    Attributes:
        framework: its name and version.
        inputs: an array, or a number for each named column.
        labels: of a classifier, in the order of its scores; empty for a regressor.
        booster: XGBoost's.
        ensemble: its trees.
        rounds: how many rounds of boosting count.
    """

    framework: str
    inputs: list[SourceInput]
    labels: Labels
    booster: Any
    ensemble: _Ensemble
    rounds: int

    def run(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the predicted number, or the probabilities of all classes."""
        row = row_of(inputs, self.ensemble.columns, "float32")
        if self.ensemble.task == "multiclass":
            return [_softmax(self.margin(row))]
        found = self.predicted(row, margin=False)
        return [np.array([1 - found[0], found[0]])] if self.ensemble.task == "binary" else [found]

    def margin(self, row: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return what XGBoost predicts before the objective's function is applied."""
        return self.predicted(row, margin=True)

    def predicted(self, row: NDArray[np.float32], *, margin: bool) -> NDArray[np.float64]:
        """Return what XGBoost predicts for a row."""
        import xgboost

        data = xgboost.DMatrix(row, feature_names=self.booster.feature_names, feature_types=self.booster.feature_types)
        found = self.booster.predict(data, output_margin=margin, iteration_range=(0, self.rounds))
        return np.asarray(found, np.float64).reshape(-1)


def open_source(original: Path, settings: ConversionSettings) -> _Source:
    """Return an XGBoost original, ready to be run.

    Raises:
        RequantError: if XGBoost is missing, the file can't be read, or Core ML has nothing for what is in it.
    """
    require("xgboost", original)
    import xgboost

    try:
        booster = xgboost.Booster(model_file=str(original))
        model = json.loads(booster.save_raw("json"))
    except (xgboost.core.XGBoostError, ValueError, OSError, TypeError) as error:
        raise RequantError(
            f"{original} is not a model that XGBoost can read, or it is damaged: {_first_line(error)} Save it with "
            "save_model('NAME.ubj')."
        ) from error
    rounds = _rounds(booster)
    ensemble = _ensemble(original, model["learner"], rounds / max(1, booster.num_boosted_rounds()))
    classes = {"binary": 2, "multiclass": ensemble.dimensions}.get(ensemble.task, 0)
    return _Source(
        f"XGBoost {xgboost.__version__}",
        source_inputs(booster.feature_names, ensemble.columns, "float32"),
        labels_for(list(range(classes)), settings) if classes else [],
        booster,
        ensemble,
        rounds,
    )


def convert(original: Path, settings: ConversionSettings) -> Model:
    """Return the float model of an XGBoost original.

    Raises:
        RequantError: if it can't be read, or Core ML has nothing for what is in it.
    """
    source = open_source(original, settings)
    ensemble, columns = source.ensemble, columns_of(source.inputs, settings)
    spec = new_spec()
    columns.declare(spec, "float32")
    body = spec.treeEnsembleClassifier if source.labels else spec.treeEnsembleRegressor
    if source.labels:
        declare_classifier(spec, body, source.labels, True, settings)
    else:
        declare_regressor(spec, settings)
    body.postEvaluationTransform = {"number": 0, "multiclass": 1, "logistic": 2, "binary": 2}[ensemble.task]
    _write(body.treeEnsemble, source, columns)
    return Model(spec, {}, original)


def _write(parameters: Any, source: _Source, columns: Columns) -> None:
    ensemble = source.ensemble
    parameters.numPredictionDimensions = ensemble.dimensions
    parameters.basePredictionValue.extend(_base(source).tolist())
    for number, (tree, values, group) in enumerate(zip(ensemble.trees, ensemble.values, ensemble.groups, strict=True)):
        kept = _for_doubles(tree) if columns.named else tree
        kept.write(parameters, number, values[:, None], [group], below=True)


def _base(source: _Source) -> NDArray[np.float64]:
    """Return what XGBoost adds to the sum of the trees."""
    row = np.full((1, source.ensemble.columns), np.nan, np.float32)
    return source.margin(row) - source.ensemble.total(row[0])


def _for_doubles(tree: Tree) -> Tree:
    """Return a tree that decides for numbers in float64 as XGBoost does, which rounds them to float32 first.

    A number rounds to less than a threshold if it is below the middle between that and the float32 before it.
    """
    threshold = tree.threshold.astype(np.float32)
    before = np.nextafter(threshold, np.float32(-np.inf))
    middle = (threshold.astype(np.float64) + before.astype(np.float64)) / 2
    return Tree(tree.left, tree.right, tree.feature, middle, tree.missing_left)


def _rounds(booster: Any) -> int:
    """Return how many rounds count: up to the best one where training was stopped early, else all."""
    best = booster.attr("best_iteration")
    return int(best) + 1 if best is not None else int(booster.num_boosted_rounds())


# The model format


def _ensemble(original: Path, learner: Any, share: float) -> _Ensemble:
    """Return the trees of a model.

    Args:
        original: for messages.
        learner: of XGBoost's model format.
        share: of the trees that counts, from the first one on.
    """
    objective = learner["objective"]["name"]
    if objective not in _TASKS:
        raise RequantError(
            f"{original} has the objective {objective}, for whose results Core ML has no function. It can have "
            f"{', '.join(sorted(_TASKS))}."
        )
    parameters, booster = learner["learner_model_param"], learner["gradient_booster"]
    factors = booster.get("weight_drop")
    booster = booster.get("gbtree", booster)
    if "trees" not in booster.get("model", {}):
        raise RequantError(
            f"{original} has the booster {booster.get('name')}; only trees (gbtree, dart) are converted."
        )
    if int(parameters.get("num_target", 1)) > 1:
        raise RequantError(
            f"{original} predicts {parameters['num_target']} numbers, where a regressor in Core ML predicts one. Train "
            "one model for each."
        )
    columns, dimensions = int(parameters["num_feature"]), max(1, int(parameters["num_class"]))
    entries = booster["model"]["trees"]
    entries = entries[: round(len(entries) * share)]
    trees = [_tree(original, entry, columns) for entry in entries]
    values = [
        np.asarray(entry["split_conditions"], np.float32) * np.float64(factors[i] if factors else 1)
        for i, entry in enumerate(entries)
    ]
    return _Ensemble(trees, values, booster["model"]["tree_info"][: len(trees)], dimensions, columns, _TASKS[objective])


def _tree(original: Path, entry: Any, columns: int) -> Tree:
    if any(entry.get("split_type", ())):
        raise RequantError(
            f"{original} splits categories (enable_categorical), which trees in Core ML do not. Train it on "
            "columns that are one-hot encoded."
        )
    if int(entry["tree_param"].get("size_leaf_vector", 1)) > 1:
        raise RequantError(
            f"{original} has trees with several numbers in a leaf (multi_output_tree). Train one per output."
        )
    left = np.asarray(entry["left_children"], np.int64)
    tree = Tree(
        left,
        np.asarray(entry["right_children"], np.int64),
        np.asarray(entry["split_indices"], np.int64),
        np.asarray(entry["split_conditions"], np.float32).astype(np.float64),
        np.asarray(entry["default_left"], bool),
    )
    tree.require_sound(original, columns)
    return tree


def _softmax(margin: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(margin - margin.max())
    return np.asarray(powers / powers.sum())


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.lstrip().startswith("[bt]")]
    return lines[0] if lines else type(error).__name__
