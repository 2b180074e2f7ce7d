from pathlib import Path

import numpy as np
import pytest
import yaml

from requant.errors import RequantError
from requant.evaluate.data import MODULES, describe_data, load_data
from requant.evaluate.data.settings import DataSettings, read_data_option

TABLES = [
    {},
    {"path": "digits.npz"},
    {"path": "pictures.csv", "picture": "where", "label": "what", "size": "keep"},
    {"path": "sounds", "hop": 10, "sample_rate": 22050},
    {"images": "a.gz", "labels": "b.gz", "samples": 5, "seed": 0},
    {"loader": "mine.py:samples", "files": ["a", "b"]},
    {"path": "digits.npz", "classes": ["0", "1"], "class_scores": "logits"},
    {"path": "pictures", "classes": "labels.txt"},
]


@pytest.mark.parametrize("table", TABLES)
def test_settings_are_handed_on_as_a_table(table):
    settings = DataSettings.of(table)
    assert settings.to_table() == table
    assert DataSettings.of(settings.to_table()) == settings == DataSettings.of(settings)


@pytest.mark.parametrize("nothing", [None, "", {}])
def test_nothing_is_made_up(nothing):
    assert DataSettings.of(nothing).is_synthetic
    assert DataSettings.of(nothing).form == "synthetic"


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("a.npz", "arrays"), (Path("a.npy"), "arrays"), ("a.CSV", "table"), ("a.wav", "audio"),
        ({"images": "a"}, "idx"), ({"loader": "a.py:f"}, "loader"),
    ],
)  # fmt: skip
def test_the_form_is_found_by_key_and_ending(value, form):
    assert DataSettings.of(value).form == form
    assert form in MODULES


def test_the_form_of_a_folder_is_found_by_what_is_in_it(tmp_path):
    (tmp_path / "a.wav").touch()
    assert DataSettings.of(tmp_path).form == "audio"
    assert DataSettings.of({"path": str(tmp_path), "size": "keep"}).form == "pictures"
    (tmp_path / "a.png").touch()
    assert DataSettings.of(tmp_path).form == "pictures"
    assert DataSettings.of({"path": str(tmp_path), "hop": 5}).form == "audio"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"paths": "a"}, "unknown key 'paths'; known are path, picture"),
        ({"path": "a", "loader": "a.py:f"}, "path and loader contradict each other"),
        ({"path": "a.npz", "picture": "b"}, r"picture can't be given for a.npz, only samples, seed"),
        (
            {"path": "a.npz", "classes": ["a", "a"]},
            "classes is a text file, or a list of two labels or more, each once",
        ),
        ({"path": "a.npz", "classes": 3}, "classes is a text file, or a list"),
        ({"path": "a.npz", "class_scores": "y"}, "give classes too"),
        ({"path": "a.csv", "hop": 3}, r"hop can't be given for a.csv, only picture, label, size, samples, seed"),
        ({"path": "a", "hop": 3, "size": "keep"}, "size is for pictures, hop and sample_rate are for sounds"),
        ({"labels": "b"}, "labels can't be given for made-up inputs"),
        ({"loader": "a.py"}, "Write file.py:function"),
        ({"path": "a", "samples": 0}, "samples is a whole number of at least 1, not 0"),
        ({"path": "a", "samples": True}, "samples is a whole number"),
        ({"path": "a", "seed": "x"}, "seed is a whole number of at least 0"),
        ({"path": 3}, "path is text, not 3"),
        ({"path": ""}, "path is text"),
        ({"loader": "a.py:f", "files": "b"}, "files is a list of paths"),
        ({"path": "a", "size": "small"}, "size is keep or left out"),
    ],
)
def test_what_is_wrong_is_named_with_its_key(table, message):
    with pytest.raises(RequantError, match=message):
        DataSettings.of(table)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(RequantError, match="nowhere does not exist"):
        describe_data(tmp_path / "nowhere")
    (tmp_path / "images.gz").touch()
    with pytest.raises(RequantError, match=r"labels.gz does not exist"):
        load_data({"images": str(tmp_path / "images.gz"), "labels": str(tmp_path / "labels.gz")}, [])
    (tmp_path / "data.txt").touch()
    with pytest.raises(RequantError, match=r"data.txt is neither a folder .* nor a file that is \.csv, \.npy"):
        describe_data(tmp_path / "data.txt")
    with pytest.raises(RequantError, match="is a folder, where a file is wanted"):
        DataSettings.of({"images": str(tmp_path)}).require_existing()


def test_the_command_line_takes_a_path_or_a_file_with_the_keys(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(3))
    table = {"path": str(tmp_path / "x.npy"), "samples": 2}
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(table))
    assert read_data_option(str(tmp_path / "data.yaml")) == DataSettings.of(table)
    assert read_data_option(str(tmp_path / "x.npy")) == DataSettings(tmp_path / "x.npy")
    assert read_data_option(None).is_synthetic
    for text, message in (("- 1", "has to hold the keys of `data`, not list"), ("a: [", "can't be read as YAML")):
        (tmp_path / "data.yaml").write_text(text)
        with pytest.raises(RequantError, match=message):
            read_data_option(str(tmp_path / "data.yaml"))
    with pytest.raises(RequantError, match=r"none.yaml can't be read"):
        read_data_option(str(tmp_path / "none.yaml"))
