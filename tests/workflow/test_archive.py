"""Archive, lose everything, restore, run again: the same bytes."""

import json
import shutil

import ocfl
import pytest

from requant.cli import main
from tests.workflow.project import Project
from tests.workflow.test_whole_way import FUNCTION

MODELS = {
    "tiny": {
        "original": "models_original/tiny.mlmodel",
        "data": "pictures",
        "custom_lut": "mine.py:extremes",
        "modes": {"linear": [8], "custom_lut": [4]},
        "tensors": [{"name": "conv0*", "store": "untouched"}],
    },
    "digits": {"original": "models_original/digits.mlpackage", "modes": {"kmeans": [3]}},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("project"))
    project.add_network()
    project.add_program()
    (project.folder / "mine.py").write_text(FUNCTION)
    project.configure(**MODELS)
    run = project.snakemake("archive")
    assert run.status == 0, run.text
    assert run.jobs["archive_release"] == 2
    return project


@pytest.fixture(autouse=True)
def _in_project(project, monkeypatch):
    monkeypatch.chdir(project.folder)


def test_the_archive_is_whole_and_valid(project):
    assert ocfl.StorageRoot(root=str(project.folder / "archive/ocfl")).validate()
    assert main(["archive", "verify"]) == 0
    release = json.loads((project.folder / "archive/ocfl/tiny/v1/content/release.json").read_text())
    assert [made["scheme"] for made in release["variants"]] == ["linear_8", "custom_lut_4"]
    assert release["variants"][0]["settings"]["rules"][0]["name"] == "conv0*"
    assert release["variants"][1]["functions"] == ["code/mine.py:extremes"]
    assert any(file["path"] == "workflow/Snakefile" for file in release["others"])


def test_nothing_is_to_be_done_again(project):
    assert project.snakemake("archive").jobs == {}


def test_everything_lost_everything_back(project):
    before = project.digests()
    shutil.rmtree(project.folder / "results")
    shutil.rmtree(project.folder / "models_original")
    assert main(["archive", "restore", "tiny"]) == 0
    assert main(["archive", "restore", "digits@1"]) == 0
    assert main(["archive", "rebuild-check", "tiny"]) == 0
    assert main(["archive", "rebuild-check", "digits"]) == 0
    run = project.snakemake("variants")
    assert run.status == 0, run.text
    assert project.digests() == before
    assert len(before) == 6


def test_without_the_archive_it_is_archived_again(project):
    shutil.rmtree(project.folder / "archive")
    run = project.snakemake("archive")
    assert run.status == 0, run.text
    assert main(["archive", "verify"]) == 0


def test_another_scheme_takes_another_name(project):
    models = {**MODELS, "tiny": {**MODELS["tiny"], "modes": {"linear": [8, 4], "custom_lut": [4]}}}
    project.configure(**models)
    run = project.snakemake("archive")
    assert run.status != 0
    assert "tiny@1 already, with other files" in run.text
    assert main(["archive", "verify"]) == 0
    path = project.folder / "config" / "config.yaml"
    path.write_text(path.read_text() + 'archive: {release: "2", variants: recommended}\n')
    run = project.snakemake("archive")
    assert run.status == 0, run.text
    assert (project.folder / "archive/releases/tiny/1.json").exists() is False  # what failed has no receipt
    assert main(["archive", "verify"]) == 0
    assert main(["archive", "prune", "tiny@1"]) == 0
    assert ocfl.StorageRoot(root=str(project.folder / "archive/ocfl")).validate()
