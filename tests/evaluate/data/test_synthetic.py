import numpy as np
import pytest

from requant.coreml.description import Feature
from requant.errors import RequantError
from requant.evaluate.data import describe_data, load_data

PICTURE = Feature("image", "picture", (6, 4))
ARRAY = Feature("x", "array", (3, 2))


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


def test_whole_numbers_stand_for_what_has_whole_numbers():
    features = [
        Feature("i", "integer"), Feature("s", "sequence", keys="integer"), Feature("d", "dictionary", keys="integer"),
    ]  # fmt: skip
    inputs = load_data(None, features).inputs(0)
    assert isinstance(inputs["i"], int)
    assert set(inputs["s"]) <= {0, 1}
    assert all(isinstance(key, int) and isinstance(value, float) for key, value in inputs["d"].items())


@pytest.mark.parametrize(
    ("feature", "words"),
    [
        (Feature("words", "dictionary"), r"\(dictionary\)"),
        (Feature("words", "dictionary", keys="string"), r"\(dictionary of strings\)"),
        (Feature("words", "sequence", keys="string"), r"\(sequence of strings\)"),
        (Feature("words", "string"), r"\(string\)"),
        (Feature("words", "array"), r"\(array\)"),
    ],
)
def test_inputs_that_can_not_be_made_up_are_named(feature, words):
    with pytest.raises(RequantError, match=f"no inputs can be made up for 'words' {words}.*loader: file.py:function"):
        load_data(None, [feature]).inputs(0)


def test_as_many_as_wanted_are_made_up_by_a_seed():
    data = load_data({"samples": 20, "seed": 3}, [ARRAY])
    assert len(data.names) == 20
    assert data.synthetic
    assert not np.array_equal(data.inputs(0)["x"], load_data(None, [ARRAY]).inputs(0)["x"])
    assert describe_data({"samples": 20})["description"] == "20 inputs made up from a seed"


def test_the_record_of_made_up_inputs_has_no_files():
    assert describe_data(None) == {
        "path": None, "settings": {}, "description": "8 inputs made up from a seed", "sha256": {},
    }  # fmt: skip
