import zipfile

import pytest
from coremltools.proto import Model_pb2

from requant.coreml.kind import Kind, has_network_weights, kind_of_bodies, read_kind, type_of_bodies
from requant.coreml.model import load, package_members, save, unpack_package
from requant.errors import RequantError
from tests.building import add_convolution, add_inner_product, network, numbers

BODIES = [field.name for field in Model_pb2.Model.DESCRIPTOR.oneofs_by_name["Type"].fields]
NETWORKS = {"neuralNetwork", "neuralNetworkClassifier", "neuralNetworkRegressor"}


def spec_file(path, body):
    spec = Model_pb2.Model(specificationVersion=4, isUpdatable=True)
    spec.description.metadata.shortDescription = "some text"
    getattr(spec, body).SetInParent()
    path.write_bytes(spec.SerializeToString())
    return path


@pytest.mark.parametrize("body", BODIES)
def test_every_type_of_model_in_the_format_is_told_by_its_name(body, tmp_path):
    path = spec_file(tmp_path / "m.mlmodel", body)
    if body in NETWORKS:
        assert read_kind(path) is Kind.NEURAL_NETWORK
    elif body == "mlProgram":
        assert read_kind(path) is Kind.ML_PROGRAM
    else:
        assert read_kind(path) is Kind.OTHER
    known = {Kind.NEURAL_NETWORK, Kind.ML_PROGRAM}
    assert load(path).type == (str(read_kind(path)) if read_kind(path) in known else body)


def test_a_program_is_recognized_in_a_folder_and_in_a_zip(some_weights, tmp_path):
    unpack_package(some_weights, tmp_path / "m.mlpackage")
    save(some_weights, tmp_path / "m.mlpackage.zip")
    assert read_kind(tmp_path / "m.mlpackage") is Kind.ML_PROGRAM
    assert read_kind(tmp_path / "m.mlpackage.zip") is Kind.ML_PROGRAM


def test_a_package_can_hold_a_network(all_weights, tmp_path):
    for name, data in package_members(all_weights).items():
        path = tmp_path / "m.mlpackage" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert read_kind(tmp_path / "m.mlpackage") is Kind.NEURAL_NETWORK


def test_a_package_can_hold_a_model_with_nothing_to_quantize(tmp_path):
    path = spec_file(tmp_path / "model.mlmodel", "identity")
    (tmp_path / "m.mlpackage/Data/com.apple.CoreML").mkdir(parents=True)
    path.rename(tmp_path / "m.mlpackage/Data/com.apple.CoreML/model.mlmodel")
    assert read_kind(tmp_path / "m.mlpackage") is Kind.OTHER
    model = load(tmp_path / "m.mlpackage")
    save(model, tmp_path / "written.mlmodel")
    assert load(tmp_path / "written.mlmodel").spec == model.spec


@pytest.mark.parametrize("mode", [None, "classifier", "regressor"])
@pytest.mark.parametrize("layer", ["convolution", "inner product"])
def test_weights_of_a_network_are_found_by_their_place(layer, mode, tmp_path):
    def layers(builder):
        builder.add_activation("relu", "RELU", "x", "z")
        if layer == "convolution":
            add_convolution(builder, numbers(2, 3, 2, 2), source="z")
        else:
            add_inner_product(builder, numbers(2, 3), source="z")

    save(network(layers, mode=mode), tmp_path / "m.mlmodel")
    assert has_network_weights(tmp_path / "m.mlmodel")


def test_a_network_without_such_layers_or_without_numbers_in_them_has_no_weights_in_these_places(tmp_path):
    model = network(lambda b: b.add_activation("relu", "RELU", "x", "y"))
    save(model, tmp_path / "relu.mlmodel")
    model.spec.neuralNetwork.layers.add(name="fc").innerProduct.weights.SetInParent()
    save(model, tmp_path / "empty.mlmodel")
    for name in ("relu", "empty"):
        assert not has_network_weights(tmp_path / f"{name}.mlmodel")


@pytest.mark.parametrize("data", [b"", b"\xff" * 30, b"PK\x03\x04 nothing of ours", b"\x08\x04"])
def test_a_foreign_file_is_refused(data, tmp_path):
    (tmp_path / "m.mlmodel").write_bytes(data)
    with pytest.raises(RequantError, match=r"m.mlmodel is not a Core ML model"):
        read_kind(tmp_path / "m.mlmodel")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(RequantError, match=r"m.mlmodel can't be read: No such file"):
        read_kind(tmp_path / "m.mlmodel")


def test_a_folder_without_a_model_is_refused(tmp_path):
    (tmp_path / "m.mlpackage").mkdir()
    with pytest.raises(RequantError, match=r"m.mlpackage can't be read"):
        read_kind(tmp_path / "m.mlpackage")


def test_a_zip_without_a_model_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.mlpackage.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(RequantError, match="is not a Core ML model"):
        read_kind(tmp_path / "m.mlpackage.zip")


def test_a_damaged_zip_is_refused(tmp_path):
    (tmp_path / "m.mlpackage.zip").write_bytes(b"no zip at all")
    with pytest.raises(RequantError, match="is not a zip file, or it is damaged"):
        read_kind(tmp_path / "m.mlpackage.zip")


def test_the_suffix_follows_from_the_kind(tmp_path):
    assert kind_of_bodies(["neuralNetworkClassifier"], tmp_path).suffix == ".mlmodel"
    assert kind_of_bodies(["mlProgram"], tmp_path).suffix == ".mlpackage.zip"
    assert kind_of_bodies(["treeEnsembleRegressor"], tmp_path).suffix == ".mlmodel"


@pytest.mark.parametrize(
    ("bodies", "expected"),
    [
        (["mlProgram"], "ML Program"),
        (["pipeline", "scaler", "neuralNetworkClassifier"], "NeuralNetwork"),
        (["imputer"], "imputer"),
        (["pipelineRegressor", "pipeline", "imputer", "scaler", "imputer"], "pipelineRegressor (imputer, scaler)"),
    ],
)
def test_what_a_model_is_for_people(bodies, expected):
    assert type_of_bodies(bodies) == expected
