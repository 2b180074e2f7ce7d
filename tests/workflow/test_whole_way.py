"""One project, taken the whole way and changed step by step, as its user would."""

import json
import shutil

import pandas as pd
import pytest

from requant.coreml.model import load
from requant.quantize.scheme import SCHEMES
from requant.report.summary import COLUMNS
from tests.workflow.project import Project

TABLE_JOBS = {"summarize": 1, "plot": 1, "sheet": 1, "viewer": 1, "page": 1, "all": 1}
FUNCTION = """
import numpy as np

def extremes(bits, weights):
    table = np.linspace(weights.min(), weights.max(), 1 << bits)
    return table, np.abs(weights[..., None] - table).argmin(-1)
"""


def tiny(**bits):
    return {
        "original": "models_original/tiny.mlmodel",
        "data": "pictures",
        "custom_lut": "mine.py:extremes",
        "modes": bits,
    }


DIGITS = {"original": "models_original/digits.mlpackage", "modes": {"linear": [8], "kmeans": [3]}}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("project"))
    project.add_network()
    project.add_program()
    (project.folder / "mine.py").write_text(FUNCTION)
    return project


@pytest.fixture(scope="module")
def first_run(project):
    project.configure(tiny=tiny(linear=[8, 4], custom_lut=[4]), digits=DIGITS)
    run = project.snakemake()
    assert run.status == 0, run.text
    return run


@pytest.mark.usefixtures("first_run")
class TestWholeWay:
    def test_every_configured_variant_is_delivered_with_its_audit(self, project):
        assert set(project.digests()) == {
            name + ending
            for name in (
                "tiny_linear_8.mlmodel", "tiny_linear_4.mlmodel", "tiny_custom_lut_4.mlmodel",
                "digits_linear_8.mlpackage.zip", "digits_kmeans_3.mlpackage.zip",
            )
            for ending in ("", ".json")
        }  # fmt: skip

    def test_the_table_has_a_row_for_the_float_model_and_each_variant(self, project):
        table = pd.read_csv(project.folder / "results/tiny/summary.tsv", sep="\t")
        assert list(table.columns) == list(COLUMNS)
        assert list(table["scheme"]) == ["float", "linear_8", "linear_4", "custom_lut_4"]
        sizes = table.set_index("scheme")["size_mb"]
        assert sizes["float"] > sizes["linear_8"] > sizes["linear_4"]
        assert table.set_index("scheme")["psnr_db"].drop("float").between(5, 80).all()

    def test_figures_on_made_up_inputs_are_marked(self, project):
        table = pd.read_csv(project.folder / "results/digits/summary.tsv", sep="\t")
        assert table["synthetic"].all()
        assert "These inputs are made up" in (project.folder / "results/report/index.html").read_text()

    def test_the_page_needs_no_other_file(self, project):
        page = (project.folder / "results/report/index.html").read_text()
        assert "Ship" in page
        assert 'src="data:image' in page
        assert 'src="http' not in page
        assert "<link" not in page

    def test_originals_are_read_only_afterwards(self, project):
        assert (project.folder / "models_original/tiny.mlmodel").stat().st_mode & 0o222 == 0

    def test_a_second_run_has_nothing_to_do(self, project):
        run = project.snakemake()
        assert run.status == 0
        assert "Nothing to be done" in run.text

    def test_a_variant_that_is_not_configured_can_be_asked_for(self, project):
        path = "results/tiny/variants/tiny_kmeans_5.mlmodel"
        run = project.snakemake("--", path)
        assert run.status == 0, run.text
        assert run.jobs == {"quantize": 1}
        assert load(project.folder / path).spec.description.metadata.author == "A. Tester"
        (project.folder / path).unlink()
        (project.folder / f"{path}.json").unlink()

    def test_the_folder_for_xcode_can_be_asked_for(self, project):
        path = "results/digits/variants/digits_kmeans_3.mlpackage"
        run = project.snakemake("--", path)
        assert run.status == 0, run.text
        assert load(project.folder / path).spec == load(project.folder / f"{path}.zip").spec
        shutil.rmtree(project.folder / path)

    def test_one_more_bit_width_runs_just_its_own_jobs(self, project):
        project.configure(tiny=tiny(linear=[8, 6, 4], custom_lut=[4]), digits=DIGITS)
        run = project.snakemake()
        assert run.status == 0, run.text
        assert run.jobs == {**TABLE_JOBS, "quantize": 1, "predict": 1, "evaluate": 1}

    def test_fewer_bit_widths_make_no_variant_again(self, project):
        project.configure(tiny=tiny(linear=[8, 4], custom_lut=[4]), digits=DIGITS)
        run = project.snakemake()
        assert run.status == 0, run.text
        assert run.jobs == TABLE_JOBS

    def test_a_changed_function_makes_just_its_own_variants_again(self, project):
        before = project.digests()
        (project.folder / "mine.py").write_text(FUNCTION.replace("weights.max()", "weights.max() * 0.9"))
        run = project.snakemake()
        assert run.status == 0, run.text
        assert run.jobs == {**TABLE_JOBS, "quantize": 1, "predict": 1, "evaluate": 1}
        changed = {name for name, digest in project.digests().items() if digest != before[name]}
        assert changed == {"tiny_custom_lut_4.mlmodel", "tiny_custom_lut_4.mlmodel.json"}

    def test_a_release_can_be_planned_of_models_with_a_function_of_the_users(self, project):
        run = project.snakemake("-n", "--", "archive")
        assert run.status == 0, run.text
        assert run.jobs["archive_release"] == 2

    def test_deleted_results_come_back_with_the_same_bytes(self, project):
        before = project.digests()
        shutil.rmtree(project.folder / "results")
        run = project.snakemake("--", "variants")
        assert run.status == 0, run.text
        kept = {name: digest for name, digest in before.items() if "linear_6" not in name}
        assert project.digests() == kept


