"""Making the float model of a preserved original: converted, written canonically, read back and audited."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from requant.convert import FLOAT, convert
from requant.convert.settings import ConversionSettings
from requant.coreml.audit import audit
from requant.coreml.inventory import require_float
from requant.coreml.model import Model, load, save
from requant.errors import RequantError
from requant.originals import require_unchanged


def make_float_model(
    original: Path, record: Mapping[str, Any], output: Path, settings: ConversionSettings | None = None
) -> dict[str, Any]:
    """Write the float model of an original and return its audit.

    Args:
        original: the preserved original.
        record: what `requant.originals.verify` wrote of it; the bytes read have to be those.
        output: where to write the model.
        settings: what the configuration says of the conversion.

    Raises:
        RequantError: if the original changed after it was verified, can't be converted, or is quantized already.
    """
    require_unchanged(original, record)
    model = convert_file(original, output, settings)
    return audit(load(output), model, FLOAT)


def convert_file(original: Path, output: Path, settings: ConversionSettings | None = None) -> Model:
    """Write the float model of a source and return it.

    Raises:
        RequantError: if the source can't be converted, or is quantized already.
    """
    model = convert(original, settings)
    require_float(model)
    save(model, output)
    return model


def read_conversion(path: Path | None) -> ConversionSettings:
    """Return the settings in a YAML file with the keys of the configuration's `conversion`; the default for None.

    Raises:
        RequantError: if it can't be read, or has unknown keys.
    """
    if path is None:
        return ConversionSettings()
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RequantError(f"{path} can't be read as YAML: {error}.") from error
    if not isinstance(table, dict | None):
        raise RequantError(f"{path} has to hold the keys of `conversion`, not {type(table).__name__}.")
    return ConversionSettings.of(table)
