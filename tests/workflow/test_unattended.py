"""Runs that nobody watches: one bad model costs itself alone, and what failed and why is written down."""

import json
import os
import re
import shutil
import signal
import subprocess
from importlib.util import find_spec

import pytest

from requant.coreml.model import load, to_bytes
from requant.originals import lock_original
from requant.quantize.scheme import Scheme
from requant.quantize.variant import quantize
from tests.workflow.project import REPOSITORY
from tests.workflow.test_single_run import FUNCTION, wait_for
from tests.workflow.test_sources import add_onnx

BROKEN = """
def table(bits, weights):
    return weights.nothing

def count(reference, outputs, targets):
    raise ValueError("I can't count")
"""
MENDED = """
import numpy as np

def table(bits, weights):
    table = np.linspace(weights.min(), weights.max(), 1 << bits)
    return table, np.abs(weights[..., None] - table).argmin(-1)

def count(reference, outputs, targets):
    return 1.0
"""


def entry(original="tiny", modes=None, **more):
    return {"original": f"models_original/{original}.mlmodel", "modes": modes or {"linear": [8]}, **more}


def add_bad_originals(project):
    path = project.add_network()
    quantized, damaged = path.with_name("small.mlmodel"), path.with_name("half.mlmodel")
    quantized.write_bytes(to_bytes(quantize(load(path), Scheme.of("kmeans", 4)), "small"))
    damaged.write_bytes(path.read_bytes()[:2000])
    for original in (quantized, damaged):
        lock_original(original)


def spoil_picture(project):
    shutil.copytree(project.folder / "pictures", project.folder / "more_pictures")
    (project.folder / "more_pictures/1.png").write_bytes(b"no picture")


def models_of(project):
    """Return models each of which has something wrong with it, but for the first."""
    add_bad_originals(project)
    spoil_picture(project)
    (project.folder / "mine.py").write_text(BROKEN)
    return {
        "healthy": entry(data="pictures"),
        "quantized": entry("small"),
        "damaged": entry("half"),
        "untaken": entry(weight_threshold=1_000_000),
        "own_table": entry(modes={"linear": [8], "custom_lut": [2]}, data="pictures", custom_lut="mine.py:table"),
        "own_metric": entry(data="pictures", metrics={"count": "mine.py:count"}),
        "spoilt_data": entry(data="more_pictures"),
        "poor_conversion": add_onnx(project) | {"modes": {"linear": [8]}, "conversion": {"min_snr": 200}},
    }


WHAT_FAILED = {  # the job by model, and a part of the message
    "quantized": ("convert", "small.mlmodel is quantized already"),
    "damaged": ("convert", "half.mlmodel is not a Core ML model, or it is damaged"),
    "untaken": ("quantize linear_8", "no tensor of"),
    "own_table": ("quantize custom_lut_2", "mine.py:table failed at 2 bits"),
    "own_metric": ("evaluate float, linear_8", "the metric count, mine.py:count, failed"),
    "spoilt_data": ("predict float, linear_8", "more_pictures/1.png can't be read"),
    "poor_conversion": ("check_conversion", "the conversion of models_original/net.onnx is not good enough"),
}


def results(project, name):
    return (project.folder / "results" / name).read_text()


def test_one_bad_model_costs_itself_alone_and_all_is_told(project):
    models = models_of(project)
    project.configure(**models)
    run = project.snakemake("--config", "notify=cat > told")
    assert run.status != 0

    # The record, and the text that is told to the command of the user's.
    record = json.loads(results(project, "run.json"))
    assert record["outcome"] == "failed"
    assert {f["model"]: f"{f['rule']} {', '.join(f['variants'])}".strip() for f in record["failures"]} == {
        model: what for model, (what, _) in WHAT_FAILED.items()
    }
    for failure in record["failures"]:
        assert WHAT_FAILED[failure["model"]][1] in failure["message"]
        for log in failure["logs"]:
            assert failure["message"].splitlines()[0].split("linear")[0] in (project.folder / log).read_text()
    assert record["models"]["healthy"]["recommended"] == "linear_8"
    assert {model for model, of in record["models"].items() if of.get("reason")} == {"healthy"}
    assert (project.folder / "told").read_text() == results(project, "run.txt")

    # The terminal: each message once while it runs, once in the end, with its log; nothing of Snakemake's own commands.
    assert "CalledProcessError" not in run.text
    while_running, at_the_end = run.text.split("What failed:")
    for model, (what, message) in WHAT_FAILED.items():
        assert f"  {model}: {what}: " in at_the_end
        times = 2 if "," in what else 1
        assert while_running.count(message) == times
        assert at_the_end.count(message) == 1
        logs = re.findall(rf"results/{model}/logs/\S+\.log", run.text)
        assert len(logs) == times + 1
        assert all((project.folder / log).exists() for log in logs)
    assert "Summary of this run: results/run.txt" in at_the_end

    # The page: what is finished, what there is of others, what failed.
    page = results(project, "report/index.html")
    assert "What failed" in page
    for model, (what, _) in WHAT_FAILED.items():
        assert f"<h3>{model}: {what}</h3>" in page
    assert re.findall(r'<section id="(\w+)"', page) == ["failed", "healthy", "untaken", "own_table"]
    assert "Incomplete: 1 of 2 variants are there, custom_lut_2 is missing" in page
    assert page.count("ship this") == 1

    # The command that prints the tables says that there is more to it.
    told = subprocess.run(["requant", "summary"], cwd=project.folder, capture_output=True, text=True, check=True).stdout
    assert "healthy: the best variant" in told
    assert "The last run failed (" in told
    assert "results/run.txt says why" in told

    # All that can be mended is: an ordinary page is made, once.
    (project.folder / "mine.py").write_text(MENDED)
    shutil.copy(project.folder / "pictures/0.png", project.folder / "more_pictures/1.png")
    del models["untaken"]["weight_threshold"], models["poor_conversion"]["conversion"]
    project.configure(**{name: model for name, model in models.items() if name not in ("quantized", "damaged")})
    run = project.snakemake()
    assert run.status == 0, run.text
    assert run.jobs["page"] == 1
    assert "What failed" not in results(project, "report/index.html")
    record = json.loads(results(project, "run.json"))
    assert (record["outcome"], record["failures"], record["page_is_complete"]) == ("succeeded", [], True)
    assert record["models"]["healthy"]["jobs"]["up to date"] == 12
    written = results(project, "run.txt")
    run = project.snakemake()
    assert (run.status, run.jobs) == (0, {})
    assert results(project, "run.txt") == written


