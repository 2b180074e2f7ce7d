"""A Slurm cluster of two nodes, and small projects that run on it; without Slurm and its plugin, all is skipped."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.cluster import slurm
from tests.workflow.project import REPOSITORY, Project, Run

PROFILE = REPOSITORY / "profiles" / "slurm"
# What the profile leaves to the user, and shorter waits than those that spare a real cluster.
OPTIONS = (
    "--workflow-profile", str(PROFILE), "--default-resources", "slurm_partition=tests", "--latency-wait", "10",
    "--slurm-init-seconds-before-status-checks", "2",
)  # fmt: skip


class Cluster:
    """A running cluster."""

    def __init__(self, folder):
        self.folder = folder

    def command(self, project, *arguments):
        return project.command(*OPTIONS, *arguments)

    def environment(self):
        environment = slurm.environment(self.folder)
        return environment | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"}

    def begin(self, project, *arguments):
        """Start a run, and return its process."""
        return subprocess.Popen(
            self.command(project, *arguments), env=self.environment(), cwd=project.folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def snakemake(self, project, *arguments):
        process = self.begin(project, *arguments)
        text, _ = process.communicate(timeout=3600)
        return Run(process.returncode, text)

    def jobs(self):
        """Return what Slurm knows of all jobs, by their number: a table of words each."""
        text = slurm.run(self.folder, "scontrol", "--oneliner", "show", "job")
        tables = [dict(re.findall(r"(\w+)=(\S*)", line)) for line in text.splitlines() if line.startswith("JobId=")]
        return {int(table["JobId"]): table for table in tables}


@pytest.fixture(scope="session")
def cluster():
    if missing := slurm.missing():
        pytest.skip(f"needs Slurm, here is no {missing[0]}: make test-cluster")
    if not importlib.util.find_spec("snakemake_executor_plugin_slurm"):
        pytest.skip("needs snakemake-executor-plugin-slurm: make test-cluster")
    root = Path(tempfile.mkdtemp(prefix="slurm-"))
    try:
        slurm.start(root / "cluster")
        yield Cluster(root / "cluster")
    finally:
        slurm.stop(root / "cluster")
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def project(tmp_path):
    project = Project(tmp_path)
    project.add_network()
    return project
