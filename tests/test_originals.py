import hashlib
import os
import shutil
import stat
import subprocess

import pytest

from requant.errors import RequantError
from requant.originals import (
    LOCK_NAME,
    lock_original,
    locked_originals,
    protect,
    read_lock,
    require_locked,
    require_unchanged,
    sha256,
    verify,
)

CONTENT = {"Manifest.json": b"{}", "Data/model.mlmodel": b"model", "Data/weights/weight.bin": b"weights" * 100}


@pytest.fixture
def folder(tmp_path):
    """A folder with a file and a package, locked."""
    (tmp_path / "net.mlmodel").write_bytes(b"some model")
    for name, data in CONTENT.items():
        path = tmp_path / "net.mlpackage" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    lock_original(tmp_path / "net.mlmodel")
    lock_original(tmp_path / "net.mlpackage")
    return tmp_path


def overwrite(path, data):
    """Write over a read-only file, as an editor that insists does."""
    path.chmod(0o644)
    path.write_bytes(data)


def state(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refused(folder, name="net.mlmodel"):
    with pytest.raises(RequantError) as caught:
        verify(folder / name, read_lock(folder))
    return str(caught.value)


def test_digests_are_those_of_sha256(folder):
    expected = hashlib.sha256(b"some model").hexdigest()
    assert sha256(folder / "net.mlmodel") == expected
    assert read_lock(folder).digests["net.mlmodel"] == expected


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="there is no sha256sum here")
def test_sha256sum_checks_the_lock_file(folder):
    run = subprocess.run(["sha256sum", "-c", LOCK_NAME], cwd=folder, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == [f"{name}: OK" for name in ["net.mlmodel", *sorted_package()]]
    overwrite(folder / "net.mlmodel", b"other")
    assert subprocess.run(["sha256sum", "-c", LOCK_NAME], cwd=folder, capture_output=True, check=False).returncode == 1


def sorted_package():
    return [f"net.mlpackage/{name}" for name in ("Data/model.mlmodel", "Data/weights/weight.bin", "Manifest.json")]


def test_a_package_is_listed_file_by_file(folder):
    lock = read_lock(folder)
    assert lock.names_of(folder / "net.mlpackage") == sorted_package()
    assert lock.files_of(folder / "net.mlpackage") == [folder / name for name in sorted_package()]
    assert locked_originals(lock) == [folder / "net.mlmodel", folder / "net.mlpackage"]


def test_an_unchanged_original_gives_the_same_record(folder):
    record = verify(folder / "net.mlpackage", read_lock(folder))
    assert record == verify(folder / "net.mlpackage", read_lock(folder))
    assert record["bytes"] == sum(map(len, CONTENT.values()))
    assert record["sha256"] == {
        f"net.mlpackage/{name}": hashlib.sha256(data).hexdigest() for name, data in sorted(CONTENT.items())
    }
    require_unchanged(folder / "net.mlpackage", record)


def test_the_digest_of_an_original_follows_its_lock(folder):
    lock = read_lock(folder)
    before = lock.digest_of(folder / "net.mlpackage")
    lock.digests["net.mlmodel"] = "0" * 64
    assert lock.digest_of(folder / "net.mlpackage") == before
    lock.digests["net.mlpackage/Manifest.json"] = "0" * 64
    assert lock.digest_of(folder / "net.mlpackage") != before


def test_one_flipped_bit_is_found(folder):
    path = folder / "net.mlpackage/Data/weights/weight.bin"
    data = bytearray(path.read_bytes())
    record = verify(folder / "net.mlpackage", read_lock(folder))
    data[350] ^= 1
    overwrite(path, bytes(data))
    message = refused(folder, "net.mlpackage")
    assert "weight.bin has changed since it was locked" in message
    assert hashlib.sha256(data).hexdigest() in message
    assert record["sha256"]["net.mlpackage/Data/weights/weight.bin"] in message
    with pytest.raises(RequantError, match=r"weight.bin has changed"):
        require_unchanged(folder / "net.mlpackage", record)


def test_a_missing_original_is_named(folder):
    (folder / "net.mlmodel").unlink()
    assert "net.mlmodel is missing, but locked" in refused(folder)


def test_a_missing_file_of_a_package_is_named(folder):
    (folder / "net.mlpackage/Manifest.json").unlink()
    assert "Manifest.json is missing, but locked" in refused(folder, "net.mlpackage")


def test_an_extra_file_in_a_package_is_named(folder):
    (folder / "net.mlpackage/Data/more.bin").write_bytes(b"")
    assert "more.bin is not locked" in refused(folder, "net.mlpackage")


@pytest.mark.parametrize("name", [".DS_Store", ".snakemake_timestamp"])
def test_what_the_finder_and_snakemake_leave_behind_does_not_count(name, folder):
    (folder / "net.mlpackage" / name).write_bytes(b"junk")
    verify(folder / "net.mlpackage", read_lock(folder))


def test_an_unlocked_original_is_named_with_the_remedy(folder):
    (folder / "new.mlmodel").write_bytes(b"new")
    assert f"requant lock {folder / 'new.mlmodel'}" in refused(folder, "new.mlmodel")


def test_a_misspelt_original_is_named(folder):
    assert "nett.mlmodel does not exist" in refused(folder, "nett.mlmodel")
    with pytest.raises(RequantError, match="does not exist"):
        require_locked(folder / "nett.mlmodel", read_lock(folder))


def test_whether_an_original_is_locked_is_told_without_reading_it(folder):
    overwrite(folder / "net.mlmodel", b"other")
    require_locked(folder / "net.mlmodel", read_lock(folder))


@pytest.mark.parametrize(
    "line",
    ["nonsense", "a" * 64 + " one-space", "a" * 64 + "  ", "a" * 63 + "  short", "g" * 64 + "  no-hexadecimal"],
)
def test_a_malformed_line_of_the_lock_file_is_named(folder, line):
    with (folder / LOCK_NAME).open("a") as stream:
        stream.write(f"\n{line}\n")
    with pytest.raises(RequantError, match=rf"{LOCK_NAME}, line 6: this is not a line of sha256sum"):
        read_lock(folder)


def test_a_folder_without_a_lock_file_has_nothing_locked(tmp_path):
    assert read_lock(tmp_path).digests == {}


def test_locked_files_are_read_only(folder):
    for path in folder.rglob("net*/**/*"):
        if path.is_file():
            assert not path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH), path
    assert not (folder / "net.mlmodel").stat().st_mode & 0o222
    assert os.access(folder / "net.mlmodel", os.R_OK)


