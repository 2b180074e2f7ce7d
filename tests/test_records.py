import pytest

from requant.errors import RequantError
from requant.fingerprint import fingerprint
from requant.job import reported
from requant.records import read_record, write_record, write_whole


def test_a_failed_write_leaves_the_old_bytes_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    write_whole(path, b"old")
    with pytest.raises(TypeError):
        write_whole(path, "not bytes")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_record_comes_back_and_numbers_that_are_not_json_are_refused(tmp_path):
    path = tmp_path / "deep" / "record.json"
    write_record(path, {"a": [1, None, "ä"]})
    assert read_record(path) == {"a": [1, None, "ä"]}
    with pytest.raises(ValueError, match="Out of range"):
        write_record(path, {"a": float("nan")})
    assert read_record(path) == {"a": [1, None, "ä"]}


def test_a_damaged_record_is_named(tmp_path):
    path = tmp_path / "record.json"
    path.write_text("{")
    with pytest.raises(RequantError, match=r"record.json can't be read"):
        read_record(path)


def test_a_users_mistake_ends_a_job_without_a_traceback(tmp_path, capsys):
    log = tmp_path / "job.log"
    with pytest.raises(SystemExit) as ended, reported(log):
        raise RequantError("the layer conv1 is odd")
    assert ended.value.code == 1
    assert "the layer conv1 is odd" in capsys.readouterr().err
    assert "the layer conv1 is odd" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_a_defect_is_raised_and_its_traceback_logged(tmp_path):
    log = tmp_path / "job.log"
    with pytest.raises(ZeroDivisionError), reported(log):
        1 / 0  # noqa: B018
    assert "ZeroDivisionError" in log.read_text()


def test_the_fingerprint_is_that_of_the_parts_named():
    assert fingerprint("coreml") == fingerprint("coreml")
    assert fingerprint("coreml") != fingerprint("quantize")
    assert fingerprint("coreml") != fingerprint("coreml", libraries=())
    with pytest.raises(FileNotFoundError):
        fingerprint("nothing")
