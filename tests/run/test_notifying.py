"""The command that is told of the end of a run."""

import time

import pytest

from requant.run import notifying
from requant.run.notifying import notify


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "run.txt"
    path.write_text("all is well\n")
    return path


def test_the_command_gets_the_summary_its_path_and_the_outcome(text):
    out = text.with_name("told")
    assert notify(f'{{ cat; echo "$REQUANT_SUMMARY $REQUANT_OUTCOME"; }} > {out}', text, "failed") == ""
    assert out.read_text() == f"all is well\n{text} failed\n"


def test_a_command_that_fails_is_told_and_ends_nothing(text):
    wrong = notify("echo no mail >&2; exit 3", text, "failed")
    assert "status 3" in wrong
    assert "no mail" in wrong


def test_a_command_that_hangs_is_ended_with_all_that_it_started(text, monkeypatch):
    monkeypatch.setattr(notifying, "SECONDS", 0.5)
    late = text.with_name("late")
    assert "took longer" in notify(f"(sleep 2; touch {late}) & wait", text, "failed")
    time.sleep(2.5)
    assert not late.exists()
