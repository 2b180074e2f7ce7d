"""What a model gave for all samples, kept in one file so that nothing has to be run twice."""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from requant.errors import RequantError
from requant.evaluate.data import EvaluationData
from requant.evaluate.metrics import are_distributions
from requant.records import write_whole
from requant.runtime import Runner

PROGRESS_EVERY = 500  # samples between two lines in the log


@dataclass(frozen=True)
class ModelOutputs:
    """A model's outputs on evaluation data, the samples along the first axis of every array.

    Attributes:
        names: of the samples.
        targets: the right labels, empty for data without labels.
        synthetic: whether the inputs are made up.
        pictures: uint8 (samples, height, width[, 3]) by output.
        arrays: float (samples, ...) by output.
        probabilities: float64 (samples, classes) by output.
        classes: the labels of the columns of `probabilities`.
        labels: the label that the model gave, by output.
    """

    names: list[str]
    targets: list[str]
    synthetic: bool
    pictures: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    probabilities: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    labels: dict[str, list[str]] = field(default_factory=dict)


def run_all(runner: Runner, data: EvaluationData) -> ModelOutputs:
    """Run a model on all samples; a stateful model starts each with a new state.

    Raises:
        RequantError: if a sample does not fit the model, or an output is not finite, naming the sample.
    """
    collected: dict[str, list[Any]] = {feature.name: [] for feature in runner.outputs}
    for index, name in enumerate(data.names):
        if index % PROGRESS_EVERY == 0:
            logging.info("sample %s", data.place_of(index))
        try:
            outputs = runner.predict(data.inputs(index), runner.make_state())
        except RequantError as error:
            raise RequantError(f"sample {name}: {error}") from error
        for key, value in outputs.items():
            collected[key].append(value)
    result = ModelOutputs(list(data.names), list(data.targets), data.synthetic)
    for key, values in collected.items():
        if values:
            _add(result, key, values)
    if data.classes:
        _name_classes(result, data)
    return result


def _name_classes(result: ModelOutputs, data: EvaluationData) -> None:
    """Turn the array of the classes' scores into probabilities and labels, as a classifier gives them.

    Scores that are no probabilities are taken for logits: their softmax is.
    """
    from scipy.special import softmax

    name = _output_of_scores(result, data)
    scores = result.arrays.pop(name).reshape(len(result.names), -1).astype(np.float64)
    known = list(data.classes)
    if result.targets and not set(result.targets) & set(known):
        raise RequantError(
            f"data: no sample has a label that is in classes: the samples have {result.targets[0]!r} and others, "
            f"classes has {known[0]!r} and others."
        )
    result.classes[:] = known
    result.probabilities[name] = scores if are_distributions(scores) else softmax(scores, axis=1)
    result.labels[f"{name}_label"] = [known[index] for index in scores.argmax(axis=1)]


def _output_of_scores(result: ModelOutputs, data: EvaluationData) -> str:
    if result.labels:
        raise RequantError(
            f"data: classes is for models that give no labels, and this one does, as {next(iter(result.labels))!r}. "
            "Leave it out."
        )
    sizes = {name: array[0].size for name, array in result.arrays.items()}
    fitting = [name for name, size in sizes.items() if size == len(data.classes)]
    if data.class_scores:
        fitting = [name for name in fitting if name == data.class_scores]
    if len(fitting) == 1:
        return fitting[0]
    found = ", ".join(f"{name} has {size:,} numbers" for name, size in sizes.items()) or "it has no arrays"
    hint = " Say which one it is: class_scores." if fitting else ""
    raise RequantError(
        f"data: classes has {len(data.classes):,} labels, and {'more than one' if fitting else 'no'} output of the "
        f"model can hold their scores ({found}).{hint}"
    )


def _add(result: ModelOutputs, name: str, values: list[Any]) -> None:
    first = values[0]
    if isinstance(first, Image.Image):
        result.pictures[name] = _stacked(name, values)
    elif isinstance(first, dict):
        keys = list(dict.fromkeys(key for value in values for key in value))  # not every sample has to have them all
        result.classes[:] = [str(key) for key in keys]
        result.probabilities[name] = np.array([[value.get(key, 0.0) for key in keys] for value in values])
    elif isinstance(first, str | int) and not isinstance(first, bool):
        result.labels[name] = [str(value) for value in values]
    else:
        stacked = _stacked(name, values)
        if not np.isfinite(stacked).all():
            raise RequantError(f"the output {name!r} has numbers that are not finite.")
        result.arrays[name] = stacked


def _stacked(name: str, values: list[Any]) -> NDArray[Any]:
    arrays = [np.asarray(value) for value in values]
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) > 1:
        raise RequantError(
            f"the output {name!r} has another shape for other samples ({shapes[0]}, {shapes[-1]}), but the outputs of "
            "all samples are kept as one array. Give samples of one size."
        )
    return np.stack(arrays)


_GROUPS = ("pictures", "arrays", "probabilities", "labels")


def save_outputs(outputs: ModelOutputs, path: Path) -> None:
    """Write outputs to an `.npz` file."""
    entries: dict[str, Any] = {
        "names": np.array(outputs.names, str),
        "targets": np.array(outputs.targets, str),
        "classes": np.array(outputs.classes, str),
        "synthetic": np.array(outputs.synthetic),
    }
    for group in _GROUPS:
        entries |= {f"{group}/{name}": np.asarray(values) for name, values in getattr(outputs, group).items()}
    buffer = io.BytesIO()
    np.savez(buffer, **entries)
    write_whole(path, buffer.getvalue())


def load_outputs(path: Path) -> ModelOutputs:
    """Read outputs that `save_outputs` wrote."""
    with np.load(path, allow_pickle=False) as archive:
        groups: dict[str, dict[str, Any]] = {group: {} for group in _GROUPS}
        for key in archive.files:
            group, separator, name = key.partition("/")
            if separator:
                groups[group][name] = archive[key].tolist() if group == "labels" else archive[key]
        return ModelOutputs(
            archive["names"].tolist(),
            archive["targets"].tolist(),
            bool(archive["synthetic"]),
            classes=archive["classes"].tolist(),
            **groups,
        )
