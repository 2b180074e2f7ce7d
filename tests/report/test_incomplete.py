"""The page of a run in which something failed."""

import json

import pytest

from requant.report.incomplete import Expected, write_incomplete_page
from requant.report.page import SectionFiles
from requant.report.summary import summarize, write_summary
from requant.run.jobs import Job, State
from tests.report.test_report import evaluation

FLOAT = evaluation("float", 8_000_000, psnr_db=None)
GOOD = evaluation("kmeans_4", 1_000_000, psnr_db=42.0)
BETTER = evaluation("kmeans_8", 2_000_000, psnr_db=55.0)
WHY = "none of <b>it</b> takes kmeans_2"


def expected(folder, name, *evaluations, variants, judged=True):
    """Return what there would be of a model, with these evaluations in their files."""
    own = folder / name
    own.mkdir()
    paths = {variant: own / f"{name}_{variant}.json" for variant in ("float", *variants)}
    for each in evaluations:
        paths[each["scheme"]].write_text(json.dumps(each))
    (own / "original.json").write_text(json.dumps({"original": f"{name}.mlmodel", "bytes": 8_000_000, "sha256": {}}))
    files = SectionFiles(own / "original.json", own / "summary.tsv", own / "judgement.json")
    if judged:
        write_summary(summarize(name, evaluations, {"min_psnr": 40}), files.table, files.judgement)
    return Expected(files, paths, {"min_psnr": 40}, "")


@pytest.fixture
def write(tmp_path):
    """Return a function that writes the page; what is not `outdated` is settled."""

    def write(models, outdated=(), *failed):
        page = tmp_path / "report" / "index.html"
        settled = {path.as_posix() for path in tmp_path.rglob("*") if path not in outdated}
        write_incomplete_page(models, settled, failed, page)
        return page.read_text()

    return write


def failure(model, scheme):
    return Job(1, "quantize", {"model": model, "scheme": scheme}, (), State.FAILED, 1.0, ("results/q.log",), WHY)


def test_finished_models_are_whole_and_failures_are_told_first(tmp_path, write):
    models = {
        "whole": expected(tmp_path, "whole", FLOAT, GOOD, variants=["kmeans_4"]),
        "broken": expected(tmp_path, "broken", variants=["kmeans_2"], judged=False),
    }
    page = write(models, (), failure("broken", "kmeans_2"))
    assert page.index("What failed") < page.index('id="whole"')
    assert "<h3>broken: quantize kmeans_2</h3>" in page
    assert "none of &lt;b&gt;it&lt;/b&gt; takes kmeans_2" in page
    assert "results/q.log" in page
    assert "Nothing can be shown yet of broken." in page
    assert 'id="broken"' not in page
    assert "Ship kmeans_4" in page
    assert page.count("ship this") == 1


def test_a_model_of_which_variants_are_missing_is_shown_without_advice(tmp_path, write):
    models = {"m": expected(tmp_path, "m", FLOAT, GOOD, BETTER, variants=["kmeans_8", "kmeans_4", "kmeans_2"])}
    files = models["m"].files
    page = write(models, (files.table, files.judgement), failure("m", "kmeans_2"))
    assert "Incomplete: 2 of 3 variants are there, kmeans_2 is missing. So nothing is recommended yet." in page
    assert ">kmeans_8</a>" in page
    assert ">kmeans_4</a>" in page
    assert "Ship" not in page  # the judgement that is there is of an older run
    assert "ship this" not in page
    assert "To make just the file to ship again" not in page


def test_an_evaluation_of_an_older_run_is_not_shown(tmp_path, write):
    models = {"m": expected(tmp_path, "m", FLOAT, GOOD, BETTER, variants=["kmeans_8", "kmeans_4"])}
    outdated = (models["m"].files.table, models["m"].evaluations["kmeans_4"])
    page = write(models, outdated, failure("m", "kmeans_4"))
    assert "1 of 2 variants are there, kmeans_4 is missing" in page
    assert ">kmeans_4</a>" not in page


def test_without_the_float_model_there_is_nothing_to_compare_with(tmp_path, write):
    models = {"m": expected(tmp_path, "m", GOOD, variants=["kmeans_4"], judged=False)}
    page = write(models, (), failure("m", "kmeans_2"))
    assert "Nothing can be shown yet of m." in page


def test_variants_that_could_not_be_judged_are_shown(tmp_path, write):
    models = {"m": expected(tmp_path, "m", FLOAT, GOOD, variants=["kmeans_4"])}
    page = write(models, (models["m"].files.judgement,), failure("m", "kmeans_4"))
    assert "they could not be judged" in page
    assert ">kmeans_4</a>" in page


def test_a_target_that_no_output_can_be_judged_by_leaves_the_message(tmp_path, write):
    models = {"m": expected(tmp_path, "m", FLOAT, GOOD, variants=["kmeans_4"], judged=False)}
    models["m"].targets.update({"min_accuracy": 0.9})
    assert "Nothing can be shown yet of m." in write(models, (), failure("m", "kmeans_4"))
