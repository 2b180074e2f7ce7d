import zipfile

import coremltools as ct
import numpy as np
import pytest
from coremltools.models.neural_network import quantization_utils

from requant.convert import SOURCES, convert, kind_of_float_model
from requant.coreml.inventory import stored_weights
from requant.coreml.kind import Kind
from requant.coreml.model import Model, package_members, save, unpack_package
from requant.coreml.network import decode, weight_fields
from requant.errors import RequantError
from tests.building import network, weight_messages


def test_a_float32_network_is_taken_as_it_is(all_weights, tmp_path):
    save(all_weights, tmp_path / "net.mlmodel")
    assert convert(tmp_path / "net.mlmodel").spec == all_weights.spec


def test_float16_weights_become_float32_without_loss(all_weights, tmp_path):
    mlmodel = ct.models.MLModel(all_weights.spec, skip_model_load=True)
    half = quantization_utils.quantize_weights(mlmodel, 16).get_spec()
    save(Model(half), tmp_path / "net.mlmodel")
    found = convert(tmp_path / "net.mlmodel")
    assert {weight.form for weight in stored_weights(found)} == {"float32"}
    wanted = weight_messages(half)
    for field in weight_fields(found.spec):
        assert not field.params.float16Value
        if field.name in wanted:
            expected = np.frombuffer(wanted[field.name].float16Value, np.float16).astype(np.float32)
            np.testing.assert_array_equal(decode(field).reshape(-1), expected)


@pytest.mark.parametrize("name", ["some_weights", "some_weights_float16"])
def test_a_program_keeps_its_precision_and_its_bytes(name, request, tmp_path):
    model = request.getfixturevalue(name)
    unpack_package(model, tmp_path / "net.mlpackage")
    found = convert(tmp_path / "net.mlpackage")
    assert found.spec == model.spec
    assert found.weight_file == model.weight_file


def test_a_network_in_a_package_is_a_network(all_weights, tmp_path):
    for name, data in package_members(all_weights).items():
        path = tmp_path / "net.mlpackage" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert kind_of_float_model(tmp_path / "net.mlpackage") is Kind.NEURAL_NETWORK
    assert convert(tmp_path / "net.mlpackage").spec == all_weights.spec


@pytest.mark.parametrize("bits", [8, 3])
def test_a_quantized_original_is_refused(all_weights, bits, tmp_path):
    mlmodel = ct.models.MLModel(all_weights.spec, skip_model_load=True)
    save(Model(quantization_utils.quantize_weights(mlmodel, bits, "linear").get_spec()), tmp_path / "net.mlmodel")
    with pytest.raises(RequantError, match=rf"(?s)net.mlmodel is quantized already.*conv.weights: linear, {bits} bits"):
        convert(tmp_path / "net.mlmodel")


@pytest.mark.parametrize("name", ["net.onnx", "net", "net.mlpackage.zip"])
def test_an_unknown_format_is_refused_with_those_that_there_are(name, tmp_path):
    with zipfile.ZipFile(tmp_path / name, "w"):
        pass
    for function in (convert, kind_of_float_model):
        with pytest.raises(RequantError, match=f"{name} has the suffix .*; an original is one of {', '.join(SOURCES)}"):
            function(tmp_path / name)


@pytest.mark.parametrize(
    ("file", "body"),
    [
        ("xgb-student/student_performance.mlmodel", "treeEnsemble"),
        ("sentiment-pipeline/SentimentPolarity.mlmodel", "pipelineClassifier"),
        ("tiny-oddities/PlotCVPredict.mlmodel", "glmRegressor"),
        ("tiny-oddities/onehot_simple.mlmodel", "pipeline"),
    ],
)
def test_real_models_of_other_types_are_refused_by_type(real_models, file, body):
    with pytest.raises(RequantError, match=f"holds a model of type {body}.* ship this one as it is"):
        convert(real_models / file)


def test_a_real_network_without_weights_is_refused(real_models):
    with pytest.raises(RequantError, match=r"identity.mlmodel has no weights"):
        convert(real_models / "tiny-oddities/identity.mlmodel")


def test_a_network_without_weights_is_refused(tmp_path):
    save(network(lambda b: b.add_activation("relu", "RELU", "x", "y")), tmp_path / "net.mlmodel")
    with pytest.raises(RequantError, match=r"net.mlmodel has no weights"):
        convert(tmp_path / "net.mlmodel")
