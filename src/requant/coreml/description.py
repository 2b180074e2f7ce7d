"""A model's inputs and outputs as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from requant.coreml.model import Model
from requant.coreml.network import network_of
from requant.errors import RequantError

FeatureType = Literal[
    "picture", "array", "dictionary", "sequence", "label", "string", "integer", "number", "other"
]  # fmt: skip
KeyType = Literal["", "string", "integer"]
ColourLayout = Literal["RGB", "BGR", "GRAYSCALE", "GRAYSCALE_FLOAT16"]
_ARRAY_TYPES = {65568: "float32", 65600: "float64", 131104: "int32", 65552: "float16", 131080: "int8"}

_SCALARS: dict[str, FeatureType] = {"stringType": "string", "int64Type": "integer", "doubleType": "number"}
_KEYS: dict[str | None, KeyType] = {
    "stringType": "string", "int64Type": "integer", "stringKeyType": "string", "int64KeyType": "integer", None: "",
}  # fmt: skip


@dataclass(frozen=True)
class Feature:
    """One input or output of a model.

    Attributes:
        name: as the model has it.
        type: what is passed: a picture, an array, a dictionary of numbers, a sequence of strings or integers, a
            classifier's label, another string or integer, or a number.
        shape: of an array, as declared (empty where the model leaves it open); (height, width) of a picture.
        dtype: of an array's elements.
        colour: the colour layout of a picture.
        optional: whether an input may be left out.
        sizes: all shapes that the model allows, where it enumerates them.
        bounds: the least and the greatest size per axis (-1: no greatest), where the model allows ranges.
        default: the number that fills an array that is left out.
        keys: what the keys of a dictionary, the elements of a sequence or a label are.
    """

    name: str
    type: FeatureType
    shape: tuple[int, ...] = ()
    dtype: str = "float32"
    colour: ColourLayout = "RGB"
    optional: bool = False
    sizes: tuple[tuple[int, ...], ...] = ()
    bounds: tuple[tuple[int, int], ...] = ()
    default: float = 0.0
    keys: KeyType = ""

    @property
    def open_shape(self) -> tuple[int, ...]:
        """The shape, -1 for a size that the model leaves open."""
        allowed = [{size, *(other[i] for other in self.sizes)} for i, size in enumerate(self.shape)]
        for axis, bounds in enumerate(self.bounds[: len(allowed)]):
            allowed[axis] |= set(bounds)
        return tuple(size if len(allowed[axis]) == 1 else -1 for axis, size in enumerate(self.shape))

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Return whether the model takes an array, or a picture (height, width), of this shape."""
        if self.sizes:
            return shape in self.sizes
        if self.bounds:
            fits = (
                low <= size and (high < 0 or size <= high)
                for size, (low, high) in zip(shape, self.bounds, strict=False)
            )
            return len(shape) == len(self.bounds) and all(fits)
        return not self.shape or shape == self.shape


def inputs_of(model: Model, function: str = "") -> list[Feature]:
    """Return the inputs that the model declares, for one of its functions or for the one that is its default."""
    return [_feature(feature) for feature in _description(model, function).input]


def outputs_of(model: Model, function: str = "") -> list[Feature]:
    """Return the outputs that the model declares, for one of its functions or for the one that is its default."""
    description = _description(model, function)
    return [_feature(feature, description.predictedFeatureName) for feature in description.output]


def predicted_names(model: Model, function: str = "") -> tuple[str, str]:
    """Return the names of a classifier's label and of its dictionary of probabilities; empty where there is none."""
    description = _description(model, function)
    return description.predictedFeatureName, description.predictedProbabilitiesName


def _description(model: Model, function: str) -> Any:
    description = model.spec.description
    name = function or description.defaultFunctionName
    return next((found for found in description.functions if found.name == name), description)


def _feature(feature: Any, label: str = "") -> Feature:
    kind = feature.type.WhichOneof("Type")
    optional = feature.type.isOptional
    if kind == "imageType":
        return _picture(feature.name, feature.type.imageType, optional)
    if kind == "multiArrayType":
        return _array(feature.name, feature.type.multiArrayType, optional)
    if kind in _SCALARS:
        scalar = _SCALARS[kind]
        if feature.name == label and scalar != "number":
            return Feature(feature.name, "label", optional=optional, keys=_KEYS[kind])
        return Feature(feature.name, scalar, optional=optional)
    if kind == "dictionaryType":
        keys = _KEYS[feature.type.dictionaryType.WhichOneof("KeyType")]
        return Feature(feature.name, "dictionary", optional=optional, keys=keys)
    if kind == "sequenceType":
        keys = _KEYS[feature.type.sequenceType.WhichOneof("Type")]
        return Feature(feature.name, "sequence", optional=optional, keys=keys)
    return Feature(feature.name, "other", optional=optional)


def _picture(name: str, image: Any, optional: bool) -> Feature:
    if image.colorSpace not in image.ColorSpace.values():
        raise RequantError(f"the picture {name!r} is in colours that requant does not know ({image.colorSpace}).")
    sizes = tuple((size.height, size.width) for size in image.enumeratedSizes.sizes)
    bounds: tuple[tuple[int, int], ...] = ()
    if image.WhichOneof("SizeFlexibility") == "imageSizeRange":
        bounds = tuple(_range(r) for r in (image.imageSizeRange.heightRange, image.imageSizeRange.widthRange))
    colour = image.ColorSpace.Name(image.colorSpace)
    return Feature(name, "picture", (image.height, image.width), "uint8", colour, optional, sizes, bounds)


def _array(name: str, array: Any, optional: bool) -> Feature:
    sizes = tuple(tuple(shape.shape) for shape in array.enumeratedShapes.shapes)
    bounds = tuple(_range(r) for r in array.shapeRange.sizeRanges)
    if any(len(size) != len(array.shape) for size in sizes if array.shape):
        raise RequantError(f"the array {name!r} has {len(array.shape)} axes, but is allowed to have others.")
    default = array.WhichOneof("defaultOptionalValue")
    return Feature(
        name,
        "array",
        tuple(array.shape),
        _ARRAY_TYPES.get(array.dataType, "float32"),
        optional=optional,
        sizes=sizes,
        bounds=bounds,
        default=getattr(array, default) if default else 0.0,
    )


def _range(sizes: Any) -> tuple[int, int]:
    """Return the least and the greatest size of a `SizeRange`; -1 for no greatest one."""
    return sizes.lowerBound, sizes.upperBound if sizes.upperBound >= 0 else -1


def class_labels(model: Model) -> list[str] | list[int]:
    """Return a NeuralNetwork classifier's labels in the order of its scores; empty for any other model."""
    if model.spec.WhichOneof("Type") != "neuralNetworkClassifier":
        return []
    network = network_of(model.spec)
    kind = network.WhichOneof("ClassLabels")
    return list(getattr(network, kind).vector) if kind else []
