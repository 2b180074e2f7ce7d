"""Making the float model of a preserved original: converted, written canonically, read back and audited."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from requant.convert import FLOAT, convert
from requant.coreml.audit import audit
from requant.coreml.model import load, save
from requant.originals import require_unchanged


def make_float_model(original: Path, record: Mapping[str, Any], output: Path) -> dict[str, Any]:
    """Write the float model of an original and return its audit.

    Args:
        original: the preserved original.
        record: what `requant.originals.verify` wrote of it; the bytes read have to be those.
        output: where to write the model.

    Raises:
        RequantError: if the original changed after it was verified, can't be converted, or is quantized already.
    """
    require_unchanged(original, record)
    model = convert(original)
    save(model, output)
    return audit(load(output), model, FLOAT)
