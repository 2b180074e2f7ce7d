"""The cache between checkouts: what is made once is not made again elsewhere, and nothing is taken for another."""

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from requant.caching import require_usable
from requant.errors import RequantError
from tests.workflow.project import REPOSITORY, Project
from tests.workflow.test_sources import add_onnx

CACHED = ("--cache", "convert", "quantize", "--", "variants")
FUNCTION = """
import numpy as np

def extremes(bits, weights):
    table = np.linspace(weights.min(), weights.max(), 1 << bits)
    return table, np.abs(weights[..., None] - table).argmin(-1)
"""
BESIDE = """
import numpy as np
from spread import extent

def extremes(bits, weights):
    table = np.linspace(*extent(weights), 1 << bits)
    return table, np.abs(weights[..., None] - table).argmin(-1)
"""
SPREAD = "def extent(weights):\n    return weights.min(), weights.max()\n"
DIGITS = {"original": "models_original/digits.mlpackage", "modes": {"kmeans": [3]}}


def network(name, **more):
    return {"original": f"models_original/{name}.mlmodel", "modes": {"kmeans": [4], "linear": [4]}} | more


def custom(name, file):
    return network(name, custom_lut=f"{file}:extremes", modes={"custom_lut": [3]})


def a_project(folder, spread=SPREAD, table=FUNCTION, seed=0):
    """Return a project of all kinds of models, in which each thing that a variant hangs on is one model's own."""
    folder.mkdir(parents=True)
    project = Project(folder)
    for name in ("bits", "mode", "rule", "table", "beside"):
        project.add_network(name)
    project.add_network("bytes", seed=seed)
    project.add_program()
    (folder / "mine.py").write_text(table)
    (folder / "other.py").write_text(BESIDE)
    (folder / "spread.py").write_text(spread)
    onnx = add_onnx(project)
    project.models = {
        "bits": network("bits"),
        "mode": network("mode", modes={"linear": [3]}),
        "rule": network("rule"),
        "table": custom("table", "mine.py"),
        "beside": custom("beside", "other.py"),
        "bytes": network("bytes"),
        "digits": DIGITS,
        "net": onnx,
    }
    return project


def made(run):
    """Return the float models and variants that a run made itself, and gave to the cache."""
    files = re.findall(r"Moving output file (\S+) to cache", run.text)
    return {Path(file).name for file in files if not file.endswith(".json")}


def contents(project):
    """Return the bytes of all float models, variants and audits by their path."""
    results = project.folder / "results"
    files = [*results.glob("*/float/*"), *results.glob("*/variants/*")]
    return {str(file.relative_to(results)): file.read_bytes() for file in files if file.is_file()}


def run(project, *options):
    done = project.snakemake(*options)
    assert done.status == 0, done.text
    return done


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def first(tmp_path_factory, cache):
    project = a_project(tmp_path_factory.mktemp("one") / "checkout")
    project.configure(**project.models)
    assert len(made(run(project, *CACHED))) == len(contents(project)) / 2
    return project


@pytest.fixture(scope="module")
def second(tmp_path_factory, first):
    project = a_project(tmp_path_factory.mktemp("another") / "place" / "of_a_colleague")
    project.configure(**project.models)
    assert made(run(project, *CACHED)) == set()
    return project


class TestTwoCheckouts:
    def test_the_second_makes_nothing_and_has_the_same_bytes(self, first, second):
        assert contents(second) == contents(first)

    def test_the_cache_changes_no_bytes(self, first, tmp_path):
        project = a_project(tmp_path / "without")
        project.configure(**project.models)
        run(project, "--", "variants")
        assert contents(project) == contents(first)

    def test_a_second_run_has_nothing_to_do_with_the_cache_or_without(self, second):
        assert run(second, "-n", *CACHED).jobs == {}
        assert run(second, "-n", "--", "variants").jobs == {}

    def test_what_comes_from_the_cache_is_judged_and_laid_out(self, second):
        run(second, "--", "results/digits/variants/digits_kmeans_3.mlpackage", "results/digits/summary.tsv")
        package = second.folder / "results/digits/variants/digits_kmeans_3.mlpackage"
        assert not any(path.is_symlink() for path in [package, *package.rglob("*")])

    def test_a_result_that_is_made_again_leaves_the_cache_as_it_was(self, second, cache):
        before = {path.name: path.read_bytes() for path in cache.iterdir()}
        run(second, "--force", "--", "results/bits/variants/bits_kmeans_4.mlmodel")
        assert not (second.folder / "results/bits/variants/bits_kmeans_4.mlmodel").is_symlink()
        assert {path.name: path.read_bytes() for path in cache.iterdir()} == before


def test_what_differs_in_one_thing_is_never_taken_for_another(first, tmp_path):
    """Each model differs from the first checkout's of the same name in one thing, that of its name."""
    other = {
        "spread": "def extent(weights):\n    return -1, 1\n",
        "table": FUNCTION.replace("weights.max()", "2 * weights.max()"),
        "seed": 5,
    }
    projects = [a_project(tmp_path / name, **other) for name in ("cached", "uncached")]
    for project in projects:
        models = project.models
        models["bits"]["modes"] = {"kmeans": [3], "linear": [3]}
        models["mode"]["modes"] = {"linear_lut": [3]}
        models["rule"]["tensors"] = [{"name": "conv1*", "store": "untouched"}]
        models["net"]["conversion"] = {"compute_precision": "float32"}
        models["renamed"] = models.pop("digits")
        project.configure(**models)
    run(projects[0], *CACHED)
    run(projects[1], "--", "variants")
    assert contents(projects[0]) == contents(projects[1])
    before, after = contents(first), contents(projects[0])
    same = {name for name in before.keys() & after.keys() if before[name] == after[name]}
    untouched = ("bits", "mode", "rule", "table", "beside")  # whose float model is the same
    audits = {f"{name}/float/{name}.mlmodel.json" for name in (*untouched, "bytes")}
    assert same == audits | {f"{name}/float/{name}.mlmodel" for name in untouched}
    assert {name.split("/")[0] for name in after} == set(projects[0].models)


