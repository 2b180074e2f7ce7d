import pytest

from requant.errors import RequantError
from requant.user_function import files_of_function, load_function, split_reference


@pytest.mark.parametrize("reference", ["", "luts.py", "luts.py:", ":mine", "luts:mine", "luts.py:my-lut", "luts.py:1"])
def test_a_reference_of_another_form_is_refused(reference):
    with pytest.raises(RequantError, match=r"does not name a function. Write file.py:function."):
        split_reference(reference)


def test_a_path_with_a_colon_is_taken():
    path, name = split_reference("C:/models/luts.py:mine")
    assert (path.as_posix(), name) == ("C:/models/luts.py", "mine")


def test_a_file_may_import_what_lies_beside_it(tmp_path):
    (tmp_path / "beside_it.py").write_text("ANSWER = 42\n")
    (tmp_path / "mine.py").write_text("from beside_it import ANSWER\ndef answer():\n    return ANSWER\n")
    assert load_function(f"{tmp_path / 'mine.py'}:answer", "factory")() == 42


def test_a_missing_file_is_named_with_the_key(tmp_path):
    with pytest.raises(RequantError, match=r"mine.py does not exist; factory wants the function build in it"):
        load_function(f"{tmp_path / 'mine.py'}:build", "factory")


def test_the_modules_beside_a_file_that_it_imports_are_its_files_too(tmp_path):
    sources = {
        "mine.py": "import numpy, one\nfrom package import part\nfrom package.other import x\n",
        "one.py": "def f():\n    import two.three\n",
        "two/three.py": "",  # a package without __init__.py
        "package/__init__.py": "from .inner import y\n",
        "package/part.py": "import mine\n",
        "package/other.py": "from . import sibling\nfrom .. import one\n",
        "package/inner.py": "",
        "package/sibling.py": "this is no Python",
        "unused.py": "",
        "package/unused.py": "",
    }
    for name, text in sources.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = [path.relative_to(tmp_path).as_posix() for path in files_of_function(f"{tmp_path / 'mine.py'}:f")]
    assert found[0] == "mine.py"
    assert set(found) == {name for name in sources if "unused" not in name}
    assert len(found) == len(set(found))


def test_a_file_that_is_missing_is_returned_alone(tmp_path):
    assert files_of_function(f"{tmp_path / 'mine.py'}:f") == [tmp_path / "mine.py"]


def test_paths_stay_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("import beside\n")
    (tmp_path / "beside.py").touch()
    assert [str(path) for path in files_of_function("mine.py:f")] == ["mine.py", "beside.py"]
