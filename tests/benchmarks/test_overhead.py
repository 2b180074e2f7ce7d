"""The parts of the overhead's benchmark that measure nothing, and an empty workflow that Snakemake runs."""

import subprocess
import sys

import pytest

from benchmarks.overhead import SHARES, cores, shares, text_of
from benchmarks.overhead_projects import Job, empty, jobs_of, many_schemes
from benchmarks.processor_time import Spent, spent
from requant.coreml.kind import Kind
from requant.quantize.scheme import Scheme, require_storable

SUMMARY = "\n".join(
    "\t".join(line)
    for line in (
        ("output_file", "date", "rule", "log-file(s)", "input-file(s)", "shellcmd", "status", "plan"),
        ("report", "-", "page", "page.log", "a.model,b.model,a.json", "-", "ok", "no update"),
        ("a.model", "-", "quantize", "a.log", "original", "-", "ok", "no update"),
        ("a.json", "-", "quantize", "a.log", "original", "-", "ok", "no update"),
        ("b.model", "-", "quantize", "b.log", "original", "-", "ok", "no update"),
        ("b.json", "-", "quantize", "b.log", "original", "-", "ok", "no update"),
    )
)


def test_the_jobs_of_a_run_are_read_with_their_files():
    jobs = jobs_of(f"Assuming something.\n{SUMMARY}\n")
    assert jobs["page"] == [Job(["report"], ["a.model", "b.model", "a.json"])]
    assert jobs["quantize"] == [Job(["a.model", "a.json"], ["original"]), Job(["b.model", "b.json"], ["original"])]


def test_an_empty_workflow_has_the_same_jobs_and_has_nothing_to_do_after_them(tmp_path):
    folder = empty(tmp_path, jobs_of(SUMMARY))
    command = [sys.executable, "-m", "snakemake", "--cores", "1"]
    first, second = (
        subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stderr for _ in range(2)
    )
    assert "4 of 4 steps" in first  # the target rule too
    assert "Nothing to be done" in second
    assert len(list(folder.glob("quantize/*"))) == 4


def test_many_schemes_are_distinct_and_can_be_stored():
    names = many_schemes(1000)
    assert len(set(names)) == 1000
    for name in names:
        scheme = Scheme.parse(name)
        assert str(scheme) == name
        require_storable(scheme, Kind.ML_PROGRAM)
    with pytest.raises(ValueError, match="1188 schemes are known"):
        many_schemes(2000)


def test_the_parts_come_to_what_the_processors_could_have_done():
    run = Spent(wall=20.0, starting=1.0, scheduling=2.0, scripts=3.0, warming=1.0, jobs=5.0, start_wall=1.0)
    parts = shares(run, 4.0)
    assert list(parts) == list(SHARES)
    assert sum(parts.values()) == pytest.approx(20.0 * cores())
    assert parts["jobs, beside that"] == 1.0


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
def test_the_processor_time_of_a_command_and_of_its_children_is_told_apart(tmp_path):
    loop = "import time\nend = time.process_time() + 0.4\nwhile time.process_time() < end: pass\n"
    code = (
        f"import subprocess, sys, time\nsubprocess.run([sys.executable, '-c', {loop!r}])\n{loop}{loop}time.sleep(0.3)"
    )
    found = spent([sys.executable, "-c", code], tmp_path)
    assert found.starting == pytest.approx(0.8, abs=0.25)
    assert found.scripts == pytest.approx(0.4, abs=0.25)
    with pytest.raises(RuntimeError, match="it is broken"):
        spent([sys.executable, "-c", "raise SystemExit('it is broken')"], tmp_path)


def test_the_page_names_what_was_compared_with_ratios():
    run = {
        "wall": 60.0,
        "starting": 2.0,
        "scheduling": 10.0,
        "scripts": 8.0,
        "warming": 1.0,
        "jobs": 50.0,
        "start_wall": 2.0,
    }
    text = text_of(
        {
            "nothing": {"jobs": [229.0], "demo": [3.0] * 5, "empty": [2.0] * 5},
            "grid": {
                "loop": [100.0] * 5, "variants": [20.0] * 5, "variants, 1 core": [40.0] * 5, "all": [50.0] * 5,
                "refused": {"made": 2, "refused": {"digits_kmeans_3.mlpackage": "ValueError"}}, "count": 3,
            },
            "many": {"count": 100, "runs": [run] * 2, "work": [{"seconds": 20.0, "cpu": 40.0}] * 2},
        },
        sys.executable,
    )  # fmt: skip
    assert "| the demo | 229 | 3.00 (3.00 to 3.00) | 1.50 |" in text
    assert "| `snakemake variants` | 3 | 20.0 (20.0 to 20.0) | 5.0x |" in text
    assert "`digits_kmeans_3.mlpackage`" in text
    assert "**0.400 (0.400 to 0.400) [2]**" in text
