"""Two runs in one folder: the second stops at once, and what looks on is not kept from it."""

import os
import signal
import subprocess
import time

import pytest

VARIANT = "results/tiny/variants/tiny_custom_lut_3.mlmodel"
# Waits until the test lets it go on, so that its run is at work for as long as the test wants.
FUNCTION = """
import pathlib, time
import numpy as np

def table(bits, weights):
    pathlib.Path("at_work").touch()
    while not pathlib.Path("go_on").exists():
        time.sleep(0.05)
    table = np.linspace(weights.min(), weights.max(), 1 << bits)
    return table, np.abs(weights[..., None] - table).argmin(-1)
"""


def wait_for(path):
    deadline = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not come"
        time.sleep(0.05)


@pytest.fixture
def at_work(project):
    """A run that is in the middle of its work."""
    project.add_network()
    (project.folder / "mine.py").write_text(FUNCTION)
    entry = {"original": "models_original/tiny.mlmodel", "custom_lut": "mine.py:table", "modes": {"custom_lut": [3]}}
    project.configure(tiny=entry)
    with (project.folder / "printed").open("w") as printed:
        process = subprocess.Popen(
            project.command("--", "variants"),
            cwd=project.folder,
            stdout=printed,
            stderr=printed,
            start_new_session=True,
        )
        wait_for(project.folder / "at_work")
        yield process
        (project.folder / "go_on").touch()
        process.wait()


def test_a_second_run_stops_at_once_and_says_who_is_at_work(project, at_work):
    run = project.snakemake("--", "variants")
    assert run.status != 0
    assert f"another run is at work in this folder (process {at_work.pid} on " in run.text
    assert "Traceback" not in run.text
    for options in (["-n"], ["--list"], ["--lint"], ["--summary"], ["--report", "report.html"]):
        assert "another run is at work" not in project.snakemake(*options).text
    (project.folder / "go_on").touch()
    assert at_work.wait() == 0
    assert (project.folder / VARIANT).exists()
    assert project.snakemake("--", "variants").jobs == {}


def test_a_run_that_only_looks_on_keeps_no_other_from_its_work(project):
    project.add_network()
    project.configure(tiny={"original": "models_original/tiny.mlmodel", "modes": {"linear": [8]}})
    for options in (["-n"], ["--list"], ["--lint"]):
        project.snakemake(*options)
        assert not (project.folder / ".snakemake/running").exists()


def test_what_a_killed_run_was_at_writes_nothing_into_the_next(project, at_work):
    at_work.send_signal(signal.SIGKILL)  # the run alone: its jobs end with the process that they are forked from
    at_work.wait()
    (project.folder / "at_work").unlink()
    function = (project.folder / "mine.py").read_text()
    (project.folder / "mine.py").write_text(
        function.replace("weights.max()", "2 * weights.max()").replace("go_on", ".")
    )
    assert project.snakemake("--", "variants").status == 0
    after = project.digests()
    (project.folder / "go_on").touch()
    deadline = time.monotonic() + 120
    while group_lives(at_work.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not group_lives(at_work.pid)
    assert project.digests() == after
    assert not list((project.folder / "results").rglob("*.unfinished"))


def group_lives(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
