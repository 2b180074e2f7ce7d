import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813

from requant.coreml.description import Feature, class_labels, inputs_of, outputs_of
from requant.coreml.model import Model
from tests.building import add_inner_product, network, numbers, program


def test_arrays_have_their_shape_and_type():
    model = network(lambda b: add_inner_product(b, numbers(4, 5)), {"x": (5,)})
    assert inputs_of(model) == [Feature("x", "array", (5,), "float32")]
    assert outputs_of(model) == [Feature("y", "array", (), "float32")]  # the builder leaves the shape open


@pytest.mark.parametrize(
    ("number", "dtype"),
    [("FLOAT32", "float32"), ("DOUBLE", "float64"), ("INT32", "int32"), ("FLOAT16", "float16")],
)
def test_the_types_of_arrays_are_those_of_the_format(number, dtype):
    model = network(lambda b: add_inner_product(b, numbers(4, 5)), {"x": (5,)})
    array = model.spec.description.input[0].type.multiArrayType
    array.dataType = array.ArrayDataType.Value(number)
    assert inputs_of(model)[0].dtype == dtype


@pytest.mark.parametrize("colour", ["RGB", "BGR", "GRAYSCALE"])
def test_pictures_have_height_width_and_colour(colour):
    shape = (1, 1 if colour == "GRAYSCALE" else 3, 6, 5)
    picture = ct.ImageType("image", shape, color_layout=ct.colorlayout[colour])
    model = program(lambda image: mb.relu(x=image), shape, inputs=[picture])
    assert inputs_of(model) == [Feature("image", "picture", (6, 5), "uint8", colour)]


def test_optional_inputs_are_told():
    model = network(lambda b: b.add_elementwise("e", ["x", "z"], "y", "ADD"), {"x": (3,), "z": (3,)})
    model.spec.description.input[1].type.isOptional = True
    assert [feature.optional for feature in inputs_of(model)] == [False, True]


@pytest.mark.parametrize("labels", [["cat", "dog"], [3, 4]])
def test_a_classifier_has_labels_a_label_and_a_dictionary(labels):
    def layers(b):
        add_inner_product(b, numbers(2, 5))
        b.set_class_labels(labels, "label")

    model = network(layers, {"x": (5,)}, mode="classifier")
    assert class_labels(model) == labels
    assert [(feature.name, feature.type) for feature in outputs_of(model)] == [("y", "dictionary"), ("label", "label")]


def test_other_models_have_no_labels(all_weights, some_weights):
    assert class_labels(all_weights) == class_labels(some_weights) == []
    assert np.prod(inputs_of(some_weights)[0].shape) == 512


def test_every_type_of_feature_is_told(all_weights):
    spec = all_weights.copy_spec()
    del spec.description.input[:]
    for name in ("text", "count", "value", "words", "numbers", "series", "indices"):
        spec.description.input.add().name = name
    kinds = [feature.type for feature in spec.description.input]
    kinds[0].stringType.SetInParent()
    kinds[1].int64Type.SetInParent()
    kinds[2].doubleType.SetInParent()
    kinds[3].dictionaryType.stringKeyType.SetInParent()
    kinds[4].dictionaryType.int64KeyType.SetInParent()
    kinds[5].sequenceType.stringType.SetInParent()
    kinds[6].sequenceType.int64Type.SetInParent()
    assert [(feature.type, feature.keys) for feature in inputs_of(Model(spec))] == [
        ("string", ""), ("integer", ""), ("number", ""), ("dictionary", "string"), ("dictionary", "integer"),
        ("sequence", "string"), ("sequence", "integer"),
    ]  # fmt: skip


def test_only_the_predicted_output_is_a_label(all_weights):
    spec = all_weights.copy_spec()
    del spec.description.output[:]
    for name in ("first", "second", "value"):
        spec.description.output.add().name = name
    spec.description.output[0].type.int64Type.SetInParent()
    spec.description.output[1].type.int64Type.SetInParent()
    spec.description.output[2].type.doubleType.SetInParent()
    found = {}
    for predicted in ("first", "value"):
        spec.description.predictedFeatureName = predicted
        found[predicted] = [(feature.type, feature.keys) for feature in outputs_of(Model(spec))]
    assert found["first"] == [("label", "integer"), ("integer", ""), ("number", "")]
    assert found["value"] == [("integer", ""), ("integer", ""), ("number", "")]
