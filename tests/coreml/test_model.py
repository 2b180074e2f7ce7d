import hashlib
import json
import os
import subprocess
import sys
import zipfile

import coremltools as ct
import pytest

from requant.coreml.model import (
    WEIGHT_FILE,
    Model,
    load,
    package_members,
    save,
    to_bytes,
    unpack_package,
)
from requant.errors import RequantError
from tests.coreml.joining import joined, scaler


@pytest.fixture
def saved(some_weights, tmp_path):
    save(some_weights, tmp_path / "net.mlpackage.zip")
    return tmp_path / "net.mlpackage.zip"


def test_a_network_survives_saving(all_weights, tmp_path):
    save(all_weights, tmp_path / "net.mlmodel")
    assert load(tmp_path / "net.mlmodel").spec == all_weights.spec


def test_a_program_survives_the_zip_and_the_folder(some_weights, saved, tmp_path):
    from_zip = load(saved)
    unpack_package(from_zip, tmp_path / "net.mlpackage")
    from_folder = load(tmp_path / "net.mlpackage")
    for found in (from_zip, from_folder):
        assert found.spec == some_weights.spec
        assert found.weight_file == some_weights.weight_file != b""


def test_coremltools_loads_the_folder(saved, tmp_path):
    unpack_package(load(saved), tmp_path / "net.mlpackage")
    found = ct.models.MLModel(str(tmp_path / "net.mlpackage"), skip_model_load=True)
    assert found.get_spec() == load(saved).spec
    assert (tmp_path / "net.mlpackage").stat().st_mode & 0o777 == 0o755


def test_a_plain_unzip_gives_the_folder(saved, some_weights, tmp_path):
    with zipfile.ZipFile(saved) as archive:
        archive.extractall(tmp_path)
    assert load(tmp_path / "net.mlpackage").spec == some_weights.spec


def test_the_zip_holds_no_date_and_no_random_identifier(saved):
    with zipfile.ZipFile(saved) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        manifest = json.loads(archive.read("net.mlpackage/Manifest.json"))
    assert len(manifest["itemInfoEntries"]) == 2
    assert manifest["rootModelIdentifier"] in manifest["itemInfoEntries"]


def test_the_same_model_gives_the_same_bytes_in_another_process(saved):
    expected = hashlib.sha256(to_bytes(load(saved), "net")).hexdigest()
    code = (
        "import hashlib, sys; from pathlib import Path; from requant.coreml.model import load, to_bytes;"
        "print(hashlib.sha256(to_bytes(load(Path(sys.argv[1])), 'net')).hexdigest())"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(saved)],
        env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout.strip() == expected == hashlib.sha256(saved.read_bytes()).hexdigest()


def test_what_the_package_was_saved_with_by_coremltools_does_not_show(some_weights, tmp_path):
    bytes_of = []
    for name in ("first", "second"):
        unpack_package(some_weights, tmp_path / "in.mlpackage")
        again = ct.models.MLModel(str(tmp_path / "in.mlpackage"), skip_model_load=True)
        again.save(str(tmp_path / f"{name}.mlpackage"))  # draws new random identifiers for the manifest
        bytes_of.append(to_bytes(load(tmp_path / f"{name}.mlpackage"), "net"))
    assert bytes_of[0] == bytes_of[1]


def test_a_copy_of_the_spec_is_independent(all_weights):
    copy = all_weights.copy_spec()
    copy.description.metadata.author = "somebody"
    assert all_weights.spec.description.metadata.author == ""


def test_unpacking_replaces_an_older_package(saved, tmp_path):
    target = tmp_path / "net.mlpackage"
    target.mkdir()
    (target / "old").write_text("old")
    unpack_package(load(saved), target)
    assert sorted(p.name for p in target.iterdir()) == ["Data", "Manifest.json"]
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_unpacking_spares_a_folder_that_is_no_package(saved, tmp_path):
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "thesis.txt").write_text("precious")
    with pytest.raises(RequantError, match="documents is not the name of a package"):
        unpack_package(load(saved), tmp_path / "documents")
    assert (tmp_path / "documents" / "thesis.txt").read_text() == "precious"


def test_a_network_has_no_package(all_weights, tmp_path):
    with pytest.raises(RequantError, match=r"net.mlmodel is a NeuralNetwork"):
        unpack_package(all_weights, tmp_path / "net.mlpackage")


def test_a_wrong_ending_is_refused(all_weights, some_weights, tmp_path):
    with pytest.raises(RequantError, match=r"NeuralNetwork is written as \*.mlmodel, not as net.zip"):
        save(all_weights, tmp_path / "net.zip")
    with pytest.raises(RequantError, match=r"ML Program is written as \*.mlpackage.zip"):
        save(some_weights, tmp_path / "net.mlmodel")
    with pytest.raises(RequantError, match=r"type pipeline \(scaler\) is written as \*.mlmodel, not as n.zip"):
        save(joined([scaler()]), tmp_path / "n.zip")
    assert list(tmp_path.iterdir()) == []


def test_saving_leaves_nothing_but_the_file(all_weights, tmp_path):
    save(all_weights, tmp_path / "deep" / "net.mlmodel")
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["net.mlmodel"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff\xff\xff", "its bytes can't be decoded"),
        (b"", "there is no model in it"),
    ],
)
def test_a_file_that_is_no_model_is_refused(data, message, tmp_path):
    (tmp_path / "net.mlmodel").write_bytes(data)
    with pytest.raises(RequantError, match=message):
        load(tmp_path / "net.mlmodel")


def test_a_truncated_model_is_refused(all_weights, tmp_path):
    data = to_bytes(all_weights, "net")
    (tmp_path / "net.mlmodel").write_bytes(data[: len(data) // 2])
    with pytest.raises(RequantError, match=r"net.mlmodel is not a Core ML model, or it is damaged"):
        load(tmp_path / "net.mlmodel")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(RequantError, match=r"net.mlmodel can't be read: No such file"):
        load(tmp_path / "net.mlmodel")


def test_a_folder_and_a_zip_without_a_model_are_refused(tmp_path):
    (tmp_path / "net.mlpackage").mkdir()
    with pytest.raises(RequantError, match=r"net.mlpackage is not a Core ML package"):
        load(tmp_path / "net.mlpackage")
    (tmp_path / "net.mlpackage.zip").write_bytes(b"no zip")
    with pytest.raises(RequantError, match="is not a zip file"):
        load(tmp_path / "net.mlpackage.zip")


def test_a_zip_that_reaches_outside_of_the_package_is_refused(saved):
    with zipfile.ZipFile(saved, "a") as archive:
        archive.writestr("net.mlpackage/Data/com.apple.CoreML/../../../evil", b"evil")
    with pytest.raises(RequantError, match="it names files outside of the package"):
        load(saved)


def test_a_network_in_a_package_is_written_as_a_file(all_weights, tmp_path):
    for name, data in package_members(all_weights).items():
        path = tmp_path / "net.mlpackage" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    found = load(tmp_path / "net.mlpackage")
    save(found, tmp_path / "net.mlmodel")
    assert load(tmp_path / "net.mlmodel").spec == all_weights.spec


def test_the_weight_file_is_below_the_data_of_the_package(some_weights):
    members = package_members(some_weights)
    assert members[f"Data/com.apple.CoreML/{WEIGHT_FILE}"] == some_weights.weight_file


def test_files_beside_a_model_are_never_lost_in_silence(all_weights):
    model = Model(all_weights.spec, {"extra.bin": b"1"})
    with pytest.raises(RequantError, match=r"NeuralNetwork with files beside it in its package \(extra.bin\)"):
        to_bytes(model, "net")
