import zipfile

import pytest
from coremltools.proto import Model_pb2

from requant.coreml.kind import Kind, kind_of_bodies, read_kind
from requant.coreml.model import package_members, save, unpack_package
from requant.errors import RequantError

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
        with pytest.raises(RequantError, match=f"m.mlmodel holds a model of type {body}"):
            read_kind(path)


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
    with pytest.raises(RequantError, match="is not a Core ML model"):
        read_kind(tmp_path / "m.mlpackage.zip")


def test_the_suffix_follows_from_the_kind(tmp_path):
    assert kind_of_bodies(["neuralNetworkClassifier"], tmp_path).suffix == ".mlmodel"
    assert kind_of_bodies(["mlProgram"], tmp_path).suffix == ".mlpackage.zip"
