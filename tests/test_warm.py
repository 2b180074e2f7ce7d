"""The warm process, with scripts as Snakemake runs them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from requant import handing_over

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

# What the main process of a run does: it starts the warm process, then scripts, and ends when its input does.
MAIN = """
import subprocess, sys
from requant.warm import start
start(["json"])
print(sys.argv[1:] and subprocess.run([sys.executable, *sys.argv[1:]]).returncode, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def run(tmp_path):
    """Run a script with a warm process beside it; return what the script says and its status."""
    started = []

    def start(body):
        script = tmp_path / "script.py"
        script.write_text(body)
        main = subprocess.Popen(
            [sys.executable, "-c", MAIN, str(script)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path,
        )  # fmt: skip
        started.append(main)
        return main

    yield start
    for main in started:
        main.kill()
        main.wait()
        main.stdout.close()


def finished(main):
    text, _ = main.communicate(input="", timeout=60)
    *said, status = text.splitlines()
    return said, int(status)


def alive(pid):
    """Return whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def commands():
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield int(path.parent.name), path.read_text().split("\0")[:-1]


def until(condition):
    for _ in range(300):
        if condition():
            return True
        time.sleep(0.1)
    return False


def test_the_script_runs_in_another_process_in_the_folder_and_environment_of_its_caller(run, tmp_path, monkeypatch):
    monkeypatch.setenv("MARK", "left by the caller")
    body = (
        "import json, os, sys\n"
        "print(json.dumps([os.getcwd(), os.environ['MARK'], sys.executable, 'json' in sys.modules]))\n"
        "from pathlib import Path; Path('written').write_text(__file__)\n"
    )
    said, status = finished(run(body))
    assert status == 0
    assert json.loads(said[0]) == [str(tmp_path), "left by the caller", sys.executable, True]
    assert Path((tmp_path / "written").read_text()) == tmp_path / "script.py"


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ("raise SystemExit(3)", 3, ""),
        ("raise SystemExit", 0, ""),
        ("import sys; print('told', file=sys.stderr); sys.exit(1)", 1, "told"),
        ("1 / 0", 1, "ZeroDivisionError"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 128 + signal.SIGKILL, ""),
    ],
)
def test_the_caller_ends_as_the_script_does(run, body, status, word):
    said, found = finished(run(body))
    assert found == status
    assert word in "\n".join(said)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes in /proc")
class TestEnds:
    SLEEPER = "import os, time\nfrom pathlib import Path\nPath('pid').write_text(str(os.getpid()))\ntime.sleep(600)\n"

    def working(self, run, folder):
        main = run(self.SLEEPER)
        assert until(lambda: (folder / "pid").exists() and (folder / "pid").read_text())
        return main, int((folder / "pid").read_text())

    def test_a_killed_caller_takes_the_work_with_it(self, run, tmp_path):
        _, worker = self.working(run, tmp_path)
        callers = [pid for pid, command in commands() if command[2:3] == [handing_over.__file__]
                   and command[-1] == f"{tmp_path}/script.py"]  # fmt: skip
        assert len(callers) == 1
        assert callers[0] != worker
        os.kill(callers[0], signal.SIGKILL)
        assert until(lambda: not alive(worker))

    def test_a_killed_main_process_takes_all_with_it(self, run, tmp_path):
        main, worker = self.working(run, tmp_path)
        warm = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
        main.kill()
        assert until(lambda: not alive(worker))
        assert until(lambda: not alive(warm))


def handed_over(place, main, *arguments):
    command = [sys.executable, "-IS", handing_over.__file__, sys.executable, place, str(main), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_without_a_warm_process_python_runs_the_script(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import sys, numpy\nprint(sys.argv, sys.flags.isolated)\nsys.exit(4)")
    done = handed_over(str(tmp_path / "gone"), os.getpid(), str(script))
    assert (done.returncode, done.stdout) == (4, f"{[str(script)]} 0\n"), done.stderr


def test_what_is_no_script_is_for_python(run, tmp_path):
    body = "import subprocess, sys\nprint('warm', 'json' in sys.modules)\n"
    said, status = finished(run(body))
    assert (said, status) == (["warm True"], 0)
    done = handed_over(str(tmp_path / "gone"), os.getpid(), "-c", "import sys; print(sys.argv)", "more")
    assert (done.returncode, done.stdout) == (0, "['-c', 'more']\n"), done.stderr


def test_the_interpreter_hands_over_only_where_it_can_be_started(monkeypatch, tmp_path):
    (tmp_path / "a folder").mkdir()
    code = "import sys, tempfile; tempfile.tempdir = sys.argv[1]\nfrom requant.warm import start\nstart([])\n"
    code += "print(sys.executable)"
    for folder, handed in ((tmp_path, True), (tmp_path / "a folder", False)):
        done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
        assert (done.stdout.strip() != sys.executable) is handed
