"""What is collected from the log of a run."""

import io
import logging
import signal

import pytest

from requant.run.events import RunEvents, collect_events, told_by_its_job, watch_signals
from requant.run.jobs import State
from tests.run.recording import failed_command, job, log_begin, log_end, log_failure, new_logger

ONE = failed_command("returned non-zero exit status 1.")


@pytest.fixture
def logger():
    return new_logger()


def write_log(path, text):
    path.write_text(text)
    return (str(path),)


def test_a_job_that_ended_has_its_time(logger):
    events, made = collect_events(logger), job(1, state=State.BUILT)
    log_begin(logger, made)
    log_end(logger, made)
    [done] = events.completed([made], [], uses_cache=False)
    assert done.state is State.BUILT
    assert 0 <= done.seconds < 60


def test_a_job_that_failed_has_its_message(logger, tmp_path):
    failed = job(1, logs=write_log(tmp_path / "log", "ERROR it is broken\n"))
    events = collect_events(logger)
    log_begin(logger, failed)
    log_failure(logger, failed, ONE)
    [done] = events.completed([failed], [1], uses_cache=False)
    assert (done.state, done.message) == (State.FAILED, "it is broken")


def test_a_job_that_was_started_again_and_ended_well_did_not_fail(logger):
    made = job(1, state=State.BUILT)
    events = collect_events(logger)
    log_begin(logger, made)
    log_failure(logger, made, said="the node is gone")
    log_begin(logger, made)
    log_end(logger, made)
    [done] = events.completed([made], [], uses_cache=False)
    assert (done.state, done.message) == (State.BUILT, "")


def test_a_job_that_snakemake_gave_up_failed_without_an_event_too(logger):
    events = collect_events(logger)
    [done] = events.completed([job(1)], [1], uses_cache=False)
    assert done.state is State.FAILED


def test_a_job_that_never_began_did_not_fail(logger):
    [done] = collect_events(logger).completed([job(1)], [], uses_cache=False)
    assert (done.state, done.seconds) == (State.NOT_RUN, None)


def test_what_the_user_ended_is_no_failure(logger):
    events = collect_events(logger)
    at_work, other = job(1), job(2)
    log_begin(logger, at_work)
    log_failure(logger, at_work, failed_command("returned non-zero exit status 130."))  # before the run says so
    logger.info("Terminating processes on user request, this might take some time.")
    log_begin(logger, other)
    log_failure(logger, other, failed_command("returned non-zero exit status 1."))
    assert events.interrupted
    assert {each.state for each in events.completed([at_work, other], [1, 2], uses_cache=False)} == {State.NOT_RUN}


@pytest.mark.parametrize("before", [None, "INFO done in 3 s\n"])
def test_a_cached_job_that_wrote_no_log_took_its_results_from_the_cache(logger, tmp_path, before):
    path = tmp_path / "log"
    if before:
        path.write_text(before)
    made = job(1, "convert", State.BUILT, logs=(str(path),))
    events = collect_events(logger)
    log_begin(logger, made)
    if not before:
        path.touch()  # as Snakemake does
    log_end(logger, made)
    assert events.completed([made], [], uses_cache=True)[0].state is State.FROM_CACHE
    assert events.completed([made], [], uses_cache=False)[0].state is State.BUILT
    path.write_text("INFO made\n")
    assert events.completed([made], [], uses_cache=True)[0].state is State.BUILT


def test_what_a_job_says_itself_is_not_said_twice_on_the_terminal(tmp_path):
    logger, terminal = new_logger(), io.StringIO()
    logger.addHandler(logging.StreamHandler(terminal))
    logger.addHandler(logging.FileHandler(tmp_path / "snakemake.log"))
    collect_events(logger)
    log_failure(logger, job(1), ONE)
    log_failure(logger, job(2), failed_command("died with <Signals.SIGKILL: 9>."))
    assert "status 1." not in terminal.getvalue()
    assert "SIGKILL" in terminal.getvalue()
    assert "status 1." in (tmp_path / "snakemake.log").read_text()


def test_other_messages_stay(logger):
    record = logging.LogRecord("run", logging.ERROR, "", 1, ONE, None, None)
    assert not told_by_its_job(record)  # no event of Snakemake


def test_a_strange_event_does_not_end_the_run(logger, capsys, monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", True)  # jobs turn it off in their process
    events = collect_events(logger)
    logger.info("odd", extra={"event": "job_info"})
    assert events.completed([], [], uses_cache=False) == []
    assert "KeyError" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_and_does_what_it_did_before(number):
    got = []
    before = signal.signal(number, lambda *_: got.append(number))
    try:
        events = RunEvents()
        watch_signals(events)
        assert not events.interrupted
        signal.raise_signal(number)
        assert events.interrupted
        assert got == [number]
    finally:
        signal.signal(number, before)
