import os
import signal
import subprocess
import sys

import pytest

from requant import single_run
from requant.errors import RequantError
from requant.records import write_whole

HOLD = """
import pathlib, subprocess, sys
from requant.single_run import claim
claim(pathlib.Path(sys.argv[1]))
print(1, flush=True)
input()
"""


@pytest.fixture(autouse=True)
def _this_process_claims_nothing(monkeypatch):
    monkeypatch.setattr(single_run, "_held", [])
    monkeypatch.setenv("REQUANT_RUN", "")
    yield
    for handle in single_run._held:
        os.close(handle)


@pytest.fixture
def holder(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "running")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        yield process
        process.kill()


def test_a_second_process_is_told_who_is_at_work(tmp_path, holder):
    with pytest.raises(
        RequantError, match=rf"another run is at work .*process {holder.pid} on .+, since 20\d\d-.* UTC"
    ):
        single_run.claim(tmp_path / "running")
    write_whole(tmp_path / "file", b"")  # a refused claim changes nothing for this process


def test_a_folder_that_can_not_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RequantError, match=r"file/running can't be written, so that nothing was started: "):
        single_run.claim(tmp_path / "file/running")


def test_a_killed_process_leaves_nothing_in_the_way(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert single_run.claim(tmp_path / "running")


def test_what_a_process_starts_does_not_hold_its_claim(tmp_path):
    program = HOLD.replace("print(1", "print(subprocess.Popen(['sleep', '60']).pid")
    command = [sys.executable, "-c", program, str(tmp_path / "running")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        child = int(process.stdout.readline())
        process.kill()
    try:
        assert single_run.claim(tmp_path / "running")
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_job_of_an_older_run_writes_nothing(tmp_path, monkeypatch):
    single_run.claim(tmp_path / "running")
    write_whole(tmp_path / "file", b"of the first run")
    first = os.environ["REQUANT_RUN"]
    os.close(single_run._held.pop())
    single_run.claim(tmp_path / "running")
    write_whole(tmp_path / "file", b"of the second run")
    monkeypatch.setenv("REQUANT_RUN", first)
    with pytest.raises(RequantError, match=r"file is not written: .* another has begun since"):
        write_whole(tmp_path / "file", b"late")
    assert (tmp_path / "file").read_bytes() == b"of the second run"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "running"]
