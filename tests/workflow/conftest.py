import pytest

from tests.workflow.object_storage import serving
from tests.workflow.project import Project


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


@pytest.fixture
def server(monkeypatch):
    """The address of an S3-compatible server, which Snakemake finds by the environment."""
    with serving() as (address, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield address
