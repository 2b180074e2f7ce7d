import zipfile

import numpy as np
import pytest

from requant.coreml.description import Feature
from requant.errors import RequantError
from requant.evaluate.data import arrays as reading
from requant.evaluate.data import describe_data, load_data

ARRAY = Feature("x", "array", (3, 2))


def test_arrays_come_by_input_with_labels(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, x=np.arange(12.0).reshape(2, 3, 2), labels=[3, 4])
    data = load_data(path, [ARRAY])
    assert list(data.targets) == ["3", "4"]
    assert np.array_equal(data.inputs(1)["x"], np.arange(6.0, 12).reshape(3, 2))
    assert describe_data(path)["description"] == f"2 samples in {path.as_posix()}"


def test_several_inputs_and_single_numbers_and_words(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, x=np.zeros((2, 3, 2)), n=[1.5, 2.5], w=["a", "b"])
    features = [ARRAY, Feature("n", "number"), Feature("w", "string"), Feature("o", "array", (2,), optional=True)]
    inputs = load_data(path, features).inputs(1)
    assert inputs["n"] == 2.5
    assert inputs["w"] == "b"
    assert set(inputs) == {"x", "n", "w"}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": np.zeros((2, 3))}, "has no array 'x'"),
        ({"x": np.zeros((2, 3)), "z": np.zeros((2, 3))}, "an array 'z' that is no input"),
        ({"x": np.zeros((2, 3)), "labels": np.zeros(3)}, "the same number of samples"),
        ({"x": np.zeros((0, 3))}, "at least one"),
        ({"x": np.float32(3)}, "at least one"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, arrays, message):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    with pytest.raises(RequantError, match=message):
        load_data(path, [ARRAY])


@pytest.mark.parametrize("name", ["data.npz", "data.npy"])
def test_a_damaged_file_is_named(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"PK nothing")
    with pytest.raises(RequantError, match=rf"{name} can't be read"):
        load_data(path, [ARRAY])


def test_a_truncated_file_is_named(tmp_path):
    path = tmp_path / "data.npy"
    np.save(path, np.zeros((100, 3, 2)))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(RequantError, match=r"data.npy can't be read"):
        load_data(path, [ARRAY])


def test_objects_are_not_unpickled(tmp_path):
    np.savez(tmp_path / "data.npz", x=np.array([{}, {}], object))
    with pytest.raises(RequantError, match=r"data.npz can't be read"):
        load_data(tmp_path / "data.npz", [ARRAY])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["float32", ">f8", "uint8", "int64", "bool"])
def test_numbers_are_those_that_numpy_reads(tmp_path, save, order, dtype):
    path = tmp_path / "data.npz"
    written = np.asarray(np.random.default_rng(0).integers(0, 2, (5, 3, 2)).astype(dtype), order=order)
    save(path, other=np.arange(5), x=written)
    data = load_data(path, [ARRAY, Feature("other", "number")])
    for index in range(5):
        found = data.inputs(index)["x"]
        assert found.dtype == written.dtype
        assert np.array_equal(found, written[index])


def test_what_is_stored_uncompressed_is_mapped(tmp_path):
    np.savez(tmp_path / "stored.npz", x=np.zeros((9, 4)))
    np.savez_compressed(tmp_path / "deflated.npz", x=np.zeros((9, 4)))
    np.save(tmp_path / "one.npy", np.zeros((9, 4)))
    mapped = {path.name: isinstance(next(iter(reading._open(path).values())), np.memmap) for path in tmp_path.iterdir()}
    assert mapped == {"stored.npz": True, "deflated.npz": False, "one.npy": True}


def test_a_zip_of_another_program_is_read_too(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(12.0).reshape(2, 3, 2))
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        archive.write(tmp_path / "x.npy", "x.npy")
    assert load_data(tmp_path / "data.npz", [ARRAY]).inputs(0)["x"][2, 1] == 5


def test_one_array_is_the_only_input(tmp_path):
    path = tmp_path / "data.npy"
    np.save(path, np.arange(12.0).reshape(2, 3, 2))
    data = load_data(path, [ARRAY, Feature("o", "number", optional=True)])
    assert data.inputs(1)["x"][0, 0] == 6
    assert not data.targets
    with pytest.raises(RequantError, match=r"is one array, but the model's inputs are x, y\. Give an \.npz file"):
        load_data(path, [ARRAY, Feature("y", "array", (2,))])


def test_a_subset_keeps_names_labels_and_order(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, x=np.arange(100.0), labels=np.arange(100))
    data = load_data({"path": str(path), "samples": 10}, [Feature("x", "number")])
    assert len(data.names) == 10
    assert [int(data.inputs(index)["x"]) for index in range(10)] == [int(name) for name in data.names]
    assert list(data.targets) == list(data.names)
    record = describe_data({"path": str(path), "samples": 10})
    assert record["description"] == f"10 of the 100 samples in {path.as_posix()}, drawn by seed 1"
    assert record["settings"] == {"path": path.as_posix(), "samples": 10}
    assert len(load_data({"path": str(path), "samples": 500}, [Feature("x", "number")]).names) == 100
