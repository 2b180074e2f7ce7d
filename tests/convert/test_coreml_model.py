import dataclasses
import zipfile

import coremltools as ct
import numpy as np
import pytest
from coremltools.models.neural_network import quantization_utils

from requant.convert import SOURCES, convert, kind_of_float_model
from requant.convert.conversion import make_float_model
from requant.coreml.inventory import network_fields, stored_weights
from requant.coreml.kind import Kind
from requant.coreml.model import Model, load, package_members, save, unpack_package
from requant.coreml.network import decode, set_float16, weight_fields
from requant.coreml.pipeline import stages_of
from requant.errors import RequantError
from requant.originals import lock_original, read_lock, verify
from requant.runtime import open_model
from tests.building import add_inner_product, network, numbers, weight_messages
from tests.coreml.joining import joined, nested, programs, scaler


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


@pytest.mark.parametrize("name", ["net.tflite", "net", "net.mlpackage.zip"])
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
def test_real_models_with_nothing_to_quantize_are_taken_as_they_are(real_models, file, body):
    found = convert(real_models / file)
    assert found.kind is kind_of_float_model(real_models / file) is Kind.OTHER
    assert found.type.startswith(body)
    assert found.spec == load(real_models / file).spec


def test_a_real_network_without_weights_is_taken_as_it_is(real_models):
    path = real_models / "tiny-oddities/identity.mlmodel"
    assert convert(path).spec == load(path).spec


@pytest.mark.parametrize(
    "model", [network(lambda b: b.add_activation("relu", "RELU", "x", "y")), joined([scaler(), scaler()])]
)
def test_a_model_without_weights_is_taken_as_it_is(model, tmp_path):
    original = tmp_path / "net.mlmodel"
    original.write_bytes(model.spec.SerializeToString())
    lock_original(original)
    audit = make_float_model(original, verify(original, read_lock(tmp_path)), tmp_path / "float/net.mlmodel")
    assert audit["bits_per_weight"] is None
    assert load(tmp_path / "float/net.mlmodel").spec == model.spec


def laid_out(model, path):
    """Write a model as a package, whatever its kind."""
    for name, data in package_members(model).items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


@pytest.mark.parametrize("mode", [None, "classifier", "regressor"])
@pytest.mark.parametrize("half", [False, True])
def test_a_network_in_a_package_with_further_files_becomes_a_file(mode, half, tmp_path):
    """Xcode leaves `Metadata.json` and `FeatureDescriptions.json` beside the model; a network has no other files."""
    model = network(lambda b: add_inner_product(b, numbers(4, 5), numbers(4)), {"x": (5,)}, mode=mode)
    stored = dataclasses.replace(model, spec=model.copy_spec(), files={"FeatureDescriptions.json": b"{}"})
    if half:
        for field in weight_fields(stored.spec):
            set_float16(field.params, decode(field))
    original = laid_out(stored, tmp_path / "net.mlpackage")
    (original / "Data/com.apple.CoreML/Metadata.json").write_text("[]")
    lock_original(original)
    record = verify(original, read_lock(tmp_path))
    audit = make_float_model(original, record, tmp_path / "net.mlmodel")
    assert [(tensor["name"], tensor["bits"]) for tensor in audit["tensors"]] == [("fc.weights", 32), ("fc.bias", 32)]
    found = load(tmp_path / "net.mlmodel")
    assert found.spec.WhichOneof("Type") == f"neuralNetwork{(mode or '').capitalize()}"
    if not half:
        assert found.spec == model.spec
    expected = numbers(4, 5).astype(np.float16 if half else np.float32)
    np.testing.assert_array_equal(stored_weights(found)[0].values, expected)


def test_each_network_of_a_pipeline_becomes_float32(tmp_path):
    model = nested()
    half = network_fields(model)[2:]
    for field in half:
        set_float16(field.params, decode(field))
    save(model, tmp_path / "net.mlmodel")
    found = convert(tmp_path / "net.mlmodel")
    assert kind_of_float_model(tmp_path / "net.mlmodel") is found.kind is Kind.NEURAL_NETWORK
    assert {weight.form for weight in stored_weights(found)} == {"float32"}
    for before, after in zip(stored_weights(model), stored_weights(found), strict=True):
        assert before.name == after.name
        np.testing.assert_array_equal(before.values, after.values)
    assert [stage.spec.WhichOneof("Type") for _, stage in stages_of(found)] == ["scaler", "neuralNetwork", "pipeline"]
    assert stages_of(found)[0][1].spec == stages_of(model)[0][1].spec


def test_a_pipeline_computes_the_same_from_its_float_model(tmp_path):
    model = nested()
    save(model, tmp_path / "net.mlmodel")
    lock_original(tmp_path / "net.mlmodel")
    record = verify(tmp_path / "net.mlmodel", read_lock(tmp_path))
    audit = make_float_model(tmp_path / "net.mlmodel", record, tmp_path / "float/net.mlmodel")
    assert audit["tensors"][-1]["name"] == "inner/second/fc.bias"
    x = numbers(3, seed=9)
    outputs = [
        open_model(m, "onnxruntime").predict({"x": x})["y"] for m in (model, load(tmp_path / "float/net.mlmodel"))
    ]
    np.testing.assert_array_equal(*outputs)
    expected = x * 0.5
    for seed in (1, 2, 3):
        expected = numbers(3, 3, seed=seed) @ expected + numbers(3)
    np.testing.assert_allclose(outputs[0], expected, rtol=1e-5)


def test_a_pipeline_of_programs_keeps_its_files(tmp_path):
    model = programs(tmp_path)
    found = convert(laid_out(model, tmp_path / "net.mlpackage"))
    assert found.spec == model.spec
    assert found.files == model.files


def test_a_float_model_is_read_once_and_not_copied(tmp_path):
    """Nothing has to change in float32, so that memory holds one model."""
    path = tmp_path / "net.mlmodel"
    save(network(lambda b: add_inner_product(b, numbers(400, 500)), {"x": (500,)}), path)
    allocated = []
    original = Model.copy_spec
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Model, "copy_spec", lambda model: allocated.append(model) or original(model))
        convert(path)
    assert not allocated