NAMED = {
    "original": "models_original/digits.mlpackage",
    "schemes": ["kmeans_4_group16", "linear_8", "prune_50_linear_8"],
    "tensors": [{"name": "*conv2*", "store": "untouched", "schemes": ["linear_8"]}],
}


@pytest.mark.usefixtures("first_run")
class TestSchemesAndTensors:
    """Named schemes and the table of tensors, in the same project, after the above."""

    def test_named_schemes_are_made_raised_and_proven(self, project):
        project.configure(digits=NAMED)
        run = project.snakemake()
        assert run.status == 0, run.text
        table = pd.read_csv(project.folder / "results/digits/summary.tsv", sep="\t", dtype=str).set_index("scheme")
        assert list(table.index) == ["float", "kmeans_4_group16", "linear_8", "prune_50_linear_8"]
        assert table["ios"].to_dict() == {
            "float": "15", "kmeans_4_group16": "18", "linear_8": "16", "prune_50_linear_8": "18",
        }  # fmt: skip
        assert table["raised_from_ios"].fillna("").tolist() == ["", "15", "15", "15"]
        assert table["family"].tolist() == ["float", "kmeans_group16", "linear", "prune_50_linear"]
        proof = json.loads((project.folder / "results/digits/raised/9.json").read_text())
        assert (proof["from_ios"], proof["ios"], proof["equal"]) == ("15", "18", True)
        assert "raised from 15" in (project.folder / "results/report/index.html").read_text()

    def test_the_audit_says_what_each_tensor_became(self, project):
        audit = json.loads((project.folder / "results/digits/variants/digits_linear_8.mlpackage.zip.json").read_text())
        tensors = {tensor["name"]: tensor for tensor in audit["tensors"]}
        assert tensors["network_conv2_weight"]["requested"] == "untouched"
        assert tensors["network_conv2_weight"]["reason"] == "rule 1 of tensors: untouched"
        assert tensors["network_conv3_weight"]["form"] == "linear"
        assert "only tensors with more than 2,048" in tensors["network_scores_weight"]["reason"]

    def test_a_changed_rule_makes_just_the_variants_again_that_it_is_for(self, project):
        rules = [{"name": "*conv2*", "store": "float16", "schemes": ["linear_8"]}]
        project.configure(digits={**NAMED, "tensors": rules})
        run = project.snakemake()
        assert run.status == 0, run.text
        assert run.jobs == {**TABLE_JOBS, "quantize": 1, "predict": 1, "evaluate": 1}

    def test_a_rule_that_fits_no_tensor_is_told(self, project):
        project.configure(digits={**NAMED, "tensors": [{"name": "misspelt", "store": "untouched"}]})
        run = project.snakemake("--", "variants")
        assert run.status != 0
        assert "a rule of tensors (name: misspelt, type: *, store: untouched) fits no tensor" in run.text

    def test_what_the_deployment_target_can_not_run_is_refused_before_any_job(self, project):
        project.configure(digits={**NAMED, "deployment_target": "iOS17"})
        run = project.snakemake("-n")
        assert run.status != 0
        assert "kmeans_4_group16 needs iOS 18, macOS 15, but deployment_target is iOS 17, macOS 14" in run.text
        path = "results/digits/variants/digits_kmeans_4_group8.mlpackage.zip"
        project.configure(digits={**NAMED, "schemes": ["linear_8"], "deployment_target": "iOS17"})
        run = project.snakemake("-n", "--", path)
        assert "models.digits: kmeans_4_group8 needs iOS 18" in run.text


def test_three_lines_give_all_modes_and_bits(project):
    project.configure(mine={"original": "models_original/tiny.mlmodel"})
    run = project.snakemake("-n", "--", "variants")
    assert run.status == 0, run.text
    kind = next(iter(SCHEMES))
    wanted = sum(len(bits) for mode, bits in SCHEMES[kind].items() if mode not in ("custom_lut", "unique"))
    assert run.jobs["quantize"] == wanted


def test_rules_are_listed_with_what_they_do(project):
    listed = project.snakemake("--list").text
    assert "Quantize the float model by one scheme" in listed
