"""Evaluation data: what a model's variants are run on.

    settings.py     the key `data` of the configuration as a value; light
    classes.py      the labels of a classifier whose output is a plain array
    samples.py      samples for a model, and which of them are taken
    FORM.py         one module per form, found through the table below

Inputs are read when they are asked for, a sample at a time. Without data there are inputs made up from a seed, which
respect each input's type and are marked as such wherever figures are shown.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from requant.evaluate.data.classes import class_labels
from requant.evaluate.data.samples import EvaluationData
from requant.evaluate.data.settings import Data, DataSettings, Form
from requant.originals import sha256

if TYPE_CHECKING:  # the workflow lists data files each time it is read, and should not wait for coremltools
    from requant.coreml.description import Feature

__all__ = ["Data", "DataSettings", "EvaluationData", "data_files", "describe_data", "load_data"]

MODULES: dict[Form, str] = {
    "synthetic": "synthetic",
    "pictures": "pictures",
    "table": "table",
    "arrays": "arrays",
    "audio": "audio",
    "idx": "idx",
    "loader": "loader",
}


class FormOfData(Protocol):
    """What every module of a form offers."""

    def files(self, settings: DataSettings) -> list[Path]:
        """Return the files that the samples taken are read from; raise `RequantError` if there are none."""
        ...

    def describe(self, settings: DataSettings) -> str:
        """Return in words what is taken of what."""
        ...

    def load(self, settings: DataSettings, features: list[Feature]) -> EvaluationData:
        """Return the samples that are taken; raise `RequantError` if they do not fit a model with these inputs."""
        ...


def data_files(data: Data) -> list[Path]:
    """Return the files that evaluation data consists of, each once; of a subset of pictures, those that are taken.

    Raises:
        RequantError: if there are none.
    """
    settings = DataSettings.of(data)
    settings.require_existing()
    classes = [settings.classes] if isinstance(settings.classes, Path) else []
    return list(dict.fromkeys([*_module_of(settings).files(settings), *classes]))


def describe_data(data: Data) -> dict[str, Any]:
    """Return a record of evaluation data: where it is, what it is in words, and the SHA-256 of each file.

    Raises:
        RequantError: if there is none.
    """
    settings = DataSettings.of(data)
    files = data_files(settings)
    place = settings.path or settings.images
    return {
        "path": place.as_posix() if place else settings.loader or None,
        "settings": settings.to_table(),
        "description": _module_of(settings).describe(settings),
        "sha256": {file.as_posix(): sha256(file) for file in files},
    }


def load_data(data: Data, features: list[Feature]) -> EvaluationData:
    """Return evaluation data for a model with these inputs.

    Args:
        data: settings, a table of them, a path, or nothing for inputs that are made up.
        features: the model's inputs.

    Raises:
        RequantError: if the data does not fit the model's inputs.
    """
    settings = DataSettings.of(data)
    settings.require_existing()
    samples = _module_of(settings).load(settings, features)
    return replace(samples, classes=class_labels(settings), class_scores=settings.class_scores)


def _module_of(settings: DataSettings) -> FormOfData:
    return cast("FormOfData", import_module(f"{__name__}.{MODULES[settings.form]}"))