def test_what_failed_is_not_forgotten_by_the_next_run_if_older_results_are_there(project):
    project.add_network()
    (project.folder / "mine.py").write_text(BROKEN)
    project.configure(tiny=entry(data="pictures"))
    assert project.snakemake().status == 0
    page = results(project, "report/index.html")
    project.configure(tiny=entry(data="pictures", metrics={"count": "mine.py:count"}))
    for _ in range(2):
        run = project.snakemake()
        assert run.status != 0
        assert run.jobs["evaluate"] == 2
        shown = results(project, "report/index.html")
        assert "What failed" in shown
        assert "Ship linear_8" not in shown
    project.configure(tiny=entry(data="pictures"))
    assert project.snakemake().status == 0
    assert results(project, "report/index.html") == page
    assert project.snakemake("-n").jobs == {}


@pytest.mark.parametrize(("sent", "outcome"), [(signal.SIGINT, "interrupted"), (signal.SIGKILL, "succeeded")])
def test_what_was_being_made_anew_when_a_run_was_ended_is_made_by_the_next(project, sent, outcome):
    project.add_network()
    (project.folder / "mine.py").write_text(FUNCTION)
    (project.folder / "go_on").touch()
    project.configure(tiny=entry(modes={"custom_lut": [3]}, custom_lut="mine.py:table"))
    target = "results/tiny/summary.tsv"
    assert project.snakemake("--", target).status == 0
    before = results(project, "tiny/summary.tsv")
    for file in ("go_on", "at_work"):
        (project.folder / file).unlink()
    (project.folder / "mine.py").write_text(FUNCTION.replace("weights.max()", "2 * weights.max()"))
    with (project.folder / "printed").open("w") as printed:
        process = subprocess.Popen(
            project.command("--", target), cwd=project.folder, stdout=printed, stderr=printed, start_new_session=True
        )
        wait_for(project.folder / "at_work")
        os.killpg(process.pid, sent)
        process.wait()
    assert json.loads(results(project, "run.json"))["outcome"] == outcome  # a killed run leaves the older summary
    assert "Traceback" not in (project.folder / "printed").read_text()
    (project.folder / "go_on").touch()
    run = project.snakemake("--", target)
    assert run.status == 0, run.text
    assert run.jobs["quantize"] == 1
    assert results(project, "tiny/summary.tsv") != before


def test_results_from_the_shared_cache_are_told_apart(project, monkeypatch):
    (project.folder / "cache").mkdir()
    monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(project.folder / "cache"))
    project.add_network()
    project.configure(tiny=entry())
    for state in ("built", "from the shared cache"):
        shutil.rmtree(project.folder / "results", ignore_errors=True)
        assert project.snakemake("--cache", "convert", "quantize", "--", "variants").status == 0
        model = json.loads(results(project, "run.json"))["models"]["tiny"]
        assert {"convert": 1, "quantize": 1}.items() <= model["rules"][state].items()
    assert model["jobs"] == {"built": 1, "from the shared cache": 2, "up to date": 0, "failed": 0, "not run": 0}


@pytest.mark.skipif(find_spec("torch") is not None, reason="PyTorch is installed")
def test_a_framework_that_is_missing_costs_its_model_alone(project):
    path = project.folder / "models_original/digits_pytorch.pt2"
    project.add_network()
    shutil.copy(REPOSITORY / "models_original/digits_pytorch.pt2", path)
    lock_original(path)
    original = {"original": "models_original/digits_pytorch.pt2", "modes": {"linear": [8]}}
    project.configure(tiny=entry(), other=original)
    run = project.snakemake("--", "variants")
    assert run.status != 0
    assert run.text.index("models.other will fail, the others go on") < run.text.index("Finished jobid")
    assert sorted(project.digests()) == ["tiny_linear_8.mlmodel", "tiny_linear_8.mlmodel.json"]
