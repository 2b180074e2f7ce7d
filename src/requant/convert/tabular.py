"""Core ML models that work on the columns of a table: what those from scikit-learn and from XGBoost have in common.

They are written as Apple's messages, not by coremltools' converters: those take scikit-learn up to 1.5 and XGBoost up
to 1.4, and give other results for several models that they take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from requant.convert.settings import ConversionSettings
from requant.convert.source import SourceInput, resolve_inputs
from requant.errors import RequantError

INPUT, PREDICTION, LABEL, SCORES = "input", "prediction", "classLabel", "classProbability"
Labels = list[str] | list[int]
_VERSION = 1  # of the specification: any system with Core ML has these models


@dataclass(frozen=True)
class Columns:
    """The inputs of a model: one array of all columns, or a number for each named column.

    Attributes:
        names: in the float model, of each column; just one name for the array.
        size: how many columns there are.
        named: whether each column is an input.
    """

    names: list[str]
    size: int
    named: bool

    def declare(self, spec: Any, dtype: str = "float64") -> None:
        """Add the inputs to a model's description."""
        for name in self.names:
            feature = spec.description.input.add(name=name)
            if self.named:
                feature.type.doubleType.SetInParent()
            else:
                _array(feature, self.size, dtype)


def source_inputs(names: Sequence[str] | None, size: int, dtype: str = "float64") -> list[SourceInput]:
    """Return the inputs of a model of columns that have names, or have none."""
    if names is None:
        return [SourceInput(INPUT, dtype, (size,))]
    return [SourceInput(str(name), dtype, ()) for name in names]


def columns_of(inputs: Sequence[SourceInput], settings: ConversionSettings) -> Columns:
    """Return the inputs of the float model.

    Raises:
        RequantError: if the configuration asks for what a table does not have.
    """
    for entry in settings.inputs:
        if entry.color_layout or entry.value is not None or entry.shapes:
            raise RequantError(
                f"conversion.inputs: {entry.name!r} is of a table; it can get another name, but no shape or value."
            )
    named = inputs[0].shape == ()
    shape = inputs[0].shape or (len(inputs),)
    names = [each.name for each in resolve_inputs(inputs, settings)]
    return Columns(names, int(shape[0]) if not named else len(inputs), named)  # type: ignore[arg-type]


def row_of(inputs: Sequence[NDArray[Any]], columns: int, dtype: str) -> NDArray[Any]:
    """Return the row of a table that the inputs are together.

    Raises:
        RequantError: if they hold another count of numbers.
    """
    row: NDArray[Any] = np.concatenate([np.asarray(each, dtype).reshape(-1) for each in inputs])
    if row.size != columns:
        raise RequantError(f"the model takes {columns} numbers, but the inputs hold {row.size}.")
    return row.reshape(1, -1)


def plain_labels(classes: Any, original: Path) -> Labels:
    """Return class labels as Core ML has them: strings or whole numbers.

    Raises:
        RequantError: if they are something else.
    """
    values = np.asarray(classes).tolist()
    if all(isinstance(value, str) for value in values):
        return list(values)
    if all(isinstance(value, bool | int | float) and value == int(value) for value in values):
        return [int(value) for value in values]
    raise RequantError(f"{original} has the class labels {values}; Core ML takes strings or whole numbers.")


def labels_for(found: Labels, settings: ConversionSettings) -> Labels:
    """Return the class labels of the float model: those of the configuration, if it has some.

    Raises:
        RequantError: if it has others than there are classes.
    """
    chosen = settings.labels()
    if not chosen:
        return found
    if len(chosen) != len(found):
        raise RequantError(f"conversion.class_labels has {len(chosen)} labels, but the model has {len(found)} classes.")
    return plain_labels(chosen, Path("conversion.class_labels"))


def new_spec() -> Any:
    """Return an empty `Model` message."""
    from requant.coreml.messages import Model_pb2

    return Model_pb2.Model(specificationVersion=_VERSION)


def declare_regressor(spec: Any, settings: ConversionSettings) -> None:
    """Add the output of a regressor, a number, to a model's description."""
    (name,) = _output_names([PREDICTION], settings)
    spec.description.output.add(name=name).type.doubleType.SetInParent()
    spec.description.predictedFeatureName = name


def declare_classifier(spec: Any, body: Any, labels: Labels, scores: bool, settings: ConversionSettings) -> None:
    """Add the outputs of a classifier to a model's description, and its labels to its body.

    Args:
        spec: the model.
        body: of it, or of the model that it ends in.
        labels: in the order of the scores.
        scores: whether it has any.
        settings: what the configuration says.
    """
    names = _output_names([LABEL, SCORES] if scores else [LABEL], settings)
    strings = isinstance(labels[0], str)
    vector = body.stringClassLabels if strings else body.int64ClassLabels
    vector.vector.extend(labels)
    label = spec.description.output.add(name=names[0])
    (label.type.stringType if strings else label.type.int64Type).SetInParent()
    spec.description.predictedFeatureName = names[0]
    if scores:
        dictionary = spec.description.output.add(name=names[1]).type.dictionaryType
        (dictionary.stringKeyType if strings else dictionary.int64KeyType).SetInParent()
        spec.description.predictedProbabilitiesName = names[1]


