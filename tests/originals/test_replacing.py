"""A locked original is replaced only after its bytes are kept; whenever that is interrupted, nothing is lost."""

import hashlib
import os
import sys
from datetime import date

import pytest

from requant.errors import RequantError
from requant.originals import (
    INDEX_NAME,
    LOCK_NAME,
    Entry,
    lock_original,
    read_index,
    read_lock,
    replace_original,
    verify,
    verify_all,
)
from requant.originals.replacing import interrupted
from tests.originals.folders import PACKAGE, overwrite, state, write_package

OLD, NEW = b"some model", b"another model"
NEW_PACKAGE = {"Manifest.json": b"[]", "Data/model.mlmodel": b"other", "Data/classes.txt": b"a\nb\n"}
ENTRY = Entry("the new one", "MIT", date(2026, 2, 1))


class Archive:
    """Stands in for the archive: keeps the bytes of originals in a folder, by the digest of their lock."""

    def __init__(self, folder):
        self.folder = folder

    def preserve(self, original, lock):
        verify(original, lock)
        for file in lock.files_of(original):
            kept = self.folder / lock.digest_of(original) / file.relative_to(lock.folder)
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(file.read_bytes())
        return f"in {self.folder.name}"

    def find(self, original, lock):
        return f"in {self.folder.name}" if (self.folder / lock.digest_of(original)).exists() else None


@pytest.fixture
def archive(tmp_path_factory):
    return Archive(tmp_path_factory.mktemp("archive"))


@pytest.fixture
def new(tmp_path_factory):
    folder = tmp_path_factory.mktemp("new")
    (folder / "net.mlmodel").write_bytes(NEW)
    write_package(folder / "other.mlpackage", NEW_PACKAGE)
    return {"net.mlmodel": folder / "net.mlmodel", "net.mlpackage": folder / "other.mlpackage"}


def refused(*arguments, **options):
    with pytest.raises(RequantError) as caught:
        replace_original(*arguments, **options)
    return str(caught.value)


def never(original, lock):
    raise AssertionError("this is not to be asked for")


@pytest.mark.parametrize("name", ["net.mlmodel", "net.mlpackage"])
def test_a_replaced_original_is_locked_in_the_place_of_the_old_one(folder, archive, new, name):
    lock_original(folder / "net.mlmodel", Entry("the old one", "0BSD", description="old"))
    lines = (folder / LOCK_NAME).read_text().splitlines()
    source, others = state(new[name].parent), {n for n in state(folder) if not n.startswith(name)}
    assert replace_original(folder / name, new[name], archive.preserve, ENTRY) == f"in {archive.folder.name}"
    record = verify(folder / name, read_lock(folder))
    wanted = {"": NEW} if name == "net.mlmodel" else {f"/{part}": data for part, data in NEW_PACKAGE.items()}
    assert record["sha256"] == {f"{name}{n}": hashlib.sha256(d).hexdigest() for n, d in sorted(wanted.items())}
    assert verify_all(folder).all_problems == []
    assert read_index(folder)[name] == ENTRY
    assert state(new[name].parent) == source
    assert {n for n in state(folder) if not n.startswith(name)} == others | {INDEX_NAME}
    kept = {path.read_bytes() for path in archive.folder.rglob("*") if path.is_file()}
    assert kept == ({OLD} if name == "net.mlmodel" else set(PACKAGE.values()))
    after = (folder / LOCK_NAME).read_text().splitlines()
    untouched = [line for line in lines if f"  {name}" not in line]
    assert [line for line in after if line in untouched] == untouched
    assert after.index(untouched[0]) == (1 if name == "net.mlmodel" else 0)
    assert not [path for path in (folder / name).rglob("*") if path.is_file() and path.stat().st_mode & 0o222]


def test_the_old_bytes_are_kept_before_anything_is_touched(folder, new):
    before = state(folder)

    def full(original, lock):
        assert {n: d for n, d in state(folder).items() if not n.startswith(".")} == before
        raise RequantError("the disk of the archive is full")

    assert "the archive is full" in refused(folder / "net.mlmodel", new["net.mlmodel"], full)
    assert state(folder) == before


