"""What is no plain file in a folder of originals, or does not stay as it is, is told by name; nothing waits for it."""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from requant.errors import RequantError
from requant.originals import lock_original, read_lock, require_unchanged, sha256, verify, verify_all
from requant.originals import reading as reading_module
from tests.originals.folders import PACKAGE, overwrite, state, write_package


def refusal(function, *arguments):
    with pytest.raises(RequantError) as caught:
        function(*arguments)
    return str(caught.value)


def verification(original):
    return refusal(verify, original, read_lock(original.parent))


def fifo(path):
    os.mkfifo(path)


def bound_socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def link(path):
    path.symlink_to("/etc/hostname")


SPECIAL = {
    "pipe": (fifo, "is a named pipe, not a file"),
    "socket": (bound_socket, "is a socket, not a file"),
    "link": (link, "is a symbolic link: copy the model itself"),
}


@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_file_is_not_locked_alone_and_not_in_a_package(kind, folder, monkeypatch):
    make, message = SPECIAL[kind]
    monkeypatch.chdir(folder)  # the name of a socket has to be short
    make(Path("x.mlmodel"))
    write_package(folder / "other.mlpackage")
    make(Path("other.mlpackage/Data/x"))
    before = state(folder)
    assert f"x.mlmodel {message}" in refusal(lock_original, folder / "x.mlmodel")
    assert f"other.mlpackage/Data/x {message}" in refusal(lock_original, folder / "other.mlpackage")
    assert state(folder) == before


@pytest.mark.parametrize("kind", SPECIAL)
def test_what_takes_the_place_of_a_locked_file_is_told(kind, folder, monkeypatch):
    make, message = SPECIAL[kind]
    record = verify(folder / "net.mlmodel", read_lock(folder))
    monkeypatch.chdir(folder)
    for name in ("net.mlmodel", "net.mlpackage/Data/weights/weight.bin"):
        (folder / name).unlink()
        make(Path(name))
    assert verification(folder / "net.mlmodel").count(message) == 1
    assert f"weight.bin {message}" in verification(folder / "net.mlpackage")
    assert len(verify_all(folder).all_problems) == 2
    assert "net.mlmodel" in refusal(require_unchanged, folder / "net.mlmodel", record)


