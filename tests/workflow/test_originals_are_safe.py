"""The workflow never writes below `models_original/`: it runs where it can't, and changes nothing where it could."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from requant.originals import protect, verify_all

READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'
MODELS = {
    "tiny": {"original": "models_original/tiny.mlmodel", "data": "pictures", "modes": {"linear": [8]}},
    "digits": {"original": "models_original/digits.mlpackage", "modes": {"kmeans": [4]}},
}


@pytest.fixture
def originals(project):
    project.add_network()
    project.add_program()
    project.configure(**MODELS)
    folder = project.folder / "models_original"
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)  # as a fresh clone has it
    return folder


def state(folder):
    """Return the bytes and the time of change of everything in a folder."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in [folder, *folder.rglob("*")]
    }


def with_a_read_only(folder):
    """Return what to put before a command so that it finds a folder on a file system that can't be written to."""
    if sys.platform != "linux" or not shutil.which("unshare"):
        return None
    root = [] if os.geteuid() == 0 else ["--map-root-user"]
    prefix = ["unshare", "--mount", *root, "sh", "-c", READ_ONLY, "sh", str(folder)]
    test = 'test -r "$1" && ! touch "$1/written" 2>/dev/null'
    tried = subprocess.run([*prefix, "sh", "-c", test, "sh", str(folder)], capture_output=True, check=False)
    return prefix if tried.returncode == 0 else None


def run(prefix, project):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        [*prefix, *project.command()], capture_output=True, text=True, env=environment, check=False, cwd=project.folder
    )


def test_the_whole_workflow_runs_with_originals_that_can_not_be_written(project, originals):
    prefix = with_a_read_only(originals)
    if prefix is None and os.geteuid() == 0:
        pytest.skip("root can write everywhere, and this system mounts nothing read-only")
    if prefix is None:
        for path in [*originals.rglob("*"), originals]:
            path.chmod(path.stat().st_mode & ~0o222)
    before = state(originals)
    try:
        done = run(prefix or [], project)
        assert done.returncode == 0, done.stdout + done.stderr
        assert state(originals) == before
        assert (project.folder / "results/report/index.html").exists()
    finally:
        for path in [originals, *originals.rglob("*")]:
            path.chmod(path.stat().st_mode | 0o200)


def test_the_workflow_changes_no_byte_no_name_and_no_date_of_an_original(project, originals):
    before = state(originals)
    done = project.snakemake("--", "originals", "variants", "packages")
    assert done.status == 0, done.text
    assert state(originals) == before
    assert verify_all(originals).all_problems == []
    modes = {path.stat().st_mode & 0o222 for path in (originals / "digits.mlpackage").rglob("*") if path.is_file()}
    assert modes == {0}  # the permission to write is all that it takes away


def test_what_can_not_be_protected_is_left_as_it_is(originals):
    """As on a read-only disk, whose files may say that they can be written."""
    prefix = with_a_read_only(originals)
    if prefix is None:
        pytest.skip("this system mounts nothing read-only")
    program = f"from pathlib import Path; from requant.originals import protect; protect(Path({str(originals)!r}))"
    subprocess.run([*prefix, sys.executable, "-c", program], check=True)
    assert (originals / "tiny.mlmodel").stat().st_mode & 0o200
    protect(originals)
    assert not (originals / "tiny.mlmodel").stat().st_mode & 0o222