def test_a_changed_original_is_still_not_locked_under_its_name(folder):
    overwrite(folder / "net.mlmodel", NEW)
    before = state(folder)
    with pytest.raises(RequantError, match="give it a new name"):
        lock_original(folder / "net.mlmodel", ENTRY)
    assert state(folder) == before


def test_the_same_bytes_are_not_replaced(folder, new):
    overwrite(new["net.mlmodel"], OLD)
    before = state(folder)
    assert replace_original(folder / "net.mlmodel", new["net.mlmodel"], never, ENTRY) == ""
    assert state(folder) == before


def test_an_original_that_is_lost_from_the_folder_is_not_replaced(folder, archive, new):
    overwrite(folder / "net.mlmodel", NEW)
    before = state(folder)
    told = refused(folder / "net.mlmodel", new["net.mlmodel"], archive.preserve, ENTRY, archive.find)
    assert hashlib.sha256(OLD).hexdigest() in told
    assert hashlib.sha256(NEW).hexdigest() in told
    assert "is not in this folder any more, nor in the archive" in told
    assert "under a new name" in told
    (folder / "net.mlmodel").unlink()
    assert "net.mlmodel is missing, but locked" in refused(folder / "net.mlmodel", new["net.mlmodel"], archive.preserve)
    (folder / "net.mlmodel").write_bytes(NEW)
    assert state(folder) == before


def test_an_original_that_is_lost_from_the_folder_and_kept_is_replaced_without_losing_what_is_there(
    folder, archive, new
):
    archive.preserve(folder / "net.mlmodel", read_lock(folder))
    overwrite(folder / "net.mlmodel", b"a third one")
    before = state(folder)
    told = refused(folder / "net.mlmodel", new["net.mlmodel"], never, ENTRY, archive.find)
    assert "what is in its place now is kept nowhere. Move it out of the folder" in told
    assert state(folder) == before
    (folder / "net.mlmodel").unlink()
    assert replace_original(folder / "net.mlmodel", new["net.mlmodel"], never, ENTRY, archive.find)
    assert (folder / "net.mlmodel").read_bytes() == NEW
    assert verify_all(folder).all_problems == []


def test_what_can_not_be_replaced_is_told(folder, archive, new, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (folder / "free.mlmodel").write_bytes(b"free")
    (elsewhere / "x.onnx").write_bytes(b"x")
    (elsewhere / "pipe.mlmodel").symlink_to(new["net.mlmodel"])
    (elsewhere / "empty.mlpackage").mkdir()
    before = state(folder)
    cases = [
        ("free.mlmodel", new["net.mlmodel"], "free.mlmodel is not locked: there is nothing to replace"),
        ("net.mlmodel", elsewhere / "nothing.mlmodel", "nothing.mlmodel does not exist"),
        ("net.mlmodel", elsewhere / "x.onnx", "is of another kind than"),
        ("net.mlmodel", elsewhere / "pipe.mlmodel", "is a symbolic link"),
        ("net.mlpackage", elsewhere / "empty.mlpackage", "is an empty folder"),
    ]
    for name, source, message in cases:
        assert message in refused(folder / name, source, archive.preserve, ENTRY)
    assert state(folder) == before


def test_a_new_original_that_changes_while_it_is_copied_is_not_taken(folder, archive, new):
    def preserve(original, lock):
        overwrite(new["net.mlmodel"], b"changed meanwhile")
        return archive.preserve(original, lock)

    before = state(folder)
    assert "changed while it was copied" in refused(folder / "net.mlmodel", new["net.mlmodel"], preserve, ENTRY)
    lock_original(folder / "net.mlmodel")
    assert {n: d for n, d in state(folder).items() if not n.startswith(".")} == before
    assert interrupted(folder) is None


# A process that is killed at any moment: at the nth of the operations that change something on the disk.

CHANGING = {
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.mkdir",
    "os.chmod",
    "shutil.copyfile",
    "os.truncate",
    "shutil.rmtree",
}


def killed_after(count, function):
    """Return whether a process that runs a function was ended before its next change after `count` of them."""
    process = os.fork()
    if process == 0:
        done = 0

        def watch(event, arguments):
            nonlocal done
            writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if event in CHANGING or writes:
                done += 1
                if done > count:
                    os._exit(9)

        sys.addaudithook(watch)
        try:
            function()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) in (0, 9)
    return os.waitstatus_to_exitcode(status) == 9