def test_a_link_to_the_same_bytes_is_told_too(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    record = verify(folder / "net.mlmodel", read_lock(folder))
    shutil.move(folder / "net.mlmodel", elsewhere / "net.mlmodel")
    (folder / "net.mlmodel").symlink_to(elsewhere / "net.mlmodel")
    shutil.move(folder / "net.mlpackage/Data", elsewhere / "Data")
    (folder / "net.mlpackage/Data").symlink_to(elsewhere / "Data")
    assert "net.mlmodel is a symbolic link" in verification(folder / "net.mlmodel")
    assert "net.mlpackage/Data is a symbolic link" in verification(folder / "net.mlpackage")
    assert "net.mlmodel is a symbolic link" in refusal(require_unchanged, folder / "net.mlmodel", record)
    assert not (elsewhere / "net.mlmodel").stat().st_mode & 0o222  # it is the file that was locked


def test_the_folder_of_originals_itself_may_be_a_link(folder, tmp_path_factory):
    linked = tmp_path_factory.mktemp("linked") / "models_original"
    linked.symlink_to(folder)
    assert verify_all(linked).all_problems == []
    (linked / "new.mlmodel").write_bytes(b"new")
    assert len(lock_original(linked / "new.mlmodel")) == 1


def test_a_link_to_a_folder_is_not_locked(folder):
    (folder / "linked.mlpackage").symlink_to(folder / "net.mlpackage")
    assert "linked.mlpackage is a symbolic link" in refusal(lock_original, folder / "linked.mlpackage")


def test_a_dangling_lock_file_is_not_taken_for_none(folder):
    (folder / "SHA256SUMS").unlink()
    (folder / "SHA256SUMS").symlink_to("nowhere")
    assert "SHA256SUMS can't be read" in refusal(read_lock, folder)


@pytest.mark.parametrize("make", [fifo, Path.mkdir], ids=["pipe", "folder"])
def test_a_lock_file_that_is_no_file_is_told(make, folder):
    (folder / "SHA256SUMS").unlink()
    make(folder / "SHA256SUMS")
    assert "SHA256SUMS can't be read: it is a" in refusal(read_lock, folder)


def test_a_linked_lock_file_is_read_and_not_written(folder):
    (folder / "SHA256SUMS").rename(folder / "elsewhere")
    (folder / "SHA256SUMS").symlink_to("elsewhere")
    verify(folder / "net.mlmodel", read_lock(folder))
    (folder / "new.mlmodel").write_bytes(b"new")
    before = state(folder)
    assert "SHA256SUMS is a symbolic link" in refusal(lock_original, folder / "new.mlmodel")
    assert state(folder) == before


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no device here that never ends")
def test_a_device_that_never_ends_is_not_read():
    assert "/dev/zero can't be read: it is a device, no file" in refusal(sha256, Path("/dev/zero"))


def test_a_pipe_that_takes_the_place_of_a_file_at_the_last_moment_is_not_waited_for(tmp_path, monkeypatch):
    path = tmp_path / "net.mlmodel"
    path.write_bytes(b"some model")
    opening = reading_module._without_waiting

    def swapped(name, flags):
        path.unlink()
        fifo(path)
        return opening(name, flags)

    monkeypatch.setattr(reading_module, "_without_waiting", swapped)
    assert "it is a named pipe, no file" in refusal(sha256, path)


CHANGES = {
    "longer": lambda path: path.write_bytes(b"a" * (3 << 20)),
    "shorter": lambda path: path.write_bytes(b"a"),
    "as long": lambda path: path.write_bytes(b"b" * (2 << 20)),
    "another file": lambda path: (
        path.with_name("new").write_bytes(b"a" * (2 << 20)),
        path.with_name("new").replace(path),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_while_it_is_read_has_no_digest(change, folder):
    path = folder / "big.mlmodel"
    path.write_bytes(b"a" * (2 << 20))
    os.utime(path, (1e9, 1e9))
    changed = []

    def advance(size):
        if not changed:
            changed.append(CHANGES[change](path))

    assert "big.mlmodel changed while it was read" in refusal(sha256, path, advance)


def test_a_file_that_vanishes_while_it_is_read_is_told(folder):
    path = folder / "big.mlmodel"
    path.write_bytes(b"a" * (2 << 20))
    assert "big.mlmodel vanished while it was read" in refusal(sha256, path, lambda size: path.unlink(missing_ok=True))


def test_a_file_that_vanishes_after_it_was_listed_is_told(folder, monkeypatch):
    def digest(path, advance=None):
        path.unlink()
        return sha256(path, advance)

    monkeypatch.setattr("requant.originals.locking.sha256", digest)
    (folder / "new.mlmodel").write_bytes(b"new")
    assert "new.mlmodel vanished" in refusal(lock_original, folder / "new.mlmodel")
    assert "new.mlmodel" not in read_lock(folder).digests


def test_bytes_are_counted_as_they_are_read(tmp_path):
    data = os.urandom(3_000_000)
    (tmp_path / "a").write_bytes(data)
    counts = []
    assert sha256(tmp_path / "a", counts.append) == hashlib.sha256(data).hexdigest()
    assert sum(counts) == len(data)
    assert len(counts) > 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_what_can_not_be_read_is_told(folder):
    (folder / "net.mlmodel").chmod(0)
    (folder / "net.mlpackage/Data/weights").chmod(0)
    try:
        assert "net.mlmodel can't be read: Permission denied" in verification(folder / "net.mlmodel")
        assert "weights can't be read: Permission denied" in verification(folder / "net.mlpackage")
    finally:
        (folder / "net.mlpackage/Data/weights").chmod(0o755)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can become somebody else")
def test_what_somebody_else_can_not_read_is_told(folder):
    """As above, for root: in a process of nobody's."""
    (folder / "net.mlmodel").chmod(0)
    (folder / "net.mlpackage/Data/weights").chmod(0)
    for path in (folder, *folder.parents):
        if path.owner() == "root" and path.stat().st_mode & 0o077 == 0:
            path.chmod(0o755)
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-m", "requant.cli"]
    run = subprocess.run(
        [*command, "verify", "--folder", str(folder)], capture_output=True, text=True, check=False, cwd=folder
    )
    if "No module named" in run.stderr or "Permission denied: '/" in run.stderr.replace(str(folder), ""):
        pytest.skip("nobody can't read this environment")
    assert run.returncode == 1, run.stderr
    assert "net.mlmodel can't be read: Permission denied" in run.stderr
    assert "weights can't be read: Permission denied" in run.stderr


def test_all_problems_of_a_package_are_told_at_once(folder):
    package = folder / "net.mlpackage"
    overwrite(package / "Manifest.json", b"[]")
    (package / "Data/model.mlmodel").unlink()
    (package / "Data/more").write_bytes(b"")
    (package / "link").symlink_to("Manifest.json")
    told = verification(package)
    for part in (
        "Manifest.json has changed",
        "model.mlmodel is missing",
        "Data/more is not locked",
        "link is a symbolic",
    ):
        assert part in told
    assert len(verify_all(folder).all_problems) == 4
    assert [len(finding.problems) for finding in verify_all(folder).originals] == [0, 4]


def test_a_package_that_was_emptied_is_told(folder):
    shutil.rmtree(folder / "net.mlpackage")
    (folder / "net.mlpackage").mkdir()
    assert verification(folder / "net.mlpackage").count("is missing, but locked") == len(PACKAGE)


def test_a_part_of_an_original_is_not_locked_alone(folder):
    before = state(folder)
    assert "is a part of" in refusal(lock_original, folder / "net.mlpackage/Manifest.json")
    for name in ("SHA256SUMS", "index.yaml"):
        (folder / name).touch()
        assert "is none itself" in refusal(lock_original, folder / name)
    (folder / "index.yaml").unlink()
    assert state(folder) == before
