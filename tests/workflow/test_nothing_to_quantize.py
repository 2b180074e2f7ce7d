"""Models that pass through the workflow without any variant: nothing to quantize in them, or none wanted."""

import json

import numpy as np
import pandas as pd
import pytest
from coremltools.models import datatypes
from coremltools.models.tree_ensemble import TreeEnsembleClassifier

from requant.coreml.model import Model, load, save
from requant.originals import lock_original
from tests.building import network
from tests.workflow.project import Project

ONLY_TREES = {"trees": {"original": "models_original/trees.mlmodel"}}


def trees():
    """Return a classifier that says whether a number is above one half."""
    builder = TreeEnsembleClassifier([("x", datatypes.Double())], ["low", "high"], ["label", "p"])
    builder.set_default_prediction_value([0.0, 0.0])
    builder.set_post_evaluation_transform("Classification_SoftMax")
    builder.add_branch_node(0, 0, 0, 0.5, "BranchOnValueGreaterThan", 2, 1)
    builder.add_leaf_node(0, 1, {0: 1.0, 1: 0.0})
    builder.add_leaf_node(0, 2, {0: 0.0, 1: 1.0})
    return Model(builder.spec)


def add(project, name, model):
    path = project.folder / "models_original" / f"{name}.mlmodel"
    save(model, path)
    lock_original(path)
    return {"original": f"models_original/{name}.mlmodel"}


def result(project, name):
    """Return the rows of the table and the judgement of a model."""
    folder = project.folder / "results" / name
    return pd.read_csv(folder / "summary.tsv", sep="\t"), json.loads((folder / "judgement.json").read_text())


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("project"))
    project.add_network()
    random = np.random.default_rng(0)
    x = random.uniform(size=20)
    np.savez(project.folder / "numbers.npz", x=x, labels=np.where(x > 0.4, "high", "low"))
    project.configure(
        trees=add(project, "trees", trees()),
        labelled={"original": "models_original/trees.mlmodel", "data": "numbers.npz"},
        relu=add(project, "relu", network(lambda b: b.add_activation("relu", "RELU", "x", "y"))),
        tiny={"original": "models_original/tiny.mlmodel", "data": "pictures", "modes": "none"},
        quantized={"original": "models_original/tiny.mlmodel", "data": "pictures", "modes": {"linear": [8]}},
    )
    return project


@pytest.fixture(scope="module")
def run(project):
    run = project.snakemake()
    assert run.status == 0, run.text
    return run


@pytest.mark.usefixtures("run")
class TestNothingToQuantize:
    def test_only_what_has_variants_is_drawn_and_only_what_can_be_compared_or_has_data_is_run(self, project, run):
        assert run.jobs == {
            "verify": 5, "convert": 5, "data": 3, "predict": 4, "quantize": 1, "evaluate": 6, "summarize": 5, "plot": 1,
            "sheet": 1, "viewer": 1, "page": 1, "all": 1,
        }  # fmt: skip
        assert "Nothing to be done" in project.snakemake().text

    @pytest.mark.parametrize(("name", "kind"), [("trees", "treeEnsembleClassifier"), ("relu", "NeuralNetwork")])
    def test_the_model_is_delivered_as_it_was_and_reported_as_such(self, project, name, kind):
        delivered = project.folder / f"results/{name}/float/{name}.mlmodel"
        assert load(delivered).spec == load(project.folder / f"models_original/{name}.mlmodel").spec
        table, judgement = result(project, name)
        assert table["scheme"].tolist() == ["float"]
        assert table["samples"].tolist() == [0]
        assert judgement["recommended"] is None
        assert judgement["reason"] == (
            f"Nothing to quantize: this {kind} has no weights that Core ML stores in fewer bits. Ship it as it is: "
            f"{delivered.stat().st_size} bytes."
        )
        assert judgement["reason"] in (project.folder / "results/report/index.html").read_text()

    def test_on_labelled_data_its_accuracy_is_told(self, project):
        table, judgement = result(project, "labelled")
        with np.load(project.folder / "numbers.npz") as data:
            right = ((data["x"] > 0.5) == (data["labels"] == "high")).mean()
        assert 0.5 < right < 1
        assert table["accuracy"].tolist() == pytest.approx([right])
        assert table["samples"].tolist() == [20]
        assert "Nothing to quantize" in judgement["reason"]

    def test_a_model_that_is_only_converted_is_run_and_has_one_row(self, project):
        table, judgement = result(project, "tiny")
        assert table["scheme"].tolist() == ["float"]
        assert table["bits_per_weight"].tolist() == [32]
        assert table["samples"].tolist() == [2]
        assert judgement["reason"].startswith("The configuration leaves no variants to make (modes, ")
        assert not (project.folder / "results/tiny/variants").exists()

    def test_snakemakes_own_report_is_made(self, project):
        report = project.snakemake("--report", "report.html")
        assert report.status == 0, report.text
        assert (project.folder / "report.html").stat().st_size > 100_000

    @pytest.mark.parametrize(
        ("target", "message"),
        [
            (
                "variants/trees_kmeans_4.mlmodel",
                "trees.mlmodel has no weights that could be quantized; ship it as it is.",
            ),
            ("fidelity.svg", "models.trees has no variants, so that there is nothing to draw of it."),
        ],
    )
    def test_what_there_can_not_be_is_refused_before_any_job(self, project, target, message):
        run = project.snakemake("-n", "--", f"results/trees/{target}")
        assert run.status != 0
        assert message in run.text
        assert "models.trees" in run.text

    def test_a_variant_of_a_model_that_is_only_converted_can_be_asked_for(self, project):
        run = project.snakemake("-n", "--", "results/tiny/variants/tiny_kmeans_4.mlmodel")
        assert run.jobs == {"quantize": 1}

    def test_wishes_that_can_not_be_met_are_one_message_before_any_job(self, project):
        project.configure(trees={**ONLY_TREES["trees"], "modes": {"kmeans": [4]}, "targets": {"min_accuracy": 0.9}})
        run = project.snakemake("-n")
        assert run.status != 0
        assert "models.trees: models_original/trees.mlmodel has no weights that could be quantized" in run.text
        assert "these keys could be for: modes, targets." in run.text
        assert "Python" not in run.text

    def test_a_project_of_such_models_alone_has_no_variants_to_make(self, project):
        project.configure(**ONLY_TREES)
        run = project.snakemake("--", "variants", "packages", "all")
        assert run.status == 0, run.text
        assert "trees" in (project.folder / "results/report/index.html").read_text()


def test_real_models_with_nothing_to_quantize_pass_through(project, real_models):
    files = {
        "student": "xgb-student/student_performance.mlmodel", "words": "sentiment-pipeline/SentimentPolarity.mlmodel",
        "onehot": "tiny-oddities/onehot_simple.mlmodel", "prices": "tiny-oddities/PlotCVPredict.mlmodel",
        "identity": "tiny-oddities/identity.mlmodel",
    }  # fmt: skip
    project.configure(**{name: add(project, name, load(real_models / file)) for name, file in files.items()})
    run = project.snakemake()
    assert run.status == 0, run.text
    assert not {"predict", "data", "plot", "sheet", "quantize"} & set(run.jobs)
    for name in files:
        delivered = load(project.folder / f"results/{name}/float/{name}.mlmodel")
        assert delivered.spec == load(real_models / files[name]).spec
        table, judgement = result(project, name)
        assert table["ios"].tolist() == [11]
        assert judgement["reason"].startswith(f"Nothing to quantize: this {delivered.type} has no weights")
