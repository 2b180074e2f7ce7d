"""The lock file: what is read, what no line can hold, and that two processes do not lose each other's lines."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requant.errors import RequantError
from requant.originals import LOCK_NAME, Lock, lock_original, read_lock, verify, verify_all
from requant.originals.lock_file import clashes, only_writer, write_lock
from tests.originals.folders import state, write_package

DIGEST, OTHER = "a" * 64, "b" * 64


def written(folder, text):
    (folder / LOCK_NAME).write_bytes(text.encode() if isinstance(text, str) else text)
    return folder


@pytest.mark.parametrize(
    "text",
    [
        f"{DIGEST}  net.mlmodel\r\n{OTHER}  my net.mlmodel\r\n",
        f"\ufeff{DIGEST}  net.mlmodel\n{OTHER}  my net.mlmodel\n",
        f"{DIGEST.upper()}  net.mlmodel\n\n{OTHER}  my net.mlmodel",
        f"{DIGEST} *net.mlmodel\n{OTHER}  my net.mlmodel\n",
        f"{DIGEST}  net.mlmodel\n{OTHER}  my net.mlmodel\n{DIGEST}  net.mlmodel\n",
    ],
    ids=["line ends of Windows", "byte order mark", "capital digits", "binary", "twice the same"],
)
def test_what_is_beyond_doubt_is_read_and_written_plainly(tmp_path, text):
    lock = read_lock(written(tmp_path, text))
    assert lock.digests == {"net.mlmodel": DIGEST, "my net.mlmodel": OTHER}
    write_lock(lock)
    assert (tmp_path / LOCK_NAME).read_bytes() == f"{DIGEST}  net.mlmodel\n{OTHER}  my net.mlmodel\n".encode()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{DIGEST}  a\n{OTHER}  a\n", "line 2: a has another digest in a line before"),
        (f"\\{DIGEST}  a\\\\nb\n", "line 1: the name has a backslash or a line end in it"),
        (f"{DIGEST}  /etc/passwd\n", "line 1: '/etc/passwd' has to be a path below the folder"),
        (f"{DIGEST}  ../net.mlmodel\n", "'../net.mlmodel' has to be a path below the folder"),
        (f"{DIGEST}  ./net.mlmodel\n", "'./net.mlmodel' has to be a path below the folder"),
        (f"{DIGEST}  a//b\n", "'a//b' has to be a path below the folder"),
        (f"SHA256 (a) = {DIGEST}\n", "this is not a line of sha256sum"),
        (b"\xff\xfe" + f"{DIGEST}  a\n".encode("utf-16-le"), "is not text in UTF-8"),
        (DIGEST.encode() + b"  \xff\n", "is not text in UTF-8"),
    ],
)
def test_what_is_not_plain_is_refused(tmp_path, text, message):
    with pytest.raises(RequantError) as caught:
        read_lock(written(tmp_path, text))
    assert str(tmp_path / LOCK_NAME) in str(caught.value)
    assert message in str(caught.value)


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=("C", "Zl", "Zp"), exclude_characters="/\\"), min_size=1)
        .filter(lambda name: name not in (".", "..") and name.strip()),
        st.text("0123456789abcdef", min_size=64, max_size=64),
    )
)  # fmt: skip
def test_what_is_written_is_read_again(tmp_path_factory, digests):
    folder = tmp_path_factory.mktemp("lock")
    write_lock(Lock(folder, digests))
    assert read_lock(folder) == Lock(folder, digests)


@pytest.mark.parametrize("name", ["a\nb.mlmodel", "a\\b.mlmodel", "a\rb.mlmodel", "a\x85b.mlmodel", b"a\xff.mlmodel"])
def test_a_name_that_no_line_can_hold_is_refused(folder, name):
    path = folder / (os.fsdecode(name) if isinstance(name, bytes) else name)
    try:
        path.write_bytes(b"model")
    except OSError:
        pytest.skip("this disk has no such names")
    write_package(folder / "other.mlpackage", {path.name: b"model"})
    before = state(folder)
    for original in (path, folder / "other.mlpackage"):
        with pytest.raises(RequantError, match="rename it"):
            lock_original(original)
    assert state(folder) == before


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="there is no sha256sum here")
def test_names_with_spaces_accents_and_asterisks_are_as_sha256sum_has_them(tmp_path):
    for name in ("my net.mlmodel", "*net.mlmodel", " net.mlmodel", "Bär.mlmodel"):
        (tmp_path / name).write_bytes(name.encode())
        lock_original(tmp_path / name)
        verify(tmp_path / name, read_lock(tmp_path))
    subprocess.run(["sha256sum", "--strict", "-c", LOCK_NAME], cwd=tmp_path, capture_output=True, check=True)


def is_case_sensitive(folder):
    (folder / "case").touch()
    return not (folder / "CASE").exists()


@pytest.mark.parametrize(
    ("first", "second"),
    [("net.mlmodel", "Net.mlmodel"), ("bär.mlmodel", "ba\u0308r.mlmodel"), ("ß.mlmodel", "SS.mlmodel")],
)
def test_names_that_a_mac_can_not_tell_apart_are_refused(tmp_path, first, second):
    if not is_case_sensitive(tmp_path):
        pytest.skip("this disk does not tell them apart")
    (tmp_path / first).write_bytes(b"first")
    (tmp_path / second).write_bytes(b"second")
    lock_original(tmp_path / first)
    before = state(tmp_path)
    with pytest.raises(RequantError, match="differ in nothing but capitals or accents"):
        lock_original(tmp_path / second)
    assert state(tmp_path) == before


def test_names_within_a_package_that_a_mac_can_not_tell_apart_are_refused(tmp_path):
    if not is_case_sensitive(tmp_path):
        pytest.skip("this disk does not tell them apart")
    write_package(tmp_path / "a.mlpackage", {"Data/model": b"1", "data/weights": b"2"})
    with pytest.raises(RequantError, match=r"a.mlpackage/Data and a.mlpackage/data differ in nothing but capitals"):
        lock_original(tmp_path / "a.mlpackage")


def test_names_that_clash_are_told_where_they_are_locked_already(tmp_path):
    assert clashes(["A/x", "a/y", "A/z", "b"]) == [("A", "a")]
    if not is_case_sensitive(tmp_path):
        pytest.skip("this disk does not tell them apart")
    lines = dict.fromkeys(("net.mlmodel", "Net.mlmodel"), DIGEST)
    write_lock(Lock(tmp_path, lines))
    (notice,) = verify_all(tmp_path).notices[:1]
    assert "net.mlmodel and Net.mlmodel differ in nothing but capitals" in notice


def lock_in_process(path, barrier):
    barrier.wait()
    lock_original(path)


def test_processes_that_lock_at_once_lose_no_line(tmp_path):
    names = [f"{index}.mlmodel" for index in range(8)] * 2  # each by two processes
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(len(names))
    processes = [context.Process(target=lock_in_process, args=(tmp_path / name, barrier)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(names)
    assert len((tmp_path / LOCK_NAME).read_text().splitlines()) == 8
    assert set(read_lock(tmp_path).digests) == set(names)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([LOCK_NAME, *set(names)])


def wait_as_the_only_writer(folder, ready):
    with only_writer(folder):
        ready.set()
        time.sleep(60)


def test_a_writer_that_is_killed_holds_nobody_up(folder):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=wait_as_the_only_writer, args=(folder, ready))
    process.start()
    assert ready.wait(30)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    (folder / "new.mlmodel").write_bytes(b"new")
    assert len(lock_original(folder / "new.mlmodel")) == 1
    assert verify_all(folder).notices == ()
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_two_writers_wait_for_each_other(folder):
    context = multiprocessing.get_context("fork")
    with only_writer(folder):
        process = context.Process(target=enter, args=(folder,))
        process.start()
        process.join(0.3)
        assert process.exitcode is None
    process.join(30)
    assert process.exitcode == 0


def enter(folder):
    with only_writer(folder):
        pass
