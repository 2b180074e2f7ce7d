"""Which layers hurt, measured in the real workflow: told early, shared among jobs, and taken up again."""

import pandas as pd
import pytest

from tests.workflow.project import Project

TINY = {"original": "models_original/tiny.mlmodel", "data": "pictures", "modes": {"linear": [8]}}
WANTED = {"families": ["kmeans"], "bits": [4, 1], "parts": 2}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("project"))
    project.add_network()
    project.configure(tiny={**TINY, "sensitivity": WANTED})
    return project


@pytest.fixture(scope="module")
def first_run(project):
    run = project.snakemake("sensitivity")
    assert run.status == 0, run.text
    return run


def sensitivity_jobs(run):
    return {rule: count for rule, count in run.jobs.items() if rule.endswith("_sensitivity")}


@pytest.mark.usefixtures("first_run")
class TestSensitivity:
    def test_its_jobs_make_no_variants(self, first_run):
        assert sensitivity_jobs(first_run) == {
            "measure_sensitivity": 2, "gather_sensitivity": 1, "draw_sensitivity": 1,
        }  # fmt: skip
        assert "quantize" not in first_run.jobs

    def test_the_table_has_every_tensor_in_every_bit_width(self, project):
        table = pd.read_csv(project.folder / "results/tiny/sensitivity/kmeans.tsv", sep="\t")
        assert [*zip(table["tensor"], table["bits"], strict=True)] == [
            (f"conv{layer}.weights", bits) for layer in range(3) for bits in (4, 1)
        ]
        assert table["psnr_db"].between(5, 80).all()
        assert (project.folder / "results/tiny/sensitivity/kmeans.svg").read_text().lstrip().startswith("<?xml")

    def test_the_log_tells_how_far_it_is(self, project):
        log = (project.folder / "results/tiny/logs/sensitivity_kmeans_1.log").read_text()
        assert "tensor 2 of 2: conv2.weights" in log
        assert "conv2.weights alone in kmeans_1: PSNR" in log

    def test_a_second_run_has_nothing_to_do(self, project):
        assert not sensitivity_jobs(project.snakemake("-n", "sensitivity"))

    def test_only_the_part_that_is_missing_is_measured_again(self, project):
        folder = project.folder / "results/tiny/sensitivity"
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        (folder / "kmeans/part_2.json").unlink()
        (folder / "kmeans.tsv").unlink()
        (folder / "kmeans.svg").unlink()  # as after a run that was killed
        run = project.snakemake("sensitivity")
        assert run.status == 0, run.text
        assert sensitivity_jobs(run) == {"measure_sensitivity": 1, "gather_sensitivity": 1, "draw_sensitivity": 1}
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before

    def test_what_is_configured_is_a_part_of_all(self, project):
        (project.folder / "results/tiny/sensitivity/kmeans.svg").unlink()
        run = project.snakemake("-n")
        assert sensitivity_jobs(run) == {"draw_sensitivity": 1}
        assert run.jobs["page"] == 1

    def test_any_family_is_made_by_its_name(self, project):
        run = project.snakemake("-n", "results/tiny/sensitivity/linear.svg")
        assert sensitivity_jobs(run) == {"measure_sensitivity": 2, "gather_sensitivity": 1, "draw_sensitivity": 1}


@pytest.fixture
def both(tmp_path):
    project = Project(tmp_path)
    project.add_network()
    project.add_program()
    return project


def told(project, target=(), **wanted):
    models = {
        name: {"original": f"models_original/{name}.{suffix}", "modes": {"linear": [8]}, **more}
        for name, suffix, more in (("tiny", "mlmodel", {}), ("digits", "mlpackage", wanted))
    }
    project.configure(**models)
    run = project.snakemake("-n", *target)
    assert run.status != 0
    assert "Traceback (most recent call last)" not in run.text
    assert not run.jobs
    return run.text


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"families": ["kmeens"]}, "models.digits: sensitivity: 'kmeens' is not a family of schemes"),
        ({"families": ["kmeans_4"]}, "'kmeans_4' is not a family of schemes"),
        ({"families": ["kmeans"], "bits": [8, 5]}, "a model of kind ML Program has no kmeans at 5 bits. It has 8, 6"),
        ({"families": ["kmeans"], "bits": [16]}, "models.digits.sensitivity.bits.0: 16 is not one of"),
        ({"families": ["kmeans_vector3"]}, "a vector has 2 or 4 numbers"),
        ({"families": ["custom_lut"]}, "the mode custom_lut wants a function of yours"),
        ({"families": []}, "models.digits.sensitivity.families"),
        ({"bits": [4]}, "the key 'families' is missing"),
        ({"families": ["kmeans"], "samples": 0}, "models.digits.sensitivity.samples"),
        ({"families": ["kmeans"], "jobs": 2}, "unknown key 'jobs'; known are families, bits, samples, parts"),
    ],
)
def test_what_is_wrong_is_told_before_any_job(both, wanted, message):
    assert message in told(both, sensitivity=wanted)


def test_a_target_that_can_not_run_it_is_told(both):
    wanted = {"families": ["kmeans"], "bits": [3]}
    assert "kmeans_3 needs iOS 18" in told(both, sensitivity=wanted, deployment_target="iOS16")


def test_a_family_that_the_kind_of_model_can_not_store_is_told(both):
    text = told(both, ["results/tiny/sensitivity/linear_block32.svg"])
    assert "models.tiny: sensitivity: a model of kind NeuralNetwork can't store linear_8_block32" in text
    assert "there is no part 5" in told(both, ["results/tiny/sensitivity/kmeans/part_5.json"])


def test_a_run_of_nothing_is_told(both):
    assert "no model of the configuration has the key sensitivity" in told(both, ["sensitivity"])


def test_without_bits_all_that_run_on_the_target_are_measured(both):
    both.configure(
        digits={
            "original": "models_original/digits.mlpackage",
            "modes": {"linear": [8]},
            "deployment_target": "iOS16",
            "sensitivity": {"families": ["kmeans"], "parts": 1},
        }
    )
    run = both.snakemake("results/digits/sensitivity/kmeans.tsv")
    assert run.status == 0, run.text
    table = pd.read_csv(both.folder / "results/digits/sensitivity/kmeans.tsv", sep="\t")
    assert list(table["bits"].unique()) == [8, 6, 4, 2, 1]
    assert table["synthetic"].all()
    assert (table["kl_divergence"] > 0).all()
