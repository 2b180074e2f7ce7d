"""Why a job failed, in the words that the user saw: from its log, or from how its process ended."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from requant.run.jobs import Job

# How `requant.job.reported` begins the message in a log, and the command `requant` its own.
_MARKS = ("ERROR ", "requant: ")
_TRACEBACK = "\nTraceback (most recent call last):\n"
# A process that a signal ended, as Python and as a shell tell it.
_SIGNAL = re.compile(r"died with <Signals\.(\w+)|non-zero exit status (1[2-9][0-9])\.")
_SIGNALS = {"137": "SIGKILL", "139": "SIGSEGV", "143": "SIGTERM", "134": "SIGABRT"}


def message_of_failure(logs: Iterable[Path], said: str = "") -> str:
    """Return why a job failed, for the user.

    Args:
        logs: its logs; some may not be there.
        said: what Snakemake or its executor said of the failure.
    """
    signal = _signal_in(said)
    if signal == "SIGKILL":
        return "It was killed (SIGKILL), as the system does when memory runs out."
    if signal:
        return f"It ended by the signal {signal}."
    for log in logs:
        message = logged_message(log)
        if message:
            return message
    first = next((line for line in said.splitlines() if line.strip()), "")
    return f"It ended without a message. Snakemake said: {first}" if first else "It ended without a message."


def logged_message(log: Path) -> str:
    """Return the last error in a log, with all its lines; empty if there is none or the log can't be read."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    starts = [index for index, line in enumerate(lines) if line.startswith(_MARKS)]
    if not starts:
        return ""
    first, *rest = lines[starts[-1] :]
    mark = next(mark for mark in _MARKS if first.startswith(mark))
    return "\n".join([first.removeprefix(mark), *rest]).strip()


def headline(message: str) -> str:
    """Return a message in one line: its first, and of an exception of the user's code what it was."""
    first, _, rest = message.partition("\n")
    if f"\n{rest}".startswith(_TRACEBACK):
        return f"{first} {rest.strip().splitlines()[-1]}"
    if first.endswith(":"):
        return f"{first} {'; '.join(line.strip() for line in rest.splitlines())}"
    return first


def alike(failed: Iterable[Job]) -> list[list[Job]]:
    """Return the jobs that failed, those together that failed of one cause: of a model and rule, with one message.

    Many variants can fail of the same data; their messages may name the variant, and differ in nothing else.
    """
    groups: dict[tuple[str, str, str], list[Job]] = {}
    for job in failed:
        message = job.message.replace(job.of, "\0") if job.of else job.message
        groups.setdefault((job.model, job.rule, message), []).append(job)
    return list(groups.values())


def _signal_in(said: str) -> str:
    found = _SIGNAL.search(said)
    if not found:
        return ""
    return found[1] or _SIGNALS.get(found[2], f"number {int(found[2]) - 128}")