def _output_names(usual: list[str], settings: ConversionSettings) -> list[str]:
    chosen = [output.name for output in settings.outputs]
    if chosen and len(chosen) != len(usual):
        raise RequantError(
            f"conversion.outputs names {len(chosen)} outputs, but the model has {len(usual)}: {', '.join(usual)}."
        )
    return chosen or usual


def declare_array(spec: Any, name: str, size: int, *, output: bool) -> None:
    """Add an array to a model's description."""
    features = spec.description.output if output else spec.description.input
    _array(features.add(name=name), size, "float64")


def _array(feature: Any, size: int, dtype: str) -> None:
    array = feature.type.multiArrayType
    array.shape.append(size)
    array.dataType = array.DOUBLE if dtype == "float64" else array.FLOAT32


def vectorizer(columns: Columns, output: str) -> Any:
    """Return the model that lines named columns up in one array."""
    spec = new_spec()
    columns.declare(spec)
    declare_array(spec, output, columns.size, output=True)
    for name in columns.names:
        spec.featureVectorizer.inputList.add(inputColumn=name, inputDimensions=1)
    return spec


@dataclass(frozen=True)
class Tree:
    """A decision tree as arrays with an element for each node; the root is node 0, and a leaf has no children (-1)."""

    left: NDArray[Any]
    right: NDArray[Any]
    feature: NDArray[Any]
    threshold: NDArray[Any]
    missing_left: NDArray[Any]

    def require_sound(self, original: Path, columns: int) -> None:
        """Make sure that the nodes form a tree and look at columns that there are.

        Raises:
            RequantError: if they do not.
        """
        inner = self.left != -1
        children = np.concatenate([self.left[inner], self.right[inner]])
        sizes = {len(array) for array in (self.left, self.right, self.feature, self.threshold, self.missing_left)}
        if len(sizes) != 1 or not len(self.left) or (children <= 0).any() or (children >= len(self.left)).any():
            raise RequantError(f"{original} is damaged: the nodes of a tree do not form one.")
        if len(set(children.tolist())) != len(children) or self._depth() is None:
            raise RequantError(f"{original} is damaged: the nodes of a tree do not form one.")
        features = self.feature[inner]
        if ((features < 0) | (features >= columns)).any():
            raise RequantError(f"{original} is damaged: a tree looks at a column that the model does not have.")

    def _depth(self) -> int | None:
        """Return the number of levels; None if going down never ends."""
        level, depth = np.array([0]), 0
        while level.size:
            if depth > len(self.left):
                return None
            level = level[self.left[level] != -1]
            level, depth = np.concatenate([self.left[level], self.right[level]]), depth + 1
        return depth

    def reached(self, row: NDArray[np.float32]) -> int:
        """Return the leaf that a row comes to, `value < threshold` being the way to the left."""
        node = 0
        while self.left[node] != -1:
            value = row[self.feature[node]]
            left = self.missing_left[node] if np.isnan(value) else value < self.threshold[node]
            node = int(self.left[node] if left else self.right[node])
        return node

    def write(
        self, parameters: Any, number: int, values: NDArray[Any], dimensions: Sequence[int], *, below: bool
    ) -> None:
        """Add the tree to the parameters of an ensemble.

        Args:
            parameters: Apple's message.
            number: of the tree.
            values: a row for each node, of which those of leaves count.
            dimensions: what the elements of a row are added to.
            below: whether it is `<` that leads to the left, and not `<=`.
        """
        reached = [0]
        for node in reached:
            leaf = self.left[node] == -1
            entry = parameters.nodes.add(treeId=number, nodeId=node)
            if leaf:
                entry.nodeBehavior = entry.LeafNode
                for dimension, value in zip(dimensions, values[node].tolist(), strict=True):
                    entry.evaluationInfo.add(evaluationIndex=dimension, evaluationValue=value)
                continue
            entry.nodeBehavior = entry.BranchOnValueLessThan if below else entry.BranchOnValueLessThanEqual
            entry.branchFeatureIndex = int(self.feature[node])
            entry.branchFeatureValue = float(self.threshold[node])
            entry.trueChildNodeId, entry.falseChildNodeId = int(self.left[node]), int(self.right[node])
            entry.missingValueTracksTrueChild = bool(self.missing_left[node])
            reached += [int(self.left[node]), int(self.right[node])]
