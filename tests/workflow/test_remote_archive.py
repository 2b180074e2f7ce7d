"""Releases on an S3-compatible server, by Snakemake's storage plugin."""

from requant.archive.carrying import carry_in
from requant.archive.contents import entries
from requant.archive.store import Store
from requant.archive.verifying import verify_archive
from tests.workflow.object_storage import client, require_server
from tests.workflow.project import Project

require_server()


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
