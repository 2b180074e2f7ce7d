"""Archiving and pruning, killed at many moments: what is left is valid, and doing it again ends as if undisturbed."""

import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from requant.archive.contents import entries
from requant.archive.pruning import plan_removal, prune
from requant.archive.release import archive_release
from requant.archive.verifying import verify_archive
from tests.archive.archiving import archive, release_files, require_valid, tree
from tests.workflow.project import REPOSITORY

# The process kills itself before one of its steps on the disk; more than one can't be missed by that.
ARCHIVE = """
import os, pickle, signal, sys
from pathlib import Path
from requant.archive.release import archive_release
from requant.archive.store import Store
from requant.archive.pruning import plan_removal, prune
files, limit, steps = pickle.loads(Path(sys.argv[1]).read_bytes()), int(sys.argv[2]), 0
def watch(event, arguments):
    global steps
    if event.startswith(("os.link", "os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.chmod", "ctypes.dlsym")):
        steps += 1
        if steps == limit:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
store = Store(Path("archive"))
if files:
    archive_release(store, files)
else:
    prune(store, plan_removal(store, ["digits@1", "painter@1"], None))
print(steps)
"""


def run(files, limit=0):
    Path("files.pickle").write_bytes(pickle.dumps(files))
    command = [sys.executable, "-c", ARCHIVE, "files.pickle", str(limit)]
    environment = {"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment)


def sound(store):
    require_valid(store.root)
    return verify_archive(store) == []


@pytest.mark.parametrize("task", ["archive", "prune"])
def test_killed_at_any_moment_nothing_is_lost(store, network_release, task):
    files = release_files(network_release[1], "3") if task == "archive" else None
    shutil.copytree("archive", "before")
    done = run(files)
    assert done.returncode == 0, done.stderr
    total = int(done.stdout)
    names, contents = [str(entry) for entry in entries(store)], len(tree(store.root))
    assert sound(store)
    assert total > 50
    for limit in (5, total // 3, total // 2, total - 9, total - 2, total):
        shutil.rmtree("archive")
        shutil.copytree("before", "archive")
        assert run(files, limit).returncode == -9
        assert sound(store), limit
        left = [str(entry) for entry in entries(store) if str(entry) not in names]
        if files:
            archive_release(store, files)
        elif left:
            prune(store, plan_removal(store, left, None))
        assert [str(entry) for entry in entries(store)] == names
        assert len(tree(store.root)) == contents
        assert sound(store)


def test_two_processes_archive_at_once(store, network_release, program_release):
    jobs = []
    for index, (release, name) in enumerate(
        [(network_release[1], "3"), (program_release[1], "2"), (network_release[1], "4"), (network_release[1], "3")]
    ):
        Path(f"{index}.pickle").write_bytes(pickle.dumps(release_files(release, name)))
        command = [sys.executable, "-c", ARCHIVE, f"{index}.pickle", "0"]
        jobs.append(subprocess.Popen(command, stdout=subprocess.PIPE, env={"PYTHONPATH": str(REPOSITORY)}))
    assert [job.wait() for job in jobs] == [0, 0, 0, 0]
    assert sorted(str(entry) for entry in entries(store)) == [
        "digits@1", "digits@2", "painter@1", "painter@2", "painter@3", "painter@4",
    ]  # fmt: skip
    assert sound(store)


def test_what_a_killed_process_left_is_no_part_of_the_archive(store, network_release):
    Path("archive/.work/new/painter/v9").mkdir(parents=True)
    assert sound(store)
    archive(store, network_release[1], "3")
    assert not Path("archive/.work").exists()
    assert sound(store)
