"""The profile for Kubernetes, on a stand-in for its API: what pods ask for, and that they need nothing else of here."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from requant.resources import disk_mb, memory_mb
from tests.cluster.kubernetes_api import cluster, image
from tests.workflow.object_storage import BUCKET, objects, require_server, serving, upload
from tests.workflow.project import REPOSITORY, Project

require_server()
if not importlib.util.find_spec("snakemake_executor_plugin_kubernetes"):
    pytest.skip("needs snakemake-executor-plugin-kubernetes: make test-cluster", allow_module_level=True)

SOURCES = ("Snakefile", "workflow", "scripts", "profiles", "requirements")
TARGET = "results/digits/evaluation/digits_kmeans_4.json"
ENTRY = {"original": "models_original/digits.mlpackage", "schemes": ["kmeans_4"]}


def checkout(folder):
    """Return a project that is a checkout of the workflow, for pods are given what version control has."""
    project = Project(folder)
    project.add_program()
    project.configure(digits=ENTRY)
    for name in SOURCES:
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        copy(REPOSITORY / name, folder / name)
    return project


def made_locally(folder):
    folder.mkdir()
    project = checkout(folder)
    run = project.snakemake("--", TARGET)
    assert run.status == 0, run.text
    results = folder / "results"
    return {path.relative_to(results).as_posix(): path.read_bytes() for path in results.rglob("*") if path.is_file()}


def test_pods_make_the_same_bytes_from_the_storage_alone(tmp_path):
    (tmp_path / "project").mkdir()
    project = checkout(tmp_path / "project")
    expected = made_locally(tmp_path / "local")
    command = [
        sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/kubernetes", "--container-image",
        "example.org/requant:1", "--default-storage-prefix", f"s3://{BUCKET}/project",
        "--seconds-between-status-checks", "1",
    ]  # fmt: skip
    with (
        serving() as (address, settings),
        cluster(image(tmp_path, Path(sys.executable)), tmp_path) as (state, kubeconfig),
    ):
        upload(address, project.folder / "models_original", "project")
        shutil.rmtree(project.folder / "models_original")
        for action in ("init --quiet", "add --all"):
            subprocess.run(["git", *action.split()], cwd=project.folder, check=True)
        environment = {**os.environ, **settings, "KUBECONFIG": str(kubeconfig)}

        def snakemake(*arguments):
            whole = [*command, *arguments, "--", TARGET]
            return subprocess.run(
                whole, cwd=project.folder, env=environment, capture_output=True, text=True, check=False
            )

        run = snakemake()
        logs = [state.log(name) for name in state.jobs]
        assert run.returncode == 0, run.stdout + run.stderr + "".join(logs)
        assert objects(address, "project/results") == expected
        assert "Nothing to be done" in snakemake("-n").stdout
    asked = [job["spec"]["template"]["spec"]["containers"][0] for job in state.jobs.values()]
    assert {container["image"] for container in asked} == {"example.org/requant:1"}
    quantize = next(container for container in asked if "quantize:model=digits" in container["args"][1])
    assert quantize["resources"]["limits"]["memory"] == f"{memory_mb('quantize', 1)}M"
    assert quantize["resources"]["requests"]["ephemeral-storage"] == f"{disk_mb('quantize', 1)}M"
    assert "secret" not in " ".join(quantize["args"])
    assert not (project.folder / "results").exists()
