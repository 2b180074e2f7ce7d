import csv
import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from requant.coreml.description import Feature
from requant.errors import RequantError
from requant.evaluate.data import data_files, describe_data, load_data
from requant.evaluate.data.pictures import closest_size, fitted

PICTURE = Feature("image", "picture", (6, 4))
FLEXIBLE = Feature("image", "picture", (6, 4), bounds=((4, 40), (2, -1)))
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


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(RequantError, match="there is no picture in"):
        describe_data(tmp_path)


def test_the_record_of_data_names_every_file_with_its_digest(tmp_path):
    save(tmp_path / "1.png")
    record = describe_data(tmp_path)
    digest = hashlib.sha256((tmp_path / "1.png").read_bytes()).hexdigest()
    assert record["sha256"] == {(tmp_path / "1.png").as_posix(): digest}
    assert record["description"] == f"1 picture in {tmp_path.as_posix()}"


def test_of_a_subset_only_the_pictures_taken_are_files(tmp_path):
    for index in range(20):
        save(tmp_path / f"{index:02}.png")
    settings = {"path": str(tmp_path), "samples": 5, "seed": 3}
    names = list(load_data(settings, [PICTURE]).names)
    assert names == sorted(set(names))
    assert [file.name for file in data_files(settings)] == names
    assert describe_data(settings)["description"] == f"5 of the 20 pictures in {tmp_path.as_posix()}, drawn by seed 3"
    assert names != list(load_data({**settings, "seed": 4}, [PICTURE]).names)


def test_pictures_keep_their_size_within_the_bounds_if_that_is_asked_for(tmp_path):
    save(tmp_path / "a.png", (20, 30))
    save(tmp_path / "b.png", (50, 100))
    assert load_data(tmp_path, [FLEXIBLE]).inputs(0)["image"].size == (4, 6)
    kept = load_data({"path": str(tmp_path), "size": "keep"}, [FLEXIBLE])
    assert [kept.inputs(index)["image"].size for index in range(2)] == [(20, 30), (20, 40)]
    with pytest.raises(RequantError, match="takes pictures of 4 x 6 pixels only"):
        load_data({"path": str(tmp_path), "size": "keep"}, [PICTURE])


def test_of_enumerated_sizes_the_one_with_the_closest_proportions_is_taken():
    enumerated = Feature("image", "picture", (8, 8), sizes=((8, 8), (64, 64), (8, 16)))
    assert closest_size((50, 50), enumerated) == (64, 64)
    assert closest_size((10, 19), enumerated) == (8, 16)
    assert closest_size((8, 16), enumerated) == (8, 16)


@given(*[st.integers(1, 500)] * 6, st.booleans())
def test_the_closest_size_is_one_that_the_model_takes(height, width, low, high, narrow, wide, is_open):
    bounds = ((min(low, high), max(low, high)), (min(narrow, wide), -1 if is_open else max(narrow, wide)))
    feature = Feature("image", "picture", (bounds[0][0], bounds[1][0]), bounds=bounds)
    found = closest_size((height, width), feature)
    assert feature.accepts(found)
    assert fitted(Image.new("RGB", (width, height)), feature, found).size == found[::-1]


def write_table(path, rows, separator=",", encoding="utf-8"):
    with path.open("w", newline="", encoding=encoding) as stream:
        csv.writer(stream, delimiter=separator).writerows(rows)
    return path


@pytest.fixture
def table(tmp_path):
    for name in ("one", "two", "three"):
        save(tmp_path / "pictures" / f"{name}.png")
    rows = [("file", "label"), ("pictures/two.png", "cat, black"), ("pictures/one.png", 7)]
    return write_table(tmp_path / "pictures.csv", rows)


def test_a_table_names_pictures_and_labels_in_its_order(table):
    data = load_data(table, [PICTURE])
    assert list(data.names) == ["pictures/two.png", "pictures/one.png"]
    assert list(data.targets) == ["cat, black", "7"]
    assert data.inputs(1)["image"].size == (4, 6)
    record = describe_data(table)
    assert record["description"] == f"2 labelled pictures in {table.as_posix()}"
    assert [name.rpartition("/")[2] for name in record["sha256"]] == ["pictures.csv", "two.png", "one.png"]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_columns_are_named_and_separators_found(table, separator):
    write_table(table, [("n", " what ", "where"), (1, "dog", "pictures/one.png")], separator, "utf-8-sig")
    data = load_data({"path": str(table), "picture": "where", "label": "what"}, [PICTURE])
    assert (list(data.names), list(data.targets)) == (["pictures/one.png"], ["dog"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("path", "label")], r"no column 'file'; its first line has the columns 'path', 'label'\. .*picture: COLUMN"),
        ([("file", "class")], r"no column 'label'; .* 'file', 'class'\. .*label: COLUMN"),
        ([("file", "label", "label")], "more than one column 'label'"),
        ([("file", "label")], "no rows below its header"),
        ([("file", "label"), ("pictures/one.png", "")], "line 2: there is no label"),
        ([("file", "label"), ("pictures/one.png", 1), ("", 1)], "line 3: there is no picture"),
        ([("file", "label"), ("pictures/four.png", 1)], r"names .*four.png, which does not exist. Paths are relative"),
        ([], r"columns \(none\)"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(table, rows, message):
    write_table(table, rows)
    with pytest.raises(RequantError, match=message):
        data_files(table)


def test_a_file_that_is_no_table_is_named(table):
    table.write_bytes(b"file,label\n\xff\xfe,1\n")
    with pytest.raises(RequantError, match=r"pictures.csv can't be read as a table"):
        load_data(table, [PICTURE])
