"""Why a job failed, from its log, or from how its process ended."""

import pytest

from requant.errors import RequantError
from requant.job import reported
from requant.run.failures import alike, headline, logged_message, message_of_failure
from tests.run.recording import failed_command, job


def test_the_message_in_the_log_is_the_one_that_the_user_saw(tmp_path, capsys):
    log = tmp_path / "job.log"
    message = "two\n  lines, and an ERROR in them"
    with pytest.raises(SystemExit), reported(log):
        raise RequantError(message)
    assert logged_message(log) == message
    assert message_of_failure([log], failed_command("returned non-zero exit status 1.")) == message
    told = capsys.readouterr().err
    assert told == f"\nrequant: {message}\nlog: {log}\n\n"


def test_a_log_of_the_command_is_read_too(tmp_path):
    log = tmp_path / "package.log"
    log.write_text("requant: it can't be unpacked.\n")
    assert message_of_failure([log]) == "it can't be unpacked."


@pytest.mark.parametrize("ending", ["died with <Signals.SIGKILL: 9>.", "returned non-zero exit status 137."])
def test_a_process_that_was_killed_is_told_so(tmp_path, ending):
    log = tmp_path / "job.log"
    log.write_text("INFO sample 1 of 2\n")
    assert "when memory runs out" in message_of_failure([log], failed_command(ending))


def test_another_signal_is_named(tmp_path):
    assert "SIGSEGV" in message_of_failure([], failed_command("died with <Signals.SIGSEGV: 11>."))
    assert "SIGSEGV" in message_of_failure([], failed_command("returned non-zero exit status 139."))
    assert "number 8" in message_of_failure([], failed_command("returned non-zero exit status 136."))


def test_without_a_message_it_is_what_the_executor_said(tmp_path):
    log = tmp_path / "missing.log"
    assert "SLURM status is: 'TIMEOUT'" in message_of_failure([log], "\nSLURM status is: 'TIMEOUT'.")
    assert message_of_failure([log]) == "It ended without a message."


def test_a_headline_is_one_line_that_says_why():
    assert headline("one\n  two") == "one"
    assert headline("found:\n  a: 4 bits\n  b: 8 bits") == "found: a: 4 bits; b: 8 bits"
    raised = "f failed.\nTraceback (most recent call last):\n  File x\nValueError: no\n"
    assert headline(raised) == "f failed. ValueError: no"


def test_failures_of_one_cause_are_one():
    failed = [
        job(1, scheme="linear_8", message="none takes linear_8"),
        job(2, scheme="linear_4", message="none takes linear_4"),
        job(3, scheme="linear_2", message="something else"),
        job(4, "predict", scheme="linear_4", message="none takes linear_4"),
    ]
    assert [[each.number for each in group] for group in alike(failed)] == [[1, 2], [3], [4]]
