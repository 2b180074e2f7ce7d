"""A folder of pictures, or one folder of pictures per class label; and what is done to any picture for a model."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageOps

from requant.errors import RequantError
from requant.evaluate.data.samples import EvaluationData, drawn, files_below, in_words, labels_by_folder
from requant.evaluate.data.settings import KEEP, PICTURE_SUFFIXES, DataSettings

if TYPE_CHECKING:
    from requant.coreml.description import Feature


def files(settings: DataSettings) -> list[Path]:
    """Return the pictures that are taken."""
    found = _all(settings)
    return [found[index] for index in drawn(len(found), settings)]


def describe(settings: DataSettings) -> str:
    """Return in words how many pictures are taken."""
    return in_words(len(_all(settings)), "picture", _folder(settings), settings)


def load(settings: DataSettings, features: list[Feature]) -> EvaluationData:
    """Return the pictures of a folder for a model with one picture as its input.

    Raises:
        RequantError: if the model has other inputs, or the folder holds both pictures and folders of pictures.
    """
    folder, found = _folder(settings), _all(settings)
    names = [file.relative_to(folder).as_posix() for file in found]
    feature = the_picture(features, folder, settings)
    labels = labels_by_folder(folder, found, "picture")
    return EvaluationData(names, lambda index: read_input(found[index], feature, settings), labels).subset(settings)


def _folder(settings: DataSettings) -> Path:
    assert settings.path is not None  # this is what makes it a folder of pictures
    return settings.path


def _all(settings: DataSettings) -> list[Path]:
    return files_below(_folder(settings), PICTURE_SUFFIXES, "picture")


def the_picture(features: list[Feature], source: Path, settings: DataSettings) -> Feature:
    """Return the one input of a model that takes a picture.

    Raises:
        RequantError: if it has other inputs, or pictures can't keep their size as the settings say.
    """
    if len(features) != 1 or features[0].type != "picture":
        declared = ", ".join(f"{f.name} ({f.type})" for f in features)
        raise RequantError(
            f"{source} holds pictures, but the model's inputs are {declared}. Give an .npz file with an array for each."
        )
    require_flexible(features[0], settings)
    return features[0]


def require_flexible(feature: Feature, settings: DataSettings) -> None:
    """Make sure that a model takes pictures of several sizes, if they are to keep theirs.

    Raises:
        RequantError: if it takes just one.
    """
    if settings.size == KEEP and not (feature.sizes or feature.bounds):
        height, width = feature.shape
        raise RequantError(
            f"data: size is {KEEP}, but the model takes pictures of {width} x {height} pixels only. Leave size out."
        )


def read_input(path: Path, feature: Feature, settings: DataSettings) -> dict[str, Any]:
    """Return a picture as a model's one input."""
    return {feature.name: sized(read_picture(path), feature, settings)}


def read_picture(path: Path) -> Image.Image:
    """Return a picture, turned upright, as RGB.

    Raises:
        RequantError: if the file can't be read as a picture.
    """
    try:
        with Image.open(path) as picture:
            return ImageOps.exif_transpose(picture).convert("RGB")
    except Exception as error:  # of damaged files, and those of too many pixels, Pillow raises whatever comes of them
        raise RequantError(f"{path} can't be read as a picture: {error}.") from error


def sized(picture: Image.Image, feature: Feature, settings: DataSettings) -> Image.Image:
    """Return a picture in the size that a model declares or, if it is to keep its own, in the closest allowed one."""
    if settings.size == KEEP:
        return fitted(picture, feature, closest_size((picture.height, picture.width), feature))
    return fitted(picture, feature)


def fitted(picture: Image.Image, feature: Feature, size: tuple[int, ...] = ()) -> Image.Image:
    """Return the largest centred part of a picture that has a size's proportions, resampled to it.

    Args:
        picture: any.
        feature: the input that it is for.
        size: (height, width), the declared one if it is left out.
    """
    height, width = size or feature.shape
    scale = min(picture.width / width, picture.height / height)
    part = (round(width * scale), round(height * scale))
    left, top = (picture.width - part[0]) // 2, (picture.height - part[1]) // 2
    box = (left, top, left + part[0], top + part[1])
    return picture.resize((width, height), Image.Resampling.LANCZOS, box)


def closest_size(size: tuple[int, int], feature: Feature) -> tuple[int, ...]:
    """Return the size that is closest to (height, width) of those that a model takes.

    Of enumerated sizes, the one with the closest proportions, and of these the closest in pixels. In a range, the size
    itself, or it made smaller or larger as little as it takes; proportions that no size has are cut.
    """
    if feature.accepts(size):
        return size
    if feature.sizes:
        return min(feature.sizes, key=lambda allowed: _distance(size, allowed))
    ranges = [(max(low, 1), high if high >= 0 else math.inf) for low, high in feature.bounds]
    least = max(low / side for side, (low, _) in zip(size, ranges, strict=True))
    most = min(high / side for side, (_, high) in zip(size, ranges, strict=True))
    scale = min(max(1.0, least), most)
    return tuple(int(min(max(round(side * scale), low), high)) for side, (low, high) in zip(size, ranges, strict=True))


def _distance(size: tuple[int, ...], other: tuple[int, ...]) -> tuple[float, float]:
    heights, widths = math.log(size[0] / other[0]), math.log(size[1] / other[1])
    return round(abs(heights - widths), 6), abs(heights + widths)
