"""Dates of originals say nothing, their bytes say all: what runs again when one is touched, changed, restored."""

import os
import shutil

import pytest

from requant.coreml.model import to_bytes
from requant.originals import lock_original
from tests.workflow.project import Project, picture_network
from tests.workflow.test_failures import flip_one_byte

WEIGHTS = "models_original/digits.mlpackage/Data/com.apple.CoreML/weights/weight.bin"
LARGE = "models_original/large.mlmodel"
VARIANTS = ("--", "variants")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project whose variants are made, of a package and of a file that is beyond what Snakemake compares itself."""
    project = Project(tmp_path_factory.mktemp("project"))
    model = picture_network()
    model.spec.description.metadata.license = "x" * 1_200_000
    (project.folder / LARGE).write_bytes(to_bytes(model, "large"))
    lock_original(project.folder / LARGE)
    project.add_program()
    modes = {"linear": [8]}
    project.configure(
        large={"original": LARGE, "modes": modes},
        digits={"original": "models_original/digits.mlpackage", "modes": modes},
    )
    run = project.snakemake(*VARIANTS)
    assert run.status == 0, run.text
    return project


@pytest.fixture
def project(made, tmp_path):
    """A copy of it with all dates."""
    shutil.copytree(made.folder, tmp_path / "copy", copy_function=shutil.copy2)
    project = Project.__new__(Project)
    project.folder = tmp_path / "copy"
    return project


def files(project):
    return [f for f in (project.folder / "models_original").rglob("*") if f.is_file() and f.name != "SHA256SUMS"]


def touch(path):
    os.utime(path)


def copy_again(path):
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)


@pytest.mark.parametrize("change", [touch, copy_again])
def test_what_was_only_touched_or_copied_again_runs_nothing(project, change):
    for path in files(project):
        change(path)
    assert project.snakemake("-n", *VARIANTS).jobs == {}
    run = project.snakemake(*VARIANTS)
    assert run.status == 0
    assert run.jobs == {}


def test_one_more_variant_of_what_was_touched_runs_just_its_own_job(project):
    before = project.digests()
    for path in files(project):
        touch(path)
    run = project.snakemake("--", "results/large/variants/large_kmeans_4.mlmodel")
    assert run.jobs == {"quantize": 1}
    assert before.items() < project.digests().items()


@pytest.mark.parametrize("name", [LARGE, WEIGHTS])
@pytest.mark.parametrize("old_date", [False, True])
def test_changed_bytes_are_refused_whatever_the_date_and_restored_ones_run_nothing(project, name, old_date):
    path = project.folder / name
    data, status = path.read_bytes(), path.stat()
    flip_one_byte(path)
    if old_date:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    for options in (VARIANTS, ("-n", *VARIANTS)):
        run = project.snakemake(*options)
        assert run.status != 0
        assert f"{name} has changed since it was locked" in run.text
        assert "Traceback" not in run.text
    path.write_bytes(data)
    run = project.snakemake(*VARIANTS)
    assert run.status == 0, run.text
    assert run.jobs == {}


def test_a_missing_original_is_refused_though_all_is_made(project):
    (project.folder / WEIGHTS).unlink()
    run = project.snakemake(*VARIANTS)
    assert run.status != 0
    assert "weight.bin is missing, but locked" in run.text


def test_what_was_found_unchanged_is_not_read_again(project):
    for path in files(project):
        touch(path)
    assert project.snakemake(*VARIANTS).status == 0
    stamps = sorted((project.folder / ".snakemake/originals").iterdir())
    assert [stamp.name for stamp in stamps] == ["digits", "large"]
    dates = [stamp.stat().st_mtime_ns for stamp in stamps]
    assert project.snakemake(*VARIANTS).status == 0
    assert [stamp.stat().st_mtime_ns for stamp in stamps] == dates


def test_a_file_that_was_added_to_a_package_is_refused_and_what_the_finder_adds_is_not(project):
    package = project.folder / "models_original/digits.mlpackage"
    (package / ".DS_Store").write_bytes(b"view")
    assert "Nothing to be done" in project.snakemake(*VARIANTS).text
    (package / "Data/com.apple.CoreML/more.bin").write_bytes(b"more")
    run = project.snakemake(*VARIANTS)
    assert run.status != 0
    assert "more.bin is not locked, though" in run.text
