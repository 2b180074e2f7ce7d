"""Conversion: from an original in any source format to a float Core ML model.

Each source format is one module with a function `convert(path) -> Model`; this table finds it by the suffix. A module
is imported when it is needed, so that what one format requires is no burden for the others.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, cast

from requant.coreml.kind import Kind, read_kind
from requant.errors import RequantError

if TYPE_CHECKING:
    from requant.coreml.model import Model

FLOAT = "float"  # the float model's name, where a variant has that of its scheme
SOURCES: dict[str, str] = {
    ".mlmodel": "requant.convert.coreml_model",
    ".mlpackage": "requant.convert.coreml_model",
}


def require_source(original: Path) -> None:
    """Make sure that there is a conversion for an original's format.

    Raises:
        RequantError: if there is none, naming those that there are.
    """
    if original.suffix not in SOURCES:
        raise RequantError(
            f"{original} has the suffix {original.suffix or '(none)'}; an original is one of {', '.join(SOURCES)}."
        )


def kind_of_float_model(original: Path) -> Kind:
    """Return the kind of model that the conversion of an original gives, without converting it."""
    require_source(original)
    return read_kind(original)


def convert(original: Path) -> Model:
    """Return the float Core ML model of an original.

    Raises:
        RequantError: if the format is unknown, the file can't be read, or its weights are quantized already.
    """
    require_source(original)
    module = importlib.import_module(SOURCES[original.suffix])
    return cast("Model", module.convert(original))
