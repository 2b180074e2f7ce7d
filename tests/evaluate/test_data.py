import hashlib

import numpy as np
import pytest
from PIL import Image

from requant.coreml.description import Feature
from requant.errors import RequantError
from requant.evaluate.data import describe_data, fitted, load_data

PICTURE = Feature("image", "picture", (6, 4))
ARRAY = Feature("x", "array", (3, 2))


def save(path, size=(4, 6), colour=(10, 20, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def test_a_folder_of_pictures_gives_each_in_the_models_size(tmp_path):
    save(tmp_path / "b.png", (40, 60))
    save(tmp_path / "a.jpg", (100, 30))
    data = load_data(tmp_path, [PICTURE])
    assert list(data.names) == ["a.jpg", "b.png"]
    assert not data.targets
    assert not data.synthetic
    assert data.inputs(0)["image"].size == (4, 6)


def test_folders_are_class_labels(tmp_path):
    save(tmp_path / "dog" / "1.png")
    save(tmp_path / "cat" / "1.png")
    assert list(load_data(tmp_path, [PICTURE]).targets) == ["cat", "dog"]


def test_the_middle_is_taken_in_the_models_proportions():
    wide = Image.new("RGB", (30, 6), "black")
    wide.paste((255, 255, 255), (13, 0, 17, 6))
    assert np.asarray(fitted(wide, PICTURE)).min() == 255


@pytest.mark.parametrize("mixed", ["loose.png", "deep/er/1.png"])
def test_a_folder_that_is_neither_is_refused(tmp_path, mixed):
    save(tmp_path / "cat" / "1.png")
    save(tmp_path / mixed)
    with pytest.raises(RequantError, match="one folder of pictures per class label"):
        load_data(tmp_path, [PICTURE])


def test_pictures_for_arrays_are_refused(tmp_path):
    save(tmp_path / "1.png")
    with pytest.raises(RequantError, match=r"inputs are x \(array\)"):
        load_data(tmp_path, [ARRAY])


def test_a_file_that_is_no_picture_is_named(tmp_path):
    (tmp_path / "odd.png").write_bytes(b"nothing")
    with pytest.raises(RequantError, match=r"odd.png can't be read as a picture"):
        load_data(tmp_path, [PICTURE]).inputs(0)


def test_an_empty_folder_and_a_missing_one_are_named(tmp_path):
    with pytest.raises(RequantError, match="there is no picture in"):
        describe_data(tmp_path)
    with pytest.raises(RequantError, match="nowhere is neither"):
        describe_data(tmp_path / "nowhere")


def test_arrays_come_by_input_with_labels(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, x=np.arange(12.0).reshape(2, 3, 2), labels=[3, 4])
    data = load_data(path, [ARRAY])
    assert list(data.targets) == ["3", "4"]
    assert np.array_equal(data.inputs(1)["x"], np.arange(6.0, 12).reshape(3, 2))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": np.zeros((2, 3))}, "has no array 'x'"),
        ({"x": np.zeros((2, 3)), "z": np.zeros((2, 3))}, "an array 'z' that is no input"),
        ({"x": np.zeros((2, 3)), "labels": np.zeros(3)}, "the same number of samples"),
        ({"x": np.zeros((0, 3))}, "at least one"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, arrays, message):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    with pytest.raises(RequantError, match=message):
        load_data(path, [ARRAY])


def test_a_damaged_archive_is_named(tmp_path):
    path = tmp_path / "data.npz"
    path.write_bytes(b"PK nothing")
    with pytest.raises(RequantError, match=r"data.npz can't be read"):
        load_data(path, [ARRAY])


def test_made_up_inputs_are_marked_repeatable_and_of_the_declared_types():
    features = [PICTURE, ARRAY, Feature("n", "number"), Feature("i", "array", (5,), "int32")]
    data = load_data(None, features)
    first, again = data.inputs(0), load_data(None, features).inputs(0)
    assert data.synthetic
    assert first["image"].size == (4, 6)
    assert first["x"].shape == (3, 2)
    assert first["i"].dtype.kind == "i"
    assert np.array_equal(first["x"], again["x"])
    assert not np.array_equal(first["x"], data.inputs(1)["x"])


def test_inputs_that_can_not_be_made_up_are_named():
    with pytest.raises(RequantError, match="no inputs can be made up for 'words'"):
        load_data(None, [Feature("words", "dictionary")]).inputs(0)


def test_the_record_of_data_names_every_file_with_its_digest(tmp_path):
    save(tmp_path / "1.png")
    record = describe_data(tmp_path)
    digest = hashlib.sha256((tmp_path / "1.png").read_bytes()).hexdigest()
    assert record["sha256"] == {(tmp_path / "1.png").as_posix(): digest}
    assert "1 pictures" in record["description"] or "1 picture" in record["description"]
    assert describe_data(None)["path"] is None
