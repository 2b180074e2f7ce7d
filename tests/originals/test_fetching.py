import shutil
from pathlib import Path

import pytest

from requant.errors import RequantError
from requant.originals import fetched, lock_original, place_of, read_lock, verify

NET, PACKAGE = Path("originals/net.mlmodel"), Path("originals/digits.mlpackage")


@pytest.fixture
def storage(tmp_path):
    """A folder that stands for a storage, with two locked originals."""
    folder = tmp_path / "storage"
    (folder / PACKAGE / "Data").mkdir(parents=True)
    (folder / NET).write_bytes(b"a network")
    (folder / PACKAGE / "Manifest.json").write_bytes(b"{}")
    (folder / PACKAGE / "Data" / "weight.bin").write_bytes(b"weights")
    for original in (NET, PACKAGE):
        lock_original(folder / original)
    return folder


@pytest.fixture
def retrieve(storage):
    """What copies from it, and remembers what was asked for."""

    def copy(path, target):
        source = storage / path
        copy.asked.append(path.name)
        if source.is_dir():
            shutil.copytree(source, target)
        elif source.exists():
            shutil.copy(source, target)
        return source.exists()

    copy.asked = []
    return copy


@pytest.mark.parametrize("original", [NET, PACKAGE])
def test_a_copy_can_be_verified_as_if_it_were_in_its_place(storage, retrieve, tmp_path, original):
    place = fetched(original, tmp_path / "copies", retrieve)
    assert place.parts[-2:] == original.parts
    found = verify(place, read_lock(place.parent))
    expected = verify(storage / original, read_lock(storage / original.parent))
    assert found["sha256"] == expected["sha256"]


def test_an_original_is_fetched_once_as_long_as_its_lock_says_the_same(storage, retrieve, tmp_path):
    first = fetched(NET, tmp_path / "copies", retrieve)
    other = storage / "originals" / "other.mlmodel"
    other.write_bytes(b"another")
    lock_original(other)
    assert fetched(NET, tmp_path / "copies", retrieve) == first
    assert retrieve.asked.count(NET.name) == 1
    assert [path.name for path in (tmp_path / "copies").iterdir()] == [first.parents[1].name]


@pytest.mark.parametrize("original", [NET, PACKAGE / "Data" / "weight.bin"])
def test_a_changed_original_is_told_by_its_name_in_the_storage_and_not_kept(storage, retrieve, tmp_path, original):
    (storage / original).chmod(0o644)
    (storage / original).write_bytes(b"something else")
    with pytest.raises(RequantError, match=rf"^{original} has changed since it was locked"):
        fetched(PACKAGE if "Data" in original.parts else NET, tmp_path / "copies", retrieve)
    assert list((tmp_path / "copies").iterdir()) == []


def test_one_that_is_missing_or_not_locked_is_told(storage, retrieve, tmp_path):
    with pytest.raises(RequantError, match=r"originals/none\.mlmodel is not in the storage"):
        fetched(Path("originals/none.mlmodel"), tmp_path / "copies", retrieve)
    (storage / "originals" / "new.mlmodel").write_bytes(b"new")
    with pytest.raises(RequantError, match=r"originals/new\.mlmodel is not locked"):
        fetched(Path("originals/new.mlmodel"), tmp_path / "copies", retrieve)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([], "originals/net.mlpackage"),
        (["s3/originals/originals/net.mlpackage/Data/weight.bin"], "s3/originals/originals/net.mlpackage"),
        (["s3/originals/net.mlpackage/Manifest.json", "s3/originals/SHA256SUMS"], "s3/originals/net.mlpackage"),
    ],
)
def test_where_a_job_has_an_original(files, expected):
    assert place_of("originals/net.mlpackage", files) == Path(expected)


def test_files_of_another_original_are_refused():
    with pytest.raises(RequantError, match=r"other\.mlmodel is no file of originals/net\.mlmodel"):
        place_of("originals/net.mlmodel", ["s3/originals/other.mlmodel"])
