"""Inputs made up from a seed, for a model without evaluation data; marked as such wherever figures are shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from requant.errors import RequantError
from requant.evaluate.data.samples import EvaluationData
from requant.evaluate.data.settings import DataSettings

if TYPE_CHECKING:
    from requant.coreml.description import Feature

SAMPLES = 8
SEED = 20180604
_FEW = 8  # entries of a dictionary or sequence


def files(settings: DataSettings) -> list[Path]:
    """Return no files."""
    del settings
    return []


def describe(settings: DataSettings) -> str:
    """Return in words how many inputs are made up."""
    count = settings.samples or SAMPLES
    return f"{count:,} input{'' if count == 1 else 's'} made up from a seed"


def load(settings: DataSettings, features: list[Feature]) -> EvaluationData:
    """Return samples that respect each input's type."""
    seed = SEED if settings.seed is None else settings.seed
    return EvaluationData(
        [f"synthetic {index}" for index in range(settings.samples or SAMPLES)],
        lambda index: {f.name: _made_up(f, np.random.default_rng([seed, index])) for f in features},
        synthetic=True,
    )


def _made_up(feature: Feature, random: np.random.Generator) -> Any:
    """Return a picture of soft coloured clouds, normally distributed numbers, or zeros and ones for whole numbers.

    Raises:
        RequantError: if the values that an input may have are known to nobody but the user, as words are.
    """
    if feature.type == "picture":
        return _clouds(feature, random)
    if feature.type == "array" and feature.shape:
        if feature.dtype.startswith("int"):
            return random.integers(0, 2, feature.shape)
        return random.standard_normal(feature.shape).astype(np.float32)
    if feature.type == "number":
        return float(random.standard_normal())
    if feature.type == "integer":
        return int(random.integers(0, 2))
    if feature.type == "sequence" and feature.keys == "integer":
        return random.integers(0, 2, _FEW).tolist()
    if feature.type == "dictionary" and feature.keys == "integer":
        return dict(enumerate(random.standard_normal(_FEW).tolist()))
    words = f"{feature.type} of {feature.keys}s" if feature.keys else feature.type
    raise RequantError(
        f"no inputs can be made up for {feature.name!r} ({words}). Give evaluation data: data: FILE.npz with numbers "
        "or strings, or data: {loader: file.py:function}"
    )


def _clouds(feature: Feature, random: np.random.Generator) -> Image.Image:
    channels = 1 if feature.colour.startswith("GRAYSCALE") else 3
    cells = random.integers(0, 256, (8, 8, channels), np.uint8)
    picture = Image.fromarray(cells[..., 0] if channels == 1 else cells)
    return picture.resize((feature.shape[1], feature.shape[0]), Image.Resampling.BICUBIC)
