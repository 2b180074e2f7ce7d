"""What a model declares of its inputs and outputs: optional inputs, labels, numbers, the file that it lies in."""

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from scipy import special

from requant.errors import RequantError
from requant.runtime import load
from requant.runtime.onnx_runner import OnnxRunner
from tests.building import FLOAT32, IOS15, IOS16, add_inner_product, as_model, network, numbers, program
from tests.runtime.reference import close

X = numbers(4)
WEIGHT = numbers(3, 4)


def two_inputs():
    def layers(b):
        b.add_elementwise("sum", ["x", "other"], "y", "ADD")

    return network(layers, {"x": (4,), "other": (4,)}, exact=True)


@pytest.mark.parametrize("field", ["floatDefaultValue", "doubleDefaultValue", "intDefaultValue", ""])
def test_an_optional_input_of_a_network(field):
    model = two_inputs()
    kind = model.spec.description.input[1].type
    kind.isOptional = True
    if field:
        setattr(kind.multiArrayType, field, 3)
    runner = OnnxRunner(model)
    close(runner.predict({"x": X})["y"], X + (3 if field else 0))
    close(runner.predict({"x": X, "other": None})["y"], X + (3 if field else 0))
    close(runner.predict({"x": X, "other": 2 * X})["y"], 3 * X)


def test_an_input_that_is_not_optional_is_wanted():
    runner = OnnxRunner(two_inputs())
    with pytest.raises(RequantError, match=r"'other' is missing: give an array of shape \(4,\)"):
        runner.predict({"x": X})
    with pytest.raises(RequantError, match="'other' is an array of numbers, not NoneType"):
        runner.predict({"x": X, "other": None})


def test_an_optional_input_of_a_program():
    made = mb.program(input_specs=[mb.TensorSpec((4,)), mb.TensorSpec((4,))], opset_version=IOS16)(
        lambda x, other: mb.add(x=x, y=other, name="y")
    )
    inputs = [ct.TensorType("x", (4,)), ct.TensorType("other", (4,), default_value=np.full(4, 2.5, np.float32))]
    options = {"minimum_deployment_target": IOS16, "compute_precision": FLOAT32, "skip_model_load": True}
    runner = OnnxRunner(as_model(ct.convert(made, inputs=inputs, **options)))
    close(runner.predict({"x": X})["y"], X + 2.5)
    close(runner.predict({"x": X, "other": X})["y"], 2 * X)


@pytest.mark.parametrize("labels", [["cat", "dog", "owl"], [7, 2, 30]])
def test_a_program_that_classifies(labels):
    def function(x):
        scores = mb.softmax(x=mb.linear(x=mb.expand_dims(x=x, axes=[0]), weight=WEIGHT), axis=-1, name="scores")
        return mb.squeeze(x=scores, axes=[0], name="probabilities")

    model = program(function, (4,), classifier_config=ct.ClassifierConfig(labels))
    runner = OnnxRunner(model)
    found = runner.predict({"x": X})
    expected = special.softmax(WEIGHT @ X)
    (probabilities,) = (value for value in found.values() if isinstance(value, dict))
    (label,) = (value for value in found.values() if not isinstance(value, dict))
    assert list(probabilities) == labels
    np.testing.assert_allclose(list(probabilities.values()), expected, rtol=1e-5)
    assert label == labels[int(expected.argmax())]


def test_a_regressor_gives_a_number():
    model = network(lambda b: add_inner_product(b, WEIGHT[:1]), {"x": (4,)})
    spec = model.spec
    layers = list(spec.neuralNetwork.layers)
    spec.neuralNetworkRegressor.layers.extend(layers)
    spec.description.output[0].type.doubleType.SetInParent()
    spec.description.predictedFeatureName = "y"
    found = OnnxRunner(model).predict({"x": X})["y"]
    assert isinstance(found, float)
    assert found == pytest.approx(float(WEIGHT[0] @ X), rel=1e-5)


def test_labels_have_to_be_as_many_as_the_probabilities():
    model = network(lambda b: add_inner_product(b, WEIGHT), {"x": (4,)}, mode="classifier")
    model.spec.neuralNetworkClassifier.stringClassLabels.vector.extend(["a", "b"])
    model.spec.description.predictedFeatureName = "label"
    with pytest.raises(RequantError, match="has 2 labels, but computes 3 probabilities"):
        OnnxRunner(model).predict({"x": X})


def test_a_network_in_a_package(tmp_path):
    made = mb.program(input_specs=[mb.TensorSpec((4,))], opset_version=IOS15)(lambda x: mb.relu(x=x, name="y"))
    converted = ct.convert(made, convert_to="neuralnetwork", skip_model_load=True)
    spec = converted.get_spec()
    path = tmp_path / "network.mlpackage"
    ct.models.utils.save_spec(spec, str(path))
    close(load(path, "onnxruntime").predict({"x": X})["y"], np.maximum(X, 0))


def test_a_network_of_float16_weights():
    model = network(lambda b: add_inner_product(b, WEIGHT), {"x": (4,)})
    half = ct.models.neural_network.quantization_utils.quantize_weights(
        ct.models.MLModel(model.spec, skip_model_load=True), 16
    )
    model.spec.CopyFrom(half.get_spec() if hasattr(half, "get_spec") else half)
    found = OnnxRunner(model).predict({"x": X})["y"].reshape(-1)
    close(found, WEIGHT.astype(np.float16).astype(np.float32) @ X, 1e-5)
