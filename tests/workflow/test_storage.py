"""Originals and results on an S3-compatible server, by Snakemake's storage plugin."""

import shutil

import pytest

from tests.workflow.object_storage import BUCKET, client, objects, require_server, upload
from tests.workflow.project import Project

require_server()

PREFIX = "project"
OPTIONS = ("--default-storage-provider", "s3", "--default-storage-prefix", f"s3://{BUCKET}/{PREFIX}")
NET = f"{PREFIX}/models_original/tiny.mlmodel"


def prepared(folder):
    folder.mkdir()
    project = Project(folder)
    project.add_both_kinds()
    return project


@pytest.fixture
def project(server, tmp_path):
    """A project whose originals are nowhere but in the bucket."""
    project = prepared(tmp_path / "project")
    upload(server, project.folder / "models_original", PREFIX)
    shutil.rmtree(project.folder / "models_original")
    return project


def test_all_results_in_the_bucket_are_those_of_a_local_run(server, project, tmp_path):
    run = project.snakemake(*OPTIONS)
    assert run.status == 0, run.text
    assert not (project.folder / "results").exists()
    assert not (project.folder / "models_original").exists()
    local = prepared(tmp_path / "local")
    assert local.snakemake().status == 0
    results = local.folder / "results"
    expected = {
        path.relative_to(results).as_posix(): path.read_bytes() for path in results.rglob("*") if path.is_file()
    }
    assert objects(server, f"{PREFIX}/results") == expected
    assert "Nothing to be done" in project.snakemake(*OPTIONS).text
    # The folder for Xcode too.
    package = "results/digits/variants/digits_linear_4_block32.mlpackage"
    for place, options in ((project, OPTIONS), (local, ())):
        run = place.snakemake(*options, "--", package)
        assert run.status == 0, run.text
    expected = {
        path.relative_to(local.folder / package).as_posix(): path.read_bytes()
        for path in (local.folder / package).rglob("*")
        if path.is_file()
    }
    assert objects(server, f"{PREFIX}/{package}") == expected  # Snakemake's .snakemake_timestamp is in both


def test_an_original_that_is_changed_in_the_bucket_stops_the_run(server, project):
    target = "results/tiny/variants/tiny_kmeans_4.mlmodel"
    assert project.snakemake(*OPTIONS, "--", target).status == 0
    before = objects(server, f"{PREFIX}/results/tiny/variants")
    client(server).put_object(Bucket=BUCKET, Key=NET, Body=b"something else")
    run = project.snakemake(*OPTIONS, "--", target)
    assert run.status == 1
    assert "tiny.mlmodel has changed since it was locked" in run.text
    assert objects(server, f"{PREFIX}/results/tiny/variants") == before


def test_an_original_that_is_wrong_or_missing_from_the_start_stops_the_run_before_any_job(server, project):
    client(server).put_object(Bucket=BUCKET, Key=NET, Body=b"something else")
    run = project.snakemake(*OPTIONS)
    assert run.status == 1
    assert "models_original/tiny.mlmodel has changed since it was locked" in run.text
    client(server).delete_object(Bucket=BUCKET, Key=NET)
    run = project.snakemake(*OPTIONS)
    assert run.status == 1
    assert "models_original/tiny.mlmodel is not in the storage" in run.text
    assert objects(server, f"{PREFIX}/results") == {}
