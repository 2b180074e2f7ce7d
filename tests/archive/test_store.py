import hashlib
import json
import shutil
import subprocess
import sys

import pytest

from requant.archive import store as store_module
from requant.archive.inventory import SIDECAR, sidecar
from requant.archive.store import Source, Store
from requant.errors import RequantError
from tests.archive.archiving import require_valid, tree
from tests.archive.ocfl_py import ocfl

DAY = "2025-03-01T12:00:00+00:00"


def source(folder, name, data):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return Source(path, hashlib.sha256(data).hexdigest())


@pytest.fixture
def files(tmp_path):
    return {name: source(tmp_path / "files", name, name.encode() * 999) for name in ("a b.txt", "deep/ü/b", "c")}


@pytest.fixture
def store(tmp_path, files):
    made = Store(tmp_path / "archive")
    with made.writing():
        made.add_version("net", "Release 1", DAY, files)
        changed = {**files, "c": source(tmp_path / "files", "c2", b"other"), "twin": files["a b.txt"], "own": b"given"}
        made.add_version("net", "Release 2", DAY, changed)
        made.add_version("net", "Release 3", DAY, {"x/only": files["deep/ü/b"]})
    return made


def bytes_of(store, number):
    return {path: file.read_bytes() for path, file in store.files("net", number).items()}


def test_every_version_gives_what_was_put_in(store, files):
    require_valid(store.root)
    first = {name: each.path.read_bytes() for name, each in files.items()}
    assert bytes_of(store, 1) == first
    assert bytes_of(store, 2) == {**first, "c": b"other", "twin": first["a b.txt"], "own": b"given"}
    assert bytes_of(store, 3) == {"x/only": first["deep/ü/b"]}
    assert store.ids() == ["net"]


def test_an_independent_tool_extracts_a_version(store, tmp_path):
    ocfl.Object().extract(str(store.root / "net"), "v2", str(tmp_path / "out"))
    extracted = {
        p.relative_to(tmp_path / "out").as_posix(): p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()
    }
    assert extracted == bytes_of(store, 2)


def test_content_is_stored_once_and_read_only(store):
    stored = [path for path in (store.root / "net").rglob("content/**/*") if path.is_file()]
    assert sorted(path.relative_to(store.root / "net").as_posix() for path in stored) == [
        "v1/content/a b.txt", "v1/content/c", "v1/content/deep/ü/b", "v2/content/c", "v2/content/own",
    ]  # fmt: skip
    assert all(path.stat().st_mode & 0o222 == 0 and path.stat().st_nlink == 1 for path in stored)


def test_a_version_is_never_changed_by_a_later_one(store, files):
    before = (store.root / "net/v1/inventory.json").read_bytes()
    with store.writing():
        store.add_version("net", "Release 4", DAY, files)
    assert (store.root / "net/v1/inventory.json").read_bytes() == before
    require_valid(store.root)


def test_a_source_with_other_bytes_is_refused_and_leaves_all_as_it_was(store, files):
    before = bytes_of(store, 3)
    files["c"].path.write_bytes(b"changed")
    with store.writing(), pytest.raises(RequantError, match=r"c is not what it has to be"):
        store.add_version("net", "Release 4", DAY, files)
    assert len(store.inventory("net").versions) == 3
    assert bytes_of(store, 3) == before
    assert not (store.archive / ".work").exists()
    require_valid(store.root)


@pytest.mark.parametrize("kept", [[1], [2], [3], [1, 3], [2, 3], [1, 2]])
def test_versions_that_are_kept_keep_their_bytes(store, kept):
    before = [bytes_of(store, number) for number in kept]
    with store.writing():
        store.keep_versions("net", kept)
    require_valid(store.root)
    assert [bytes_of(store, number) for number in range(1, len(kept) + 1)] == before


def test_an_object_of_which_nothing_is_kept_is_gone(store):
    with store.writing():
        store.keep_versions("net", [])
    assert store.ids() == []
    require_valid(store.root)


def test_without_an_exchange_of_folders_the_old_object_is_put_back(store, files, monkeypatch):
    monkeypatch.setattr("requant.archive.swapping._exchanged", lambda first, second: False)
    with store.writing():
        store.add_version("net", "Release 4", DAY, files)
    require_valid(store.root)
    before = bytes_of(store, 4)
    (store.archive / ".work/old").mkdir(parents=True)  # as a process leaves it that was killed between the two steps
    (store.root / "net").rename(store.archive / ".work/old/net")
    assert bytes_of(store, 4) == before
    require_valid(store.root)


def test_without_hard_links_files_are_copied(store, files, monkeypatch):
    def refuse(path, target):
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr(store_module.os, "link", refuse)
    with store.writing():
        store.add_version("net", "Release 4", DAY, files)
        store.keep_versions("net", [2, 4])
    require_valid(store.root)


