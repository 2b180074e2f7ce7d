"""Conversion: from an original in any source format to a float Core ML model.

Each source format is one module with two functions, `convert(path, settings) -> Model` and
`open_source(path, settings) -> Source`, which runs the source in its own framework; this table finds it by the suffix.
A module is imported when it is needed, so that what one format requires is no burden for the others. Nothing heavy is
imported here.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

from requant.convert.settings import ConversionSettings
from requant.coreml.kind import Kind, read_kind
from requant.errors import RequantError
from requant.frameworks import Extra, require

if TYPE_CHECKING:
    from requant.convert.source import Source
    from requant.coreml.model import Model

FLOAT = "float"  # the float model's name, where a variant has that of its scheme


@dataclass(frozen=True)
class Format:
    """A source format.

    Attributes:
        title: for people.
        module: with its functions, below this package.
        extra: the framework that it needs, if that is not installed with this project.
        kind: of the float model, where the format alone decides it; None where the configuration does.
    """

    title: str
    module: str
    extra: Extra | None = None
    kind: Kind | None = None


_PYTORCH = Format("PyTorch", "pytorch_model", "torch")
_TENSORFLOW = Format("TensorFlow", "tensorflow_model", "tensorflow")
_SCIKIT_LEARN = Format("scikit-learn", "scikit_learn_model", "scikit-learn", Kind.OTHER)
_XGBOOST = Format("XGBoost", "xgboost_model", "xgboost", Kind.OTHER)
CORE_ML = Format("Core ML", "coreml_model")
SOURCES: dict[str, Format] = {
    ".mlmodel": CORE_ML,
    ".mlpackage": CORE_ML,
    ".pt2": _PYTORCH,
    ".pt": _PYTORCH,
    ".pth": _PYTORCH,
    ".ts": _PYTORCH,
    ".onnx": Format("ONNX", "onnx"),
    ".keras": _TENSORFLOW,
    ".h5": _TENSORFLOW,
    ".hdf5": _TENSORFLOW,
    ".savedmodel": _TENSORFLOW,
    ".skops": _SCIKIT_LEARN,
    ".joblib": _SCIKIT_LEARN,
    ".pkl": _SCIKIT_LEARN,
    ".pickle": _SCIKIT_LEARN,
    ".ubj": _XGBOOST,
    ".json": _XGBOOST,
}


def format_of(original: Path) -> Format:
    """Return the format of an original.

    Raises:
        RequantError: if there is no conversion for it, naming those that there are.
    """
    if original.suffix not in SOURCES:
        raise RequantError(
            f"{original} has the suffix {original.suffix or '(none)'}; an original is one of {', '.join(SOURCES)}."
        )
    return SOURCES[original.suffix]


def is_core_ml(original: Path) -> bool:
    """Return whether an original is a Core ML model already, with no other framework to hold it against."""
    return format_of(original) is CORE_ML


def kind_of_float_model(original: Path, settings: ConversionSettings | None = None) -> Kind:
    """Return the kind of model that the conversion of an original gives, without converting it."""
    if is_core_ml(original):
        return read_kind(original)
    return format_of(original).kind or (settings or ConversionSettings()).convert_to


def convert(original: Path, settings: ConversionSettings | None = None) -> Model:
    """Return the float Core ML model of an original.

    Raises:
        RequantError: if the format is unknown, its framework is missing, the file can't be read or converted, or its
            weights are quantized already.
    """
    return cast("Model", _module(original).convert(original, settings or ConversionSettings()))


def open_source(original: Path, settings: ConversionSettings | None = None) -> Source:
    """Return an original opened in its own framework, to be run.

    Raises:
        RequantError: as `convert`; also for a Core ML model, which is its own float model.
    """
    if is_core_ml(original):
        raise RequantError(f"{original} is a Core ML model already; there is no other framework to run it in.")
    return cast("Source", _module(original).open_source(original, settings or ConversionSettings()))


def require_framework(original: Path) -> None:
    """Make sure that what the conversion of an original needs is installed; see `requant.frameworks.require`."""
    extra = format_of(original).extra
    if extra:
        require(extra, original)


def _module(original: Path) -> ModuleType:
    require_framework(original)
    return importlib.import_module(f"requant.convert.{format_of(original).module}")


__all__ = [
    "CORE_ML", "FLOAT", "SOURCES", "Format", "convert", "format_of", "is_core_ml", "kind_of_float_model",
    "open_source", "require_framework",
]  # fmt: skip