def test_other_code_takes_nothing_of_this_code(first, tmp_path, monkeypatch):
    shutil.copytree(REPOSITORY / "src", tmp_path / "src")
    with (tmp_path / "src/requant/quantize/linear.py").open("a") as stream:
        stream.write("\n# another rounding\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "src"))
    project = a_project(tmp_path / "checkout")
    project.configure(rule=project.models["rule"])
    assert made(run(project, *CACHED)) == {"rule_kmeans_4.mlmodel", "rule_linear_4.mlmodel"}


def test_a_cache_that_was_emptied_is_filled_again(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(cache))
    project = a_project(tmp_path / "checkout")
    project.configure(rule=project.models["rule"])
    run(project, *CACHED)
    before = contents(project)
    for path in cache.iterdir():
        path.unlink()
    assert contents(project) == {}  # all of it were links into the cache
    planned = run(project, "-n", *CACHED)
    assert "were links to files that are gone from a cache" in planned.text
    assert planned.jobs["quantize"] == 2
    assert made(run(project, *CACHED)) == {"rule.mlmodel", "rule_kmeans_4.mlmodel", "rule_linear_4.mlmodel"}
    assert contents(project) == before
    assert len(list(cache.iterdir())) == len(before)


@pytest.mark.parametrize(
    ("location", "message"),
    [
        (None, "set the variable SNAKEMAKE_OUTPUT_CACHE to its absolute path"),
        ("somewhere", "SNAKEMAKE_OUTPUT_CACHE is somewhere, a relative path"),
        ("/nowhere/at/all", "SNAKEMAKE_OUTPUT_CACHE is /nowhere/at/all, but there is no such folder"),
    ],
)
def test_a_cache_that_can_not_be_used_is_told_before_any_job(project, monkeypatch, location, message):
    monkeypatch.delenv("SNAKEMAKE_OUTPUT_CACHE", raising=False)
    if location:
        monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", location)
    project.add_network()
    project.configure(tiny=network("tiny", modes={"linear": [8]}))
    done = project.snakemake(*CACHED)
    assert done.status != 0
    assert message in done.text
    assert "Traceback" not in done.text
    assert not (project.folder / "results").exists()


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (["convert", "measure_sensitivity", "quantize"], "names the rule measure_sensitivity, which can't be shared"),
        ([], "names no rule. Write: --cache convert quantize"),
    ],
)
def test_other_rules_than_the_two_are_refused(tmp_path, rules, message):
    with pytest.raises(RequantError, match=re.escape(message)):
        require_usable(str(tmp_path), rules)
    require_usable(str(tmp_path), ["quantize", "convert"])


def test_what_a_cache_has_lost_is_made_again_by_a_run_of_everything(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(cache))
    project = a_project(tmp_path / "checkout")
    project.configure(rule=project.models["rule"])
    run(project, *CACHED[:3])
    before = contents(project)
    monkeypatch.delenv("SNAKEMAKE_OUTPUT_CACHE")
    shutil.rmtree(cache)
    done = run(project)
    assert done.jobs["quantize"] == 2
    assert "eligible for caching" not in done.text
    assert contents(project) == before


def test_two_runs_that_fill_the_cache_at_once_do_no_damage(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(cache))
    projects = [a_project(tmp_path / name) for name in ("one", "two")]
    started = []
    for project in projects:
        project.configure(rule=project.models["rule"], digits=DIGITS)
        started.append(subprocess.Popen(project.command(*CACHED), cwd=project.folder, stderr=subprocess.DEVNULL))
    assert [process.wait() for process in started] == [0, 0]
    assert contents(projects[0]) == contents(projects[1])


def files_imported(script):
    """Return the modules of this library that a script imports, itself or through others, found by reading."""
    package = REPOSITORY / "src/requant"
    found, todo = set(), [REPOSITORY / "scripts" / script]
    while todo:
        for node in ast.walk(ast.parse(todo.pop().read_text())):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("requant"):
                continue
            base = package.joinpath(*node.module.split(".")[1:])
            bases = [base, *(base / alias.name for alias in node.names)]
            files = [file for each in bases for file in (each.with_suffix(".py"), each / "__init__.py")]
            new = {file for file in files if file.is_file()} - found
            found |= new
            todo += new
    return {file.relative_to(package).as_posix() for file in found}


@pytest.mark.parametrize("rule", ["convert", "quantize"])
def test_all_code_that_a_cached_rule_runs_is_in_its_key(rule):
    text = (REPOSITORY / "workflow/rules/common.smk").read_text()
    parts = re.search(rf'"{rule}": fingerprint\((.*?)libraries=', text, re.DOTALL)[1]
    covered = ["records.py", "coreml", *re.findall(r'"([^"]+)"', parts)]
    # What has no influence on the bytes: messages, the log, the check of the original, which is a rule's of its own.
    free = (
        "errors.py",
        "progress.py",
        "single_run.py",
        "job.py",
        "run/",
        "originals",
        "frameworks.py",
        "caching.py",
        "warm.py",
        "__init__.py",
    )
    missing = [
        file for file in files_imported(f"{rule}.py")
        if not any(file == part or file.startswith(f"{part}/") for part in covered) and not file.startswith(free)
    ]  # fmt: skip
    assert missing == []
