"""Judging without quantizing again: the check for continuous integration, and metrics of the user's."""

import json
import shutil

import pandas as pd
import pytest

from tests.workflow.project import Project

JUDGED_AGAIN = {"summarize": 1, "check": 1}
METRIC = """
import numpy as np

def closeness(reference, outputs, targets):
    difference = np.abs(reference["painted"].astype(float) - outputs["painted"])
    return 1 - difference.mean(axis=(1, 2, 3)) / 255
"""


def tiny(**more):
    return {
        "original": "models_original/tiny.mlmodel",
        "data": "pictures",
        "modes": {"linear": [8, 4]},
        "metrics": {"closeness": "mine.py:closeness"},
        **more,
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("project"))
    project.add_network()
    (project.folder / "mine.py").write_text(METRIC)
    return project


@pytest.fixture(scope="module")
def first_run(project):
    project.configure(tiny=tiny())
    run = project.snakemake("--", "check")
    assert run.status == 0, run.text
    return run


def table_of(project):
    return pd.read_csv(project.folder / "results/tiny/summary.tsv", sep="\t").set_index("scheme")


@pytest.mark.usefixtures("first_run")
class TestJudging:
    def test_the_check_writes_what_each_model_comes_to(self, project, first_run):
        record = json.loads((project.folder / "results/check.json").read_text())
        judgement = json.loads((project.folder / "results/tiny/judgement.json").read_text())
        assert record["models"]["tiny"] == {
            "variants": 2,
            "acceptable": len(judgement["acceptable"]),
            "recommended": judgement["recommended"],
        }
        assert first_run.jobs["check"] == 1
        assert "sheet" not in first_run.jobs
        assert "Nothing to be done" in project.snakemake("--", "check").text

    def test_a_metric_of_the_users_is_a_column_with_its_interval(self, project):
        table = table_of(project)
        assert table.loc["float", "metric_closeness"] == 1
        assert 1 > table.loc["linear_8", "metric_closeness"] > table.loc["linear_4", "metric_closeness"] > 0
        four = table.loc["linear_4"]
        assert four["metric_closeness_low"] <= four["metric_closeness"] <= four["metric_closeness_high"]
        record = json.loads((project.folder / "results/tiny/evaluation/tiny_linear_4.json").read_text())
        assert set(record["metrics"]["closeness"]) == {"value", "low", "high"}

    def test_another_target_judges_again_and_runs_nothing(self, project):
        least = float(table_of(project)["metric_closeness"].drop("float").mean())
        project.configure(tiny=tiny(targets={"min_metric_closeness": least}))
        run = project.snakemake("--", "check")
        assert run.status == 0, run.text
        assert run.jobs == JUDGED_AGAIN
        judgement = json.loads((project.folder / "results/tiny/judgement.json").read_text())
        assert judgement["recommended"] == "linear_8"
        assert judgement["next_smaller"]["scheme"] == "linear_4"
        assert [miss["target"] for miss in judgement["next_smaller"]["missed"]] == ["min_metric_closeness"]

    def test_the_check_fails_where_no_variant_meets_the_targets(self, project):
        project.configure(tiny=tiny(targets={"min_psnr": 90, "max_size": 1}))
        run = project.snakemake("--", "check")
        assert run.status != 0
        assert "tiny: none of its variants (2) is acceptable. The closest is linear_8: PSNR" in run.text
        assert "wanted at least 90.0 dB" in run.text
        assert "Traceback" not in run.text
        assert not (project.folder / "results/check.json").exists()

    def test_the_check_fails_where_a_model_is_worse_than_its_last_release(self, project):
        project.configure(tiny=tiny(targets={"min_psnr": 5}))
        run = project.snakemake("--", "archive", "check")
        assert run.status == 0, run.text
        project.configure(tiny=tiny(modes={"linear": [8]}, targets={"min_psnr": 5}))
        run = project.snakemake("--", "check")
        assert run.status != 0
        assert "tiny: linear_8 would ship with size " in run.text
        assert "release 1 shipped linear_4 with size " in run.text
        shutil.rmtree(project.folder / "archive")
        assert project.snakemake("--", "check").status == 0

    def test_a_changed_metric_evaluates_again_and_runs_nothing(self, project):
        project.configure(tiny=tiny())
        (project.folder / "mine.py").write_text(METRIC.replace("/ 255", "/ 510"))
        run = project.snakemake("--", "check")
        assert run.status == 0, run.text
        assert run.jobs == {**JUDGED_AGAIN, "evaluate": 3}

    def test_outputs_beyond_what_is_kept_go_and_are_made_again_only_when_they_are_needed(self, project):
        outputs = project.folder / "results/tiny/outputs"
        (project.folder / "mine.py").write_text(METRIC.replace("/ 255", "/ 1020"))
        run = project.snakemake("--config", "keep_outputs=0", "--", "check")
        assert run.status == 0, run.text
        assert "The outputs of 2 variants were removed: keep_outputs is 0 MB." in run.text
        assert [path.name for path in outputs.iterdir()] == ["tiny_float.npz"]
        assert "Nothing to be done" in project.snakemake("--", "check").text
        (project.folder / "mine.py").write_text(METRIC)
        run = project.snakemake("--", "check")
        assert run.jobs == {**JUDGED_AGAIN, "evaluate": 3, "predict": 2}
        assert len(list(outputs.iterdir())) == 3

    def test_a_metric_that_fails_is_told_with_its_line(self, project):
        (project.folder / "mine.py").write_text(METRIC.replace('outputs["painted"]', 'outputs["canvas"]'))
        run = project.snakemake("--", "check")
        assert run.status != 0
        assert "the metric closeness, mine.py:closeness, failed." in run.text
        assert "KeyError: 'canvas'" in run.text
