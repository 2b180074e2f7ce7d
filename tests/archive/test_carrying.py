"""Releases as zips, out of one archive and into another."""

import json
import zipfile
from pathlib import Path

import pytest

from requant.archive.carrying import carry_in, carry_out
from requant.archive.contents import entries, find
from requant.archive.store import Store
from requant.archive.verifying import verify_archive
from requant.cli import main
from requant.errors import RequantError
from tests.archive.archiving import require_valid


@pytest.fixture
def carried(store):
    """Return a release of the archive as a zip."""
    path = Path("away/painter.zip")
    carry_out(store, find(store, "painter@1"), path)
    return path


def changed(source, target, change):
    """Write a zip with its files changed by a function: from names and bytes to the same."""
    with zipfile.ZipFile(source) as archive:
        files = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in change(files).items():
            archive.writestr(name, data)
    return target


def test_the_same_release_is_the_same_zip_with_the_files_of_the_release(store, carried):
    before = carried.read_bytes()
    carry_out(store, find(store, "painter@1"), carried)
    assert carried.read_bytes() == before
    with zipfile.ZipFile(carried) as archive:
        assert archive.testzip() is None
        stored = store.files("painter", find(store, "painter@1").number)
        assert {name: archive.read(name) for name in archive.namelist()} == {
            name: path.read_bytes() for name, path in stored.items()
        }
    assert [path.name for path in Path("away").iterdir()] == ["painter.zip"]


def test_a_lost_archive_comes_back_from_zips(store, carried, capsys):
    assert main(["archive", "add", str(carried), "--folder", "second"]) == 0
    assert main(["archive", "add", str(carried), "--folder", "second"]) == 0
    assert "added\n" in (told := capsys.readouterr().out)
    assert "there already, the same" in told
    second = Store(Path("second"))
    assert [str(entry) for entry in entries(second)] == ["painter@1"]
    assert verify_archive(second) == []
    require_valid(second.root)
    again = Path("away/again.zip")
    carry_out(second, find(second, "painter@1"), again)
    assert again.read_bytes() == carried.read_bytes()


def test_another_release_of_the_same_name_is_refused(store, carried):
    def renamed(files):
        record = json.loads(files["release.json"])
        return files | {"release.json": json.dumps(record | {"created": "2000-01-01T00:00:00+00:00"}).encode()}

    with pytest.raises(RequantError, match="has another release painter@1 already"):
        carry_in(store, changed(carried, Path("other.zip"), renamed))


def damaged(files):
    name = next(name for name in files if name.startswith("variants/"))
    return files | {name: b"\0" + files[name][1:]}


def without(files):
    return {name: data for name, data in files.items() if not name.startswith("original/")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (damaged, "does not have the SHA-256 of the record"),
        (without, "lacks original/"),
        (lambda files: files | {"more": b""}, "has more, which its record does not name"),
        (lambda files: files | {"../outside": b"!"}, "does not lead to a file below its folder"),
        (lambda files: files | {"/outside": b"!"}, "does not lead to a file below its folder"),
        (lambda files: {n: d for n, d in files.items() if n != "release.json"}, "has no release.json"),
        (lambda files: files | {"release.json": b"{}"}, "is no record of a release"),
    ],
)
def test_what_is_not_a_whole_release_is_refused_and_nothing_is_written(carried, tmp_path, change, message):
    store = Store(Path("second"))
    with pytest.raises(RequantError, match=message):
        carry_in(store, changed(carried, Path("bad.zip"), change))
    assert not store.ids() if store.root.exists() else True
    assert not (tmp_path / "outside").exists()
    assert not Path("outside").exists()


def test_a_file_that_is_cut_off_or_no_zip_is_refused(carried):
    carried.write_bytes(carried.read_bytes()[:-100])
    with pytest.raises(RequantError, match="can't be read as a zip"):
        carry_in(Store(Path("second")), carried)
