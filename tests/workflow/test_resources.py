"""Every job says what memory, disk and time it takes, so that a cluster can place it."""

import re

import pytest

from tests.workflow.project import REPOSITORY

PLANNED = re.compile(r"^(?:local)?rule (\w+):\n(?:    .*\n)*?    resources: (.*)$", re.MULTILINE)


def planned(project):
    """Return the resources of all jobs that a dry run plans, by rule."""
    run = project.snakemake("-n", "--quiet", "progress")
    assert run.status == 0, run.text
    return PLANNED.findall(run.text)


@pytest.fixture
def configured(project):
    project.add_both_kinds()
    return project


def test_every_job_of_a_new_project_says_what_it_takes_before_its_inputs_are_there(configured):
    jobs = planned(configured)
    assert {"verify", "convert", "quantize", "predict", "evaluate", "prove_raised", "page"} <= {
        rule for rule, _ in jobs
    }
    for rule, resources in jobs:
        if rule != "all":
            assert all(re.search(rf"\b{name}=\d+", resources) for name in ("mem_mb", "disk_mb", "runtime")), rule


def test_a_larger_original_takes_more(project):
    project.add_network()
    weights = project.folder / "models_original" / "large.onnx"
    with weights.open("wb") as stream:  # nothing looks into it before it is converted
        stream.truncate(500_000_000)
    (project.folder / "models_original" / "SHA256SUMS").open("a").write(f"{'0' * 64}  large.onnx\n")
    sizes = {}
    for name, original in {"tiny": "tiny.mlmodel", "large": "large.onnx"}.items():
        project.configure(**{name: {"original": f"models_original/{original}", "schemes": ["kmeans_4"]}})
        for rule, resources in planned(project):
            sizes.setdefault(rule, []).extend(map(int, re.findall(r"\bmem_mb=(\d+)", resources)))
    assert sizes["convert"][-1] >= 6 * 500
    assert sizes["predict"][-1] >= 6 * 500 > sizes["predict"][0]


def test_no_rule_with_a_log_is_without_resources():
    files = [REPOSITORY / "Snakefile", *(REPOSITORY / "workflow" / "rules").glob("*.smk")]
    rules = [rule for path in files for rule in re.split(r"^\s*rule ", path.read_text(), flags=re.MULTILINE)[1:]]
    logged = [rule for rule in rules if "    log:\n" in rule]
    assert len(logged) > 15
    assert [rule.split(":")[0] for rule in logged if not re.search(r"resources:\n +\*\*needs\(", rule)] == []
