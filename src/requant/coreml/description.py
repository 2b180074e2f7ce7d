"""A model's inputs and outputs as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from requant.coreml.kind import Kind
from requant.coreml.model import Model
from requant.coreml.network import network_of

FeatureType = Literal["picture", "array", "dictionary", "label", "number", "other"]
ColourLayout = Literal["RGB", "BGR", "GRAYSCALE", "GRAYSCALE_FLOAT16"]
_ARRAY_TYPES = {65568: "float32", 65600: "float64", 131104: "int32", 65552: "float16", 131080: "int8"}


@dataclass(frozen=True)
class Feature:
    """One input or output of a model.

    Attributes:
        name: as the model has it.
        type: what is passed: a picture, an array, a dictionary of numbers, a label or a number.
        shape: of an array, as declared (empty where the model leaves it open); (height, width) of a picture.
        dtype: of an array's elements.
        colour: the colour layout of a picture.
        optional: whether an input may be left out.
    """

    name: str
    type: FeatureType
    shape: tuple[int, ...] = ()
    dtype: str = "float32"
    colour: ColourLayout = "RGB"
    optional: bool = False


def inputs_of(model: Model) -> list[Feature]:
    """Return the inputs that the model declares."""
    return [_feature(feature) for feature in model.spec.description.input]


def outputs_of(model: Model) -> list[Feature]:
    """Return the outputs that the model declares."""
    return [_feature(feature) for feature in model.spec.description.output]


def _feature(feature: Any) -> Feature:
    kind = feature.type.WhichOneof("Type")
    optional = feature.type.isOptional
    if kind == "imageType":
        image = feature.type.imageType
        colour = image.ColorSpace.Name(image.colorSpace)
        return Feature(feature.name, "picture", (image.height, image.width), "uint8", colour, optional)
    if kind == "multiArrayType":
        array = feature.type.multiArrayType
        dtype = _ARRAY_TYPES.get(array.dataType, "float32")
        return Feature(feature.name, "array", tuple(array.shape), dtype, optional=optional)
    types: dict[str, FeatureType] = {
        "dictionaryType": "dictionary", "stringType": "label", "int64Type": "label", "doubleType": "number",
    }  # fmt: skip
    return Feature(feature.name, types.get(kind, "other"), optional=optional)


def class_labels(model: Model) -> list[str] | list[int]:
    """Return a NeuralNetwork classifier's labels in the order of its scores; empty for any other model."""
    if model.kind is not Kind.NEURAL_NETWORK or model.spec.WhichOneof("Type") != "neuralNetworkClassifier":
        return []
    network = network_of(model.spec)
    kind = network.WhichOneof("ClassLabels")
    return list(getattr(network, kind).vector) if kind else []
