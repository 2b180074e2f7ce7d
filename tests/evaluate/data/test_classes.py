import numpy as np
import pytest

from requant.coreml.description import Feature
from requant.errors import RequantError
from requant.evaluate.data import data_files, load_data

FEATURES = [Feature("x", "array", (2,))]


@pytest.fixture
def numbers(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros((3, 2), np.float32))
    return tmp_path / "x.npz"


def test_a_file_of_labels_has_one_in_each_line(numbers, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\r\n  dog \n\nsea cow\n", encoding="utf-8-sig")
    data = load_data({"path": str(numbers), "classes": str(labels), "class_scores": "y"}, FEATURES)
    assert (list(data.classes), data.class_scores) == (["cat", "dog", "sea cow"], "y")
    assert data_files({"path": str(numbers), "classes": str(labels)}) == [numbers, labels]


def test_a_list_of_labels_may_hold_numbers(numbers):
    assert list(load_data({"path": str(numbers), "classes": [7, 8]}, FEATURES).classes) == ["7", "8"]


@pytest.mark.parametrize(
    ("text", "message"),
    [(b"cat\n", "has 1 labels"), (b"cat\ndog\ncat\n", "has 'cat' twice"), (b"\xff\xfe\x00", "can't be read as text")],
)
def test_a_file_that_holds_no_labels_is_refused(numbers, tmp_path, text, message):
    labels = tmp_path / "labels.txt"
    labels.write_bytes(text)
    with pytest.raises(RequantError, match=message):
        load_data({"path": str(numbers), "classes": str(labels)}, FEATURES)