def visible(folder):
    return {name: data for name, data in state(folder).items() if not name.startswith(".")}


@pytest.mark.parametrize("name", ["net.mlmodel", "net.mlpackage"])
def test_a_replacement_that_is_killed_leaves_the_old_the_new_or_what_verify_explains(
    tmp_path_factory, archive, new, name
):
    def prepared():
        folder = tmp_path_factory.mktemp("originals")
        (folder / "net.mlmodel").write_bytes(OLD)
        write_package(folder / "net.mlpackage")
        lock_original(folder / "net.mlmodel", Entry("the old one", locked=date(2026, 1, 1)))
        lock_original(folder / "net.mlpackage", Entry("the old one", locked=date(2026, 1, 1)))
        return folder

    whole = prepared()
    before = visible(whole)
    replace_original(whole / name, new[name], archive.preserve, ENTRY)
    after = visible(whole)
    kept = [path.read_bytes() for path in archive.folder.rglob("*") if path.is_file()]
    seen, count = set(), 0
    while True:
        folder = prepared()
        if not killed_after(count, lambda: replace_original(folder / name, new[name], archive.preserve, ENTRY)):  # noqa: B023
            break
        count += 1
        begun, found = interrupted(folder), visible(folder)
        problems = verify_all(folder).all_problems
        if begun is None:
            assert found in (before, after)
            assert problems == []
            seen.add("old" if found == before else "new")
        else:
            seen.add("between")
            explained = f"The replacement of {folder / name} was interrupted. What it was before is kept: in "
            assert all(explained in problem for problem in problems)
            assert f"requant lock {folder / name}" in problems[0]
            if found not in (before, after):
                seen.add("half")
        again = prepared_again(folder, name, new[name], archive, begun)
        assert again == after
        assert not [path for path in folder.iterdir() if path.name.startswith(".")]
        assert verify_all(folder).all_problems == []
    assert count > 20
    assert seen >= {"old", "between", "half", "new"}
    assert visible(folder) == after
    assert sorted(kept) == sorted(path.read_bytes() for path in archive.folder.rglob("*") if path.is_file())


def prepared_again(folder, name, new, archive, begun):
    """Do what is to be done after a crash, and return what is in the folder then."""
    if begun is None:
        replace_original(folder / name, new, archive.preserve, ENTRY, archive.find)
    else:
        killed_after(1, lambda: lock_original(folder / name))  # and once more
        lock_original(folder / name)
    return visible(folder)


def test_a_crash_can_be_followed_by_any_other_lock(folder, archive, new):
    count = next(
        n
        for n in range(99)
        if killed_after(
            n, lambda: replace_original(folder / "net.mlmodel", new["net.mlmodel"], archive.preserve, ENTRY)
        )
        and interrupted(folder)
    )
    assert count
    (folder / "third.mlmodel").write_bytes(b"third")
    lock_original(folder / "third.mlmodel")
    assert (folder / "net.mlmodel").read_bytes() == NEW
    assert verify_all(folder).all_problems == []


def test_what_was_put_in_the_place_after_a_crash_is_not_lost(folder, archive, new):
    for count in range(99):
        killed_after(
            count, lambda: replace_original(folder / "net.mlmodel", new["net.mlmodel"], archive.preserve, ENTRY)
        )
        if interrupted(folder):
            break
    overwrite(folder / "net.mlmodel", b"put there by hand")
    before = visible(folder)
    with pytest.raises(RequantError, match="has other bytes than before its replacement was interrupted"):
        lock_original(folder / "net.mlmodel")
    assert visible(folder) == before
    (folder / "net.mlmodel").unlink()
    (folder / "other.mlmodel").write_bytes(b"other")
    lock_original(folder / "other.mlmodel")
    assert (folder / "net.mlmodel").read_bytes() == NEW
