"""Evaluation data in the forms that a user has it in, on its whole way through the workflow."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.workflow.project import REPOSITORY, Project

LOADER = """
import numpy as np

def samples():
    with np.load("digits.npz") as data:
        for picture, label in zip(data["image"], data["labels"]):
            yield {"image": picture}, label
"""
DIGITS = {"original": "models_original/digits.mlpackage", "modes": {"linear": [8]}}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Return a project with digits as pictures in a table, and as what a function gives."""
    project = Project(tmp_path_factory.mktemp("project"))
    project.add_program()
    with np.load(REPOSITORY / "config/data/digits.npz") as data:
        arrays = {name: data[name][:40] for name in data.files}
    np.savez(project.folder / "digits.npz", **arrays)
    rows = [("file", "digit")]
    for index, (picture, label) in enumerate(zip(arrays["image"], arrays["labels"], strict=True)):
        Image.fromarray(np.asarray(picture, np.uint8)).save(project.folder / "pictures" / f"digit{index:02}.png")
        rows.append((f"pictures/digit{index:02}.png", label))
    with (project.folder / "digits.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    (project.folder / "mine.py").write_text(LOADER)
    project.configure(**entries())
    return project


def entries(samples=20):
    return {
        "table": {**DIGITS, "data": {"path": "digits.csv", "label": "digit", "samples": 20}},
        "arrays": {**DIGITS, "modes": "none", "data": "digits.npz"},
        "function": {**DIGITS, "data": {"loader": "mine.py:samples", "files": ["digits.npz"], "samples": samples}},
    }


@pytest.fixture(scope="module")
def run(project):
    run = project.snakemake()
    assert run.status == 0, run.text
    return run


def summary(project, name):
    return pd.read_csv(project.folder / "results" / name / "summary.tsv", sep="\t").set_index("scheme")


@pytest.mark.usefixtures("run")
class TestData:
    def test_accuracy_is_measured_on_all_forms(self, project):
        assert summary(project, "arrays")["samples"].tolist() == [40]
        for name in ("table", "function"):
            table = summary(project, name)
            assert table["samples"].tolist() == [20, 20]
            assert table.loc["float", "accuracy"] > 0.9
            assert not table["synthetic"].any()

    def test_pictures_in_files_give_what_the_arrays_give(self, project):
        folder = project.folder / "results"
        with (
            np.load(folder / "arrays/outputs/arrays_float.npz") as arrays,
            np.load(folder / "table/outputs/table_float.npz") as table,
            np.load(folder / "function/outputs/function_float.npz") as function,
        ):
            key = next(key for key in arrays.files if key.startswith("probabilities/"))
            assert np.array_equal(function[key], arrays[key][:20])
            taken = [int(name[-6:-4]) for name in table["names"]]
            assert taken == sorted(taken)
            assert np.array_equal(table[key], arrays[key][taken])

    def test_the_record_and_the_page_say_what_the_data_is(self, project):
        record = json.loads((project.folder / "results/table/data.json").read_text())
        assert record["description"] == "20 of the 40 labelled pictures in digits.csv, drawn by seed 1"
        assert len(record["sha256"]) == 21
        page = (project.folder / "results/report/index.html").read_text()
        assert "Evaluated on 20 of the 40 labelled pictures in digits.csv, drawn by seed 1" in page
        assert "Evaluated on at most 20 samples of mine.py:samples" in page

    def test_nothing_runs_again_without_a_reason(self, project):
        assert "Nothing to be done" in project.snakemake().text

    def test_a_changed_loader_and_other_settings_run_just_its_model_again(self, project):
        (project.folder / "mine.py").write_text(LOADER + "\n# changed\n")
        jobs = project.snakemake("-n").jobs
        assert jobs["data"] == 1
        assert jobs["predict"] == 2
        assert "quantize" not in jobs
        project.configure(**entries(samples=10))
        assert project.snakemake().status == 0
        assert summary(project, "function")["samples"].tolist() == [10, 10]

    def test_a_file_that_a_loader_names_is_watched(self, project):
        with np.load(project.folder / "digits.npz") as data:
            fewer = {name: data[name][:30] for name in data.files}
        np.savez(project.folder / "digits.npz", **fewer)
        jobs = project.snakemake("-n").jobs
        assert jobs["data"] == 2
        assert "quantize" not in jobs

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (
                {"path": "digits.csv"},
                "digits.csv has no column 'label'; its first line has the columns 'file', 'digit'",
            ),
            ({"path": "digits.csv", "hop": 3}, "models.table: data: hop can't be given for digits.csv"),
            ({"loader": "none.py:samples"}, "the evaluation data none.py does not exist"),
            ({"loader": "mine.py:samples", "file": ["a"]}, "unknown key 'file'; known are path"),
        ],
    )
    def test_what_is_wrong_is_told_before_any_job(self, project, data, message):
        project.configure(table={**DIGITS, "data": data})
        run = project.snakemake()
        assert run.status != 0
        assert message in run.text
        assert "Traceback" not in run.text
        assert not run.jobs

    def test_a_loader_that_fails_is_told_with_the_sample(self, project):
        (project.folder / "mine.py").write_text(LOADER + "    1 / 0\n")
        project.configure(function={**DIGITS, "data": {"loader": "mine.py:samples"}})
        run = project.snakemake()
        assert run.status != 0
        assert "requant: mine.py:samples failed at sample 30." in run.text
        assert "ZeroDivisionError: division by zero" in run.text
