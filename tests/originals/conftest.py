import pytest

from requant.originals import lock_original
from tests.originals.folders import write_package


@pytest.fixture
def folder(tmp_path):
    """A folder of originals with a file and a package, locked."""
    (tmp_path / "net.mlmodel").write_bytes(b"some model")
    write_package(tmp_path / "net.mlpackage")
    lock_original(tmp_path / "net.mlmodel")
    lock_original(tmp_path / "net.mlpackage")
    return tmp_path
