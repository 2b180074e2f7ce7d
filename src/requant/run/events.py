"""What happens in a run, collected from the log of the process that runs the workflow.

Snakemake logs each event as a record of Python's `logging` with a field `event` and further ones (its interface for
logger plugins, https://snakemake.readthedocs.io). These come to the main process from every executor.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from requant.caching import CACHED_RULES
from requant.run.cluster import ended_by_cluster
from requant.run.failures import message_of_failure
from requant.run.jobs import Job, State

# How a script or command ended that has told its message itself, as `requant.job.reported` and Python have it.
_TOLD = "returned non-zero exit status 1."
# How one ended that the user has ended, by Ctrl-C.
_BY_USER = ("returned non-zero exit status 130.", "died with <Signals.SIGINT: 2>.")
# What Snakemake says, in no event of its own, when a run is ended from outside: by Ctrl-C, by SIGTERM.
_ENDED = ("Terminating processes on user request", "Will exit after finishing currently running jobs")


@dataclass
class _Seen:
    """What was seen of one job."""

    began: float
    log_before: int | None = None
    ended: float | None = None
    failed: bool = False
    said: str = ""
    logs: tuple[str, ...] = ()


class RunEvents(logging.Handler):
    """Collects what becomes of the jobs of a run, as a handler of Snakemake's logger.

    Attributes:
        interrupted: whether the run was ended by the user or the system before it was done.
    """

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.interrupted = False
        self._seen: dict[int, _Seen] = {}
        self._last_error: dict[int, str] = {}  # by thread: Snakemake logs the cause before the job that failed

    def emit(self, record: logging.LogRecord) -> None:
        """Take in a record of the log."""
        try:
            self._take(record)
        except Exception:  # a log must not end the run
            self.handleError(record)

    def _take(self, record: logging.LogRecord) -> None:
        fields, event = record.__dict__, _event_of(record)
        if event == "job_info":
            self._seen[fields["jobid"]] = _Seen(record.created, _date_of(fields["log"]))
        elif event == "job_finished":
            self._of(fields["job_id"], record).ended = record.created
        elif event == "job_error":
            if not self.interrupted:
                self._fail(self._of(fields["jobid"], record), fields.get("rule_msg") or "", record)
        elif event == "group_error":
            for info in [] if self.interrupted else fields["job_error_info"]:
                self._fail(self._of(info["jobid"], record), fields.get("msg") or "", record)
        elif event == "error":
            self._last_error[threading.get_ident()] = str(record.msg)
        elif event is None and str(record.msg).startswith(_ENDED):
            self.interrupted = True

    def _of(self, number: int, record: logging.LogRecord) -> _Seen:
        return self._seen.setdefault(number, _Seen(record.created))

    def _fail(self, seen: _Seen, said: str, record: logging.LogRecord) -> None:
        cause = self._last_error.pop(threading.get_ident(), "")
        if any(end in cause for end in _BY_USER):  # Ctrl-C comes to the jobs too, maybe before the run says so
            return
        seen.failed, seen.ended = True, record.created
        seen.said = "\n".join(filter(None, [said, cause]))
        seen.logs = tuple(map(str, record.__dict__.get("log") or ()))

    def completed(self, planned: Iterable[Job], failed: Iterable[int], uses_cache: bool) -> list[Job]:
        """Return the jobs of a run with what became of them.

        Args:
            planned: the jobs, as `requant.run.jobs.planned_jobs` gives them.
            failed: the numbers of those that Snakemake gave up; a job that was started again may have failed before.
            uses_cache: whether the run shares results with other checkouts. A job that ran has written its log.
        """
        given_up = set() if self.interrupted else set(failed)
        return [self._completed(job, given_up, uses_cache) for job in planned]

    def _completed(self, job: Job, given_up: set[int], uses_cache: bool) -> Job:
        seen = self._seen.get(job.number)
        seconds = seen.ended - seen.began if seen and seen.ended is not None else None
        if job.state is State.BUILT:
            cached = uses_cache and job.rule in CACHED_RULES and seen and _unwritten(job.logs, seen.log_before)
            return replace(job, state=State.FROM_CACHE if cached else State.BUILT, seconds=seconds)
        if job.state is State.NOT_RUN and (job.number in given_up or (seen and seen.failed)):
            said = seen.said if seen else ""
            ended = ended_by_cluster(seen.logs, job.rule) if seen else ""
            message = ended or message_of_failure([Path(path) for path in job.logs], said)
            return replace(job, state=State.FAILED, seconds=seconds, message=message)
        return job


def told_by_its_job(record: logging.LogRecord) -> bool:
    """Return whether a record only says that a script or command failed which has said itself why, on the terminal.

    It ended with status 1, or by Ctrl-C; one that another signal ended has said nothing.
    """
    text = str(record.msg)
    return (
        _event_of(record) == "error" and "CalledProcessError" in text and any(end in text for end in (_TOLD, *_BY_USER))
    )


def collect_events(logger: logging.Logger) -> RunEvents:
    """Begin to collect the events of a run, and keep what its jobs say from being said twice on the terminal."""
    events = RunEvents()
    for handler in logger.handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.addFilter(_unless(told_by_its_job, logger))
    logger.addHandler(events)
    return events


def watch_signals(events: RunEvents) -> None:
    """Have a run know that it was ended from outside, whatever else it does about the signal and says of it.

    Only the main thread of a process can do this; in any other, nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(number)
        if callable(before):
            signal.signal(number, _noting(events, before))


def _noting(events: RunEvents, then: Callable[[int, FrameType | None], Any]) -> Callable[[int, FrameType | None], Any]:
    """Return a handler of a signal that notes it, and does what was done before."""

    def handler(number: int, frame: FrameType | None) -> Any:
        events.interrupted = True
        return then(number, frame)

    return handler


def _unless(
    condition: Callable[[logging.LogRecord], bool], logger: logging.Logger
) -> Callable[[logging.LogRecord], bool]:
    """Return a filter of what is so; with --verbose all is let through."""
    return lambda record: logger.isEnabledFor(logging.DEBUG) or not condition(record)


def _event_of(record: logging.LogRecord) -> str | None:
    event = record.__dict__.get("event")
    return getattr(event, "value", event)


def _unwritten(logs: Iterable[str], before: int | None) -> bool:
    """Return whether a job left its logs alone: they are as they were, or Snakemake made empty ones in their place."""
    return _date_of(logs) == before or not any(Path(path).stat().st_size for path in logs if Path(path).exists())


def _date_of(logs: Iterable[str]) -> int | None:
    """Return when a log was written last, in nanoseconds; None if there is none."""
    dates = [Path(path).stat().st_mtime_ns for path in logs if Path(path).exists()]
    return max(dates, default=None)
