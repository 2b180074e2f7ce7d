"""The parts of the benchmarks' page that measure nothing, and that a measured command is the one that ran."""

import os
import subprocess
import sys

import pytest

from benchmarks.performance_page import REPEATS, Middle, machine, ran, ran_well, repeated, table, with_section

PAGE = """# Performance

## One

by hand

<!-- begin: benchmarks/one.py -->
old
<!-- end: benchmarks/one.py -->

after
"""


def test_a_section_is_replaced_and_what_is_around_it_stays():
    page = with_section(PAGE, "one", "One", "new")
    assert page == PAGE.replace("old\n", "new\n\n")
    assert with_section(page, "one", "One", "new") == page


def test_a_new_section_is_added_at_the_end_with_its_title():
    page = with_section(PAGE, "two", "Two", "text")
    assert page.startswith(PAGE)
    assert page.endswith("## Two\n\n<!-- begin: benchmarks/two.py -->\ntext\n\n<!-- end: benchmarks/two.py -->\n")


def test_the_median_says_of_how_few_measurements_it_is():
    assert Middle.of([3.0, 1.0, 2.0, 9.0, 2.5]).shown("{:.1f}") == "2.5 (1.0 to 9.0)"
    assert Middle.of([3.0, 1.0]).shown("{:.1f}") == "2.0 (1.0 to 3.0) [2]"
    assert Middle.of([3.0]).shown("{:.1f}") == "3.0 [1]"


def test_long_measurements_are_taken_less_often_but_once_at_least():
    assert len(repeated(lambda: 1.0, float)) == REPEATS
    assert len(repeated(lambda: 60.0, float)) == 2
    assert len(repeated(lambda: 1000.0, float)) == 1


def test_a_command_runs_in_its_folder_with_its_variables(tmp_path):
    code = "import os, sys; print(os.getcwd(), os.environ['WHICH']); print('too', file=sys.stderr); sys.exit(3)"
    done = ran([sys.executable, "-c", code], tmp_path, WHICH="this")
    assert done.status == 3
    assert sorted(done.output.splitlines()) == sorted([f"{tmp_path.resolve()} this", "too"])


def test_a_command_that_fails_is_told_with_what_it_said():
    with pytest.raises(RuntimeError, match="no such thing"):
        ran_well([sys.executable, "-c", "raise SystemExit('no such thing')"])


def test_a_command_that_takes_too_long_is_ended():
    with pytest.raises(subprocess.TimeoutExpired):
        ran([sys.executable, "-c", "import time; time.sleep(60)"], timeout=0.2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_the_peak_counts_processes_that_the_command_started():
    inner = "x = bytearray(300_000_000)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    assert ran_well([sys.executable, "-c", outer]).peak_mb > 300


def test_the_machine_is_named_with_the_versions_that_ran():
    text = machine(("numpy", "no-such-library"), {"another": sys.executable})
    assert f"Python {sys.version.split()[0]}" in text
    assert "another with numpy" in text
    assert "no-such-library" not in text


def test_tables_are_markdown():
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