def test_protecting_takes_only_the_permission_to_write(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "a").chmod(0o775)
    protect(tmp_path / "a")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o555


def test_locking_again_changes_nothing_and_protects_again(folder):
    before = state(folder)
    (folder / "net.mlmodel").chmod(0o644)
    assert lock_original(folder / "net.mlmodel") == []
    assert state(folder) == before
    assert not (folder / "net.mlmodel").stat().st_mode & 0o222


def test_relocking_a_changed_original_is_refused_and_nothing_is_written(folder):
    overwrite(folder / "net.mlmodel", b"other")
    before = state(folder)
    with pytest.raises(RequantError, match="has changed since it was locked"):
        lock_original(folder / "net.mlmodel")
    assert state(folder) == before


def test_a_new_original_is_appended(folder):
    before = (folder / LOCK_NAME).read_text()
    (folder / "new.mlmodel").write_bytes(b"new")
    (line,) = lock_original(folder / "new.mlmodel")
    assert line == f"{hashlib.sha256(b'new').hexdigest()}  new.mlmodel"
    assert (folder / LOCK_NAME).read_text() == f"{before}{line}\n"
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]


def test_a_lock_file_without_a_last_newline_is_continued(folder):
    (folder / LOCK_NAME).write_text((folder / LOCK_NAME).read_text().rstrip("\n"))
    (folder / "new.mlmodel").write_bytes(b"new")
    lock_original(folder / "new.mlmodel")
    assert set(read_lock(folder).digests) == {"net.mlmodel", "new.mlmodel", *sorted_package()}


def test_a_symbolic_link_is_not_locked(folder):
    (folder / "link.mlmodel").symlink_to(folder / "net.mlmodel")
    before = state(folder)
    with pytest.raises(RequantError, match=r"link.mlmodel is a symbolic link"):
        lock_original(folder / "link.mlmodel")
    assert state(folder) == before


def test_what_does_not_exist_or_is_empty_is_not_locked(folder):
    with pytest.raises(RequantError, match="does not exist"):
        lock_original(folder / "nothing.mlmodel")
    (folder / "empty.mlpackage").mkdir()
    with pytest.raises(RequantError, match="is an empty folder"):
        lock_original(folder / "empty.mlpackage")


def test_an_original_elsewhere_is_refused(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "net.mlmodel"
    other.write_bytes(b"some model")
    with pytest.raises(RequantError, match="where originals are preserved and locked"):
        verify(other, read_lock(folder))


def test_a_name_that_begins_like_another_is_another_original(folder):
    (folder / "net.mlmodel.old").write_bytes(b"old")
    lock_original(folder / "net.mlmodel.old")
    assert read_lock(folder).names_of(folder / "net.mlmodel") == ["net.mlmodel"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_an_unreadable_original_is_named(folder):
    (folder / "net.mlmodel").chmod(0)
    assert "net.mlmodel can't be read: Permission denied" in refused(folder)


def test_an_original_that_can_not_be_read_as_a_file_is_named(folder):
    (folder / "net.mlmodel").unlink()
    (folder / "net.mlmodel").mkdir()
    assert "net.mlmodel can't be read" in refused(folder)


def test_a_saved_model_is_one_original(tmp_path):
    model = tmp_path / "net.savedmodel"
    (model / "variables").mkdir(parents=True)
    (model / "saved_model.pb").write_bytes(b"graph")
    (model / "variables" / "variables.index").write_bytes(b"index")
    assert len(lock_original(model)) == 2
    assert locked_originals(read_lock(tmp_path)) == [model]
