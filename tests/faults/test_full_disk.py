"""A disk that is full: the user is told so, nothing half-written is in place, and a run after that finishes."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.faults.kill import finals_of, make_project

TARGETS = {
    "convert": "results/digits/float/digits.mlpackage.zip",
    "quantize": "results/digits/variants/digits_linear_8.mlpackage.zip",
    "package": "results/digits/variants/digits_linear_8.mlpackage",
    "predict": "results/digits/outputs/digits_linear_8.npz",
}


@pytest.fixture
def mounted(tmp_path):
    """Return a function that mounts a small disk on a folder; all are unmounted in the end."""
    folders = []

    def mount(folder, size):
        folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"a small disk can't be mounted here: {done.stderr.strip()}")
        folders.append(folder)
        return folder

    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    yield mount
    for folder in folders:
        subprocess.run(["umount", str(folder)], check=True)


def fill(folder, leave):
    """Fill a disk but for some bytes, and return the file that takes the room."""
    filler = folder / "filler"
    free = os.statvfs(folder)
    with filler.open("wb") as stream:
        stream.write(bytes(max(0, free.f_bavail * free.f_frsize - leave)))
    return filler


def test_where_not_even_a_run_can_be_noted_down_nothing_is_started(tmp_path, mounted):
    project = make_project(mounted(tmp_path / "disk", "20m") / "project")
    filler = fill(tmp_path / "disk", 0)
    run = project.snakemake("--", TARGETS["quantize"])
    assert run.status != 0
    assert "running can't be written, so that nothing was started: No space left on device" in run.text
    filler.unlink()
    assert project.snakemake("--", TARGETS["quantize"]).status == 0


@pytest.mark.parametrize("leave", [0, 4096], ids=["nothing left", "4 kB left"])
@pytest.mark.parametrize("rule", TARGETS)
def test_a_full_disk_is_told_and_a_run_after_it_finishes(tmp_path, mounted, rule, leave):
    project = make_project(tmp_path / "project")
    results = mounted(project.folder / "results", "20m")
    target = Path(TARGETS[rule])
    if rule != "convert":
        inputs = [path for name, path in TARGETS.items() if name in ("convert", "quantize")][: 1 + (rule != "quantize")]
        assert project.snakemake("--", *inputs, "results/digits/data.json").status == 0
    else:
        assert project.snakemake("--", "results/digits/original.json").status == 0
    (results / "digits/logs").mkdir(exist_ok=True)
    for folder in ("float", "variants", "outputs"):
        (results / "digits" / folder).mkdir(exist_ok=True)
    before = finals_of(results)
    filler = fill(results, leave)
    run = project.snakemake("--", str(target))
    assert run.status != 0
    assert f"{target} can't be written: the disk is full" in run.text
    assert "Make space on the disk of" in run.text
    assert "Traceback" not in run.text
    filler.unlink()
    assert finals_of(results) == before
    run = project.snakemake("--", str(target))
    assert run.status == 0, run.text
    assert (project.folder / target).exists()
    assert not list(results.rglob("*.unfinished"))
