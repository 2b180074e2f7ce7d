import pytest

from requant.errors import RequantError
from requant.user_function import load_function, split_reference


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
