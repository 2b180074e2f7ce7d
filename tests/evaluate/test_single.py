import json

import numpy as np
import pytest
from PIL import Image

from requant.coreml.description import Feature
from requant.errors import RequantError
from requant.evaluate.single import describe_outputs, read_inputs, write_outputs

PICTURE = Feature("image", "picture", (4, 6), "uint8")
ARRAY = Feature("x", "array", (2, 3))
WORDS = Feature("words", "dictionary")
NUMBER = Feature("n", "number")
WORD = Feature("word", "string")
COUNT, STEPS = Feature("count", "integer"), Feature("steps", "sequence")


@pytest.fixture
def folder(tmp_path):
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", np.arange(6.0).reshape(2, 3))
    np.savez(tmp_path / "one.npz", other=np.ones((2, 3)))
    np.savez(tmp_path / "two.npz", x=np.zeros((2, 3)), y=np.ones((2, 3)))
    (tmp_path / "words.json").write_text('{"good": 2}')
    return tmp_path


def test_each_kind_of_input_is_read(folder):
    given = [f"image={folder / 'a.png'}", f"x={folder / 'a.npy'}", f"words={folder / 'words.json'}"]
    given += ["n=2.5", "word=a=b", "count=3", "steps=[1, 2]"]
    inputs = read_inputs(given, [PICTURE, ARRAY, WORDS, NUMBER, WORD, COUNT, STEPS])
    assert inputs["image"].size == (6, 4)  # cropped to the proportions of the input
    np.testing.assert_array_equal(inputs["x"], np.arange(6.0).reshape(2, 3))
    assert inputs["words"] == {"good": 2}
    assert (inputs["n"], inputs["count"], inputs["steps"]) == (2.5, 3, [1, 2])
    assert inputs["word"] == "a=b"


def test_the_only_input_needs_no_name(folder):
    assert read_inputs([str(folder / "a.png")], [PICTURE])["image"].size == (6, 4)
    assert read_inputs(["[[1, 2, 3], [4, 5, 6]]"], [ARRAY])["x"] == [[1, 2, 3], [4, 5, 6]]


def test_a_picture_of_a_size_that_the_model_takes_is_left_alone(folder):
    flexible = Feature("image", "picture", (4, 6), "uint8", bounds=((1, 10), (1, -1)))
    assert read_inputs([str(folder / "a.png")], [flexible])["image"].size == (8, 8)


def test_an_array_is_found_in_an_npz_file(folder):
    assert read_inputs([f"x={folder / 'one.npz'}"], [ARRAY])["x"].sum() == 6
    assert read_inputs([f"x={folder / 'two.npz'}"], [ARRAY])["x"].sum() == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["z=1"], "no input 'z'. Its inputs are x, n"),
        (["n=1", "n=2"], "'n' is given twice"),
        (["1"], "say which input '1' is: NAME=1. The model's inputs are x, n"),
        (["n=two"], "'n' is neither a file nor JSON, as 2.5"),
        (["x=none.npy"], "none.npy can't be read as an array"),
    ],
)
def test_what_can_not_be_read_is_told(given, message):
    with pytest.raises(RequantError, match=message):
        read_inputs(given, [ARRAY, NUMBER])


@pytest.mark.parametrize(("name", "content"), [("empty.npy", b""), ("cut.npz", b"PK\x03\x04"), ("text.npy", b"text")])
def test_a_damaged_file_of_arrays_is_told(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RequantError, match=f"{name} can't be read as an array"):
        read_inputs([f"x={tmp_path / name}"], [ARRAY])


def test_outputs_in_words():
    outputs = {
        "picture": Image.new("RGB", (6, 4)),
        "label": "cat",
        "classes": {"cat": 0.75, "dog": 0.25},
        "numbers": np.arange(8, dtype=np.float32),
        "number": 2.5,
        "nothing": np.zeros((0, 3)),
    }
    assert describe_outputs(outputs).splitlines() == [
        "picture: a picture of 6 x 4 pixels",
        "label: cat",
        "classes: cat 0.7500, dog 0.2500",
        "numbers: float32 8, 0 to 7, mean 3.5: 0, 1, 2, 3, 4, 5, ...",
        "number: 2.5",
        "nothing: float64 0 x 3, empty",
    ]


def test_outputs_in_files(tmp_path):
    picture = Image.fromarray(np.arange(72, dtype=np.uint8).reshape(4, 6, 3))
    outputs = {"a/b": picture, "label": "cat", "classes": {1: 0.75}, "x": np.eye(2), "y": np.ones(3)}
    files = write_outputs(outputs, tmp_path / "new" / "folder")
    assert sorted(f.name for f in files) == ["a_b.png", "classes.json", "label.txt", "outputs.npz"]
    with Image.open(tmp_path / "new/folder/a_b.png") as read:
        np.testing.assert_array_equal(np.asarray(read), np.asarray(picture))
    with np.load(tmp_path / "new/folder/outputs.npz") as arrays:
        np.testing.assert_array_equal(arrays["x"], np.eye(2))
        np.testing.assert_array_equal(arrays["y"], np.ones(3))
    assert (tmp_path / "new/folder/label.txt").read_text() == "cat\n"
    assert json.loads((tmp_path / "new/folder/classes.json").read_text()) == {"1": 0.75}


def test_a_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RequantError, match="file can't be written to"):
        write_outputs({"label": "cat"}, tmp_path / "file")
