"""An S3-compatible server on this machine, with a bucket."""

import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import pytest

BUCKET = "models"


def require_server():
    for module in ("snakemake_storage_plugin_s3", "moto", "boto3", "flask"):
        if not importlib.util.find_spec(module):
            pytest.skip(
                f"needs {module}: pip install 'moto[server]' snakemake-storage-plugin-s3", allow_module_level=True
            )


@contextmanager
def serving():
    """Start a server with a bucket; give its address, and the environment in which Snakemake finds it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(150):
            try:
                urllib.request.urlopen(address, timeout=1)
                break
            except OSError:
                time.sleep(0.2)
        client(address).create_bucket(Bucket=BUCKET)
        settings = {"ENDPOINT_URL": address, "ACCESS_KEY": "key", "SECRET_KEY": "secret"}
        yield address, {f"SNAKEMAKE_STORAGE_S3_{name}": value for name, value in settings.items()}
    finally:
        process.kill()
        process.wait()


def client(address):
    import boto3

    return boto3.client(
        "s3", endpoint_url=address, aws_access_key_id="key", aws_secret_access_key="secret", region_name="us-east-1"
    )


def upload(address, folder, prefix):
    """Copy a folder into the bucket, under its name below a prefix."""
    for path in folder.rglob("*"):
        if path.is_file():
            client(address).upload_file(str(path), BUCKET, f"{prefix}/{path.relative_to(folder.parent).as_posix()}")


def objects(address, prefix):
    """Return the bytes of all objects below a prefix, by the rest of their names."""
    pages = client(address).get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{prefix}/")
    names = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
    get = client(address).get_object
    return {os.path.relpath(name, prefix): get(Bucket=BUCKET, Key=name)["Body"].read() for name in names}
