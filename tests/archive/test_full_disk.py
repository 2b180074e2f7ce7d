"""A disk that is full while something is archived: the user is told so, and the archive is as it was."""

from pathlib import Path

import pytest

from requant.archive.contents import entries
from requant.archive.store import Store
from requant.archive.verifying import verify_archive
from requant.errors import RequantError
from tests.archive.archiving import archive, require_valid, tree
from tests.faults.test_full_disk import fill, mounted  # noqa: F401  a fixture


@pytest.mark.parametrize("leave", [0, 4096, 40_000])
def test_a_release_is_in_the_archive_or_not(project, mounted, network_release, leave):  # noqa: F811
    disk = mounted(Path("small"), "20m")
    store = Store(disk / "archive")
    release = network_release[1]
    archive(store, release, "1", ["linear_8"])
    before = tree(store.root)
    filler = fill(disk, leave)
    with pytest.raises(
        RequantError, match=r"archive can't be written: the disk is full\. Nothing half-written was left"
    ):
        archive(store, release, "2")
    assert tree(store.root) == before
    assert not list((disk / "archive").glob(".work/*"))
    filler.unlink()
    archive(store, release, "2")
    assert [entry.release for entry in entries(store)] == ["1", "2"]
    assert verify_archive(store) == []
    require_valid(store.root)
