import os
import subprocess
import sys
from pathlib import Path

import pytest

from requant.errors import RequantError
from requant.fingerprint import fingerprint
from requant.job import reported
from requant.records import read_record, remove_unfinished, touched_since, write_record, write_whole, writing


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


def test_what_a_killed_process_leaves_is_found_and_nothing_else(tmp_path):
    kept = [tmp_path / "deep/.hidden", tmp_path / "deep/name.unfinished", tmp_path / "whole"]
    for path in kept:
        write_whole(path, b"kept")
    program = (
        "import os, pathlib; pathlib.Path.chmod = lambda *_: os._exit(9)\n"
        "from requant.records import write_whole; write_whole(pathlib.Path('deep/whole'), b'lost')"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, cwd=tmp_path).returncode == 9
    (tmp_path / ".x.mlpackage.abcdefgh.unfinished/Data").mkdir(parents=True)
    assert len(remove_unfinished(tmp_path)) == 2
    assert sorted(path for path in tmp_path.rglob("*") if not path.is_dir()) == sorted(kept)
    assert remove_unfinished(tmp_path) == []


def test_a_folder_that_can_not_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RequantError, match=r"file/deep/record.json can't be written: Not a directory"):
        write_whole(tmp_path / "file/deep/record.json", b"")


def test_a_full_disk_is_named():
    path = Path("/dev/full")  # every write to it finds the disk full
    if not path.exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(RequantError, match=r"/dev/full can't be written: the disk is full"), writing(path):
        path.write_bytes(b"x")


def test_a_file_counts_as_touched_by_either_date(tmp_path):
    path = tmp_path / "file"
    path.touch()
    before = path.stat().st_mtime_ns
    assert not touched_since(path.stat().st_ctime_ns, [path])
    path.write_bytes(b"other")
    os.utime(path, ns=(before, before))
    assert touched_since(before, [path])
    assert touched_since(path.stat().st_ctime_ns, [tmp_path / "missing"])
