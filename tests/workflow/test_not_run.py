"""A model that is judged by its weights alone."""

import json
import shutil

import pandas as pd
import pytest

from benchmarks.large_model import large_program
from requant.coreml.model import unpack_package
from requant.originals import lock_original
from tests.workflow.project import Project

SCHEMES = ["linear_8", "kmeans_4", "linear_4_block32"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("project"))
    path = project.folder / "models_original" / "words.mlpackage"
    unpack_package(large_program(0.4), path)
    lock_original(path)
    project.add_network()
    words = {"original": "models_original/words.mlpackage", "data": "none", "schemes": SCHEMES}
    tiny = {"original": "models_original/tiny.mlmodel", "data": "pictures", "modes": {"linear": [8]}}
    project.configure(words=words, tiny=tiny)
    return project


@pytest.fixture(scope="module")
def run(project):
    return project.snakemake()


def test_nothing_of_it_is_run(run, project):
    assert run.status == 0, run.text
    assert run.jobs["quantize"] == run.jobs["evaluate"] - 2 == 4
    assert run.jobs["predict"] == 2  # the other model's
    assert not (project.folder / "results" / "words" / "outputs").exists()


def test_it_is_judged_by_the_errors_of_its_weights(run, project):
    folder = project.folder / "results" / "words"
    table = pd.read_csv(folder / "summary.tsv", sep="\t").set_index("scheme")
    assert table.loc["linear_8", "weight_snr_db"] > 40 > 30 > table.loc["kmeans_4", "weight_snr_db"] > 15
    assert table["samples"].eq(0).all()
    judgement = json.loads((folder / "judgement.json").read_text())
    assert judgement["targets"] == {"min_weight_snr": 30.0}
    assert judgement["recommended"] == "linear_8"
    assert "the model was not run" in judgement["reason"]


def test_the_page_shows_sizes_and_no_outputs(run, project):
    page = (project.folder / "results" / "report" / "index.html").read_text()
    assert "SNR of the weights" in page
    assert (project.folder / "results" / "words" / "fidelity.svg").is_file()
    assert not (project.folder / "results" / "words" / "sheet.png").exists()


def test_a_release_of_it_is_archived(run, project):
    done = project.snakemake("--config", "archive={'folder': 'archive', 'release': '1'}", "--", "archive")
    assert done.status == 0, done.text
    assert list((project.folder / "archive" / "releases" / "words").glob("*.json"))
    shutil.rmtree(project.folder / "archive")
