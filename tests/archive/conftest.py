import pytest

from tests.archive import releasing


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
