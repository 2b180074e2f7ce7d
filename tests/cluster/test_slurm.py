"""The workflow through Slurm: jobs ask for what they take, give the same bytes, and outlive nodes and limits."""

import os
import shutil
import time

import pytest

from requant.resources import memory_mb, runtime
from tests.cluster import slurm
from tests.workflow.project import REPOSITORY, Project

VARIANT = "results/tiny/variants/tiny_custom_lut_4.mlmodel"
# It holds memory for as long as Slurm needs to see it.
FUNCTION = """\
import time
import numpy as np

def table(bits, weights):
    held = np.ones({megabytes} * 1_000_000 // 8)
    time.sleep({seconds})
    entries = np.linspace(weights.min(), weights.max(), 1 << bits).astype(np.float32) * np.float32(held[0])
    return entries, np.abs(weights[..., None] - entries).argmin(-1).astype(np.uint8)
"""


def configure(project, function="", **more):
    custom = {}
    if function:
        (project.folder / "config" / "tables.py").write_text(function)
        custom = {"custom_lut": "config/tables.py:table"}
    entry = {"original": "models_original/tiny.mlmodel", "data": "pictures", **custom, **more}
    project.configure(tiny=entry)


def files_of(project):
    results = project.folder / "results"
    files = [
        path for path in results.rglob("*") if path.is_file() and path.suffix != ".log"
    ]  # which say how long it took
    return {path.relative_to(results).as_posix(): path.read_bytes() for path in files if path.stem != "run"}


def logs_of(project):
    return {path.relative_to(project.folder).as_posix() for path in project.folder.glob("results/**/*.log")}


def test_results_and_logs_are_those_of_a_local_run_and_jobs_ask_for_what_they_take(cluster, project, tmp_path):
    configure(project, schemes=["kmeans_4"])
    target = "results/tiny/summary.tsv"
    before = set(cluster.jobs())
    run = cluster.snakemake(project, "--", target)
    assert run.status == 0, run.text
    asked = {table["Comment"]: table for number, table in cluster.jobs().items() if number not in before}
    assert len(asked) == 9
    quantize = asked["rule_quantize_wildcards_tiny_kmeans_4_mlmodel"]
    assert quantize["MinMemoryNode"] in (
        f"{memory_mb('quantize_network', 0.1)}M",
        f"{memory_mb('quantize_network', 0.1) / 1024:g}G",
    )
    assert quantize["TimeLimit"] == f"00:{runtime('quantize_network', 0.1):02}:00"
    (tmp_path / "local").mkdir()
    local = Project(tmp_path / "local")
    local.add_network()
    configure(local, schemes=["kmeans_4"])
    assert local.snakemake("--", target).status == 0
    assert files_of(project) == files_of(local)
    assert logs_of(project) == logs_of(local)


def test_a_job_that_needs_more_memory_than_estimated_gets_it(cluster, project):
    configure(
        project,
        FUNCTION.format(megabytes=500 + memory_mb("quantize_network", 0.1), seconds=4),
        schemes=["custom_lut_4"],
    )
    run = cluster.snakemake(project, "--", VARIANT)
    assert run.status == 0, run.text
    assert "Trying to restart" in run.text
    assert (project.folder / VARIANT).exists()


def test_a_job_that_needs_too_much_memory_once_more_is_reported(cluster, project):
    configure(
        project,
        FUNCTION.format(megabytes=500 + memory_mb("quantize_network", 0.1), seconds=4),
        schemes=["custom_lut_4"],
    )
    run = cluster.snakemake(project, "--retries", "0", "--", VARIANT)
    assert run.status == 1
    assert "Error in rule quantize" in run.text
    assert "It was ended by the cluster. It took more memory than it asked for" in run.text
    assert not (project.folder / VARIANT).exists()


def test_a_run_ends_well_when_a_node_dies_under_a_job(cluster, project, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(cache))
    configure(project, FUNCTION.format(megabytes=1, seconds=5), schemes=["custom_lut_4"])
    process = cluster.begin(project, "--cache", "convert", "quantize", "--", VARIANT)

    def node_of_job():
        jobs = cluster.jobs().values()
        running = [job for job in jobs if job["JobState"] == "RUNNING" and "_quantize_" in job["Comment"]]
        return running[0]["NodeList"] if running else None

    slurm.wait_for(node_of_job, "a running job", seconds=300)
    node = node_of_job()
    time.sleep(3)
    slurm.kill_node(cluster.folder, node)
    try:
        text, _ = process.communicate(timeout=400)
        assert slurm.states(cluster.folder)[node] in ("down", "down*")
    finally:
        slurm.start_node(cluster.folder, node)
        slurm.wait_for(lambda: slurm.states(cluster.folder)[node] == "idle", f"{node} to come back")
    assert process.returncode == 0, text
    assert (project.folder / VARIANT).exists()
    assert len(list(cache.iterdir())) >= 4  # model and audit of both rules


@pytest.mark.skipif(os.environ.get("REQUANT_TEST_CLUSTER") != "demo", reason="takes long: make test-cluster")
def test_the_demo_gives_the_same_bytes_through_slurm(cluster, tmp_path):
    """With groups, as docs/clusters.md advises for many short jobs."""
    folders = [tmp_path / name for name in ("slurm", "local")]
    for folder in folders:
        for name in ("config", "models_original"):
            shutil.copytree(REPOSITORY / name, folder / name)
    rules = ("quantize", "predict", "evaluate")
    groups = [
        "--groups",
        *(f"{rule}={rule}" for rule in rules),
        "--group-components",
        *(f"{rule}=20" for rule in rules),
    ]
    demo, local = (Demo(folder) for folder in folders)
    run = cluster.snakemake(demo, "--cores", "2", *groups)
    assert run.status == 0, run.text
    run = local.snakemake()
    assert run.status == 0, run.text
    assert files_of(demo) == files_of(local)


class Demo(Project):
    """The shipped models and configuration, in a folder of their own."""

    def __init__(self, folder):
        self.folder = folder
