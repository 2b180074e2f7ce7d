"""Releases on an S3-compatible server, by Snakemake's storage plugin."""

import importlib.util
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from requant.archive.carrying import carry_in
from requant.archive.contents import entries
from requant.archive.store import Store
from requant.archive.verifying import verify_archive
from tests.workflow.project import Project

for module in ("snakemake_storage_plugin_s3", "moto", "boto3", "flask"):
    if not importlib.util.find_spec(module):
        pytest.skip(f"needs {module}: pip install 'moto[server]' snakemake-storage-plugin-s3", allow_module_level=True)


@pytest.fixture
def server(monkeypatch):
    """Start a server with a bucket; return its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)])
    for name, value in {"ENDPOINT_URL": address, "ACCESS_KEY": "key", "SECRET_KEY": "secret"}.items():
        monkeypatch.setenv(f"SNAKEMAKE_STORAGE_S3_{name}", value)
    try:
        for _ in range(150):
            try:
                urllib.request.urlopen(address, timeout=1)
                break
            except OSError:
                time.sleep(0.2)
        client(address).create_bucket(Bucket="models")
        yield address
    finally:
        process.kill()
        process.wait()


def client(address):
    import boto3

    return boto3.client(
        "s3", endpoint_url=address, aws_access_key_id="key", aws_secret_access_key="secret", region_name="us-east-1"
    )


def test_releases_are_copied_to_a_bucket_and_come_back_from_there(server, tmp_path):
    project = Project(tmp_path)
    project.add_network()
    project.add_program()
    data = {"schemes": ["kmeans_4"]}
    project.configure(
        tiny={"original": "models_original/tiny.mlmodel", **data},
        digits={"original": "models_original/digits.mlpackage", **data},
    )
    remote = "--config", 'archive={"remote": "s3://models/releases"}'
    run = project.snakemake(*remote, "--", "archive")
    assert run.status == 0, run.text
    assert "Nothing to be done" in project.snakemake(*remote, "--", "archive").text
    second = Store(tmp_path / "second")
    for name in ("tiny", "digits"):
        client(server).download_file("models", f"releases/{name}/1.zip", str(tmp_path / "fetched.zip"))
        carry_in(second, tmp_path / "fetched.zip")
    assert sorted(map(str, entries(second))) == ["digits@1", "tiny@1"]
    assert verify_archive(second) == []