HOSTILE = {
    "out of the object": lambda t: t["manifest"].update({"0" * 128: ["v1/content/../../../../secret"]}),
    "absolute": lambda t: t["manifest"].update({"0" * 128: ["/etc/passwd"]}),
    "not content": lambda t: t["manifest"].update({"0" * 128: ["v1/inventory.json"]}),
    "version out": lambda t: t["versions"]["v1"]["state"].update({"0" * 128: ["../../out"]}),
    "version absolute": lambda t: t["versions"]["v1"]["state"].update({next(iter(t["manifest"])): ["/out"]}),
    "nowhere": lambda t: t["versions"]["v1"]["state"].update({"0" * 128: ["new"]}),
    "file and folder": lambda t: t["versions"]["v1"]["state"].update({next(iter(t["manifest"])): ["n", "n/m"]}),
    "gap": lambda t: t["versions"].update({"v9": t["versions"].pop("v2")}),
    "no digest": lambda t: t["manifest"].update({"zz": ["v1/content/z"]}),
    "other type": lambda t: t.update(type="x"),
    "no versions": lambda t: t.update(versions={}),
    "a list": lambda t: t.update(manifest=[1]),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_an_inventory_with_hostile_paths_is_refused(store, change):
    path = store.root / "net" / "inventory.json"
    table = json.loads(path.read_text())
    change(table)
    path.chmod(0o644)
    path.write_text(json.dumps(table))
    path.with_name(SIDECAR).chmod(0o644)
    path.with_name(SIDECAR).write_bytes(sidecar(path.read_bytes()))
    with pytest.raises(RequantError, match=r"is not to be trusted|is damaged"):
        store.files("net", 1)


@pytest.mark.parametrize("name", ["v1/content/c", "v1/content/deep", "v1/content"])
def test_a_symbolic_link_in_an_object_is_refused(store, tmp_path, name):
    path = store.root / "net" / name
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RequantError, match="symbolic link"):
        store.files("net", 1)
    with store.writing(), pytest.raises(RequantError, match="symbolic link"):
        store.add_version("net", "Release 4", DAY, {"new": b"new"})


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a"])
def test_an_id_that_is_no_name_is_refused(store, name):
    with pytest.raises(RequantError, match=r"is no name|does not lead"):
        store.folder(name)


def test_a_folder_that_is_something_else_is_not_taken_for_a_store(tmp_path):
    (tmp_path / "archive/ocfl").mkdir(parents=True)
    with pytest.raises(RequantError, match="no storage root"), Store(tmp_path / "archive").writing():
        pass


PROGRAM = """
import os, signal, sys
from pathlib import Path
from requant.archive.store import Store
calls, limit = 0, int(sys.argv[3])
def watch(event, arguments):
    global calls
    if event == "open" or event.startswith(("os.link", "os.re", "os.mk", "os.rm", "os.chmod", "ctypes.")):
        calls += 1
        if calls == limit:
            os.kill(os.getpid(), signal.SIGKILL)
store = Store(Path(sys.argv[1]))
sys.addaudithook(watch)
with store.writing():
    if sys.argv[2] == "add":
        store.add_version("net", "Release 4", "2025-03-01T12:00:00Z", {"new/file": b"new", "c": b"other", "d": b"d"})
    elif sys.argv[2] == "first":
        store.add_version("other", "Release 1", "2025-03-01T12:00:00Z", {"new/file": b"new", "c": b"other"})
    else:
        store.keep_versions("net", [2, 3])
"""
WITHOUT_EXCHANGE = "import requant.archive.swapping as s\ns._exchanged = lambda a, b: False\n"


@pytest.mark.parametrize("task", ["add", "first", "prune"])
@pytest.mark.parametrize("exchange", [True, False])
def test_killed_at_any_moment_the_store_is_valid_and_the_next_write_ends_the_same(store, tmp_path, task, exchange):
    program = PROGRAM if exchange else WITHOUT_EXCHANGE + PROGRAM
    old, steps, unchanged = tree(store.root), 0, shutil.copytree(store.archive, tmp_path / "unchanged")
    done = shutil.copytree(store.archive, tmp_path / "done")
    assert run(program, done, task, 0) == 0
    new = tree(done / "ocfl")
    for limit in range(1, 1000, 5):
        archive = shutil.copytree(unchanged, tmp_path / f"killed{limit}")
        status = run(program, archive, task, limit)
        if exchange:
            assert tree(archive / "ocfl") in (old, new), limit
        Store(archive).ids()  # what every reader does
        require_valid(archive / "ocfl")
        if status == 0:
            break
        steps += 1
        if tree(archive / "ocfl") == old:
            assert run(program, archive, task, 0) == 0
        assert tree(archive / "ocfl") == new, limit
        with Store(archive).writing():
            pass
        assert sorted(path.name for path in archive.iterdir()) == [".lock", "ocfl"]
        shutil.rmtree(archive)
    assert steps > 5


def run(program, archive, task, limit):
    return subprocess.run([sys.executable, "-c", program, str(archive), task, str(limit)], check=False).returncode


def test_two_processes_write_one_after_the_other(store):
    program = """
import sys
from pathlib import Path
from requant.archive.store import Store
for number in range(8):
    with Store(Path(sys.argv[1])).writing():
        Store(Path(sys.argv[1])).add_version("net", "x", "2025-03-01T12:00:00Z", {sys.argv[2]: b"%d" % number})
"""
    both = [subprocess.Popen([sys.executable, "-c", program, str(store.archive), name]) for name in ("one", "two")]
    assert [each.wait() for each in both] == [0, 0]
    require_valid(store.root)
    assert len(store.inventory("net").versions) == 3 + 16
