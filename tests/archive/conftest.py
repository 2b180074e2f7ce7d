import contextlib
import shutil
from pathlib import Path

import pytest

from requant.archive.store import Store
from tests.archive import archiving, releasing


@pytest.fixture(scope="session")
def network_release(tmp_path_factory):
    """Return the folder of a release of a NeuralNetwork, and its record."""
    folder = tmp_path_factory.mktemp("network")
    return folder, releasing.network_release(folder, tmp_path_factory.mktemp("originals"))


@pytest.fixture(scope="session")
def program_release(tmp_path_factory):
    """Return the folder of a release of an ML Program, without the workflow's files, and its record."""
    folder = tmp_path_factory.mktemp("program")
    return folder, releasing.program_release(folder)


@pytest.fixture(scope="session")
def finished_project(network_release, program_release, tmp_path_factory):
    """Return the folder of a project with two models and an archive of three releases; not to be changed."""
    folder = tmp_path_factory.mktemp("project")
    with contextlib.chdir(folder):
        for made, release in (network_release, program_release):
            archiving.lay_out_project(folder, made, release)
        store = Store(Path("archive"))
        archiving.archive(store, network_release[1], "1", ["linear_8"])
        archiving.archive(store, network_release[1], "2")
        archiving.archive(store, program_release[1], "1")
    return folder


@pytest.fixture
def project(finished_project, tmp_path, monkeypatch):
    """Go into a copy of the project, and return its folder."""
    folder = tmp_path / "project"
    shutil.copytree(finished_project, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def store(project):
    return Store(Path("archive"))
