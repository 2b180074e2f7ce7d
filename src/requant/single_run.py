"""One run at a time in a folder, for two at once would write the same files.

The claim is an advisory lock of the operating system (`flock`) on a small file, which ends with the process that holds
it, however it ends: after `kill -9` nothing is in the way of the next run. Jobs that outlive the run that started them
know it by the mark that is in that file and in their environment, and write nothing once another run has begun.

Nothing heavy is imported here, because Snakemake reads the Snakefile again for every job.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from requant.errors import RequantError

_VARIABLE = "REQUANT_RUN"  # in the environment of jobs: the mark of their run, and the file that has the latest
_held: list[int] = []  # open for as long as the process lives


def claim(path: Path) -> bool:
    """Claim a folder for this process and the jobs that it starts, by a file in it, until the process ends.

    Returns:
        Whether the file system has such locks; if it has none, nothing keeps two runs apart.

    Raises:
        RequantError: if another process holds it, saying which, where and since when, or the file can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        locks = _lock(handle, path)
        mark = uuid.uuid4().hex
        since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        holder = {"process": os.getpid(), "host": platform.node(), "since": since, "mark": mark}
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(holder).encode(), 0)
    except OSError as error:
        raise RequantError(
            f"{path.absolute()} can't be written, so that nothing was started: {error.strerror}."
        ) from error
    _held.append(handle)
    os.environ[_VARIABLE] = f"{mark} {path.absolute()}"
    return locks


def _lock(handle: int, path: Path) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise RequantError(_who_holds(path)) from None
    except OSError:  # some network file systems have none
        return False
    return True


def require_current(path: Path) -> None:
    """Make sure that a job may write: that no other run has begun since the one that started this job.

    Args:
        path: what is to be written, for the message.

    Raises:
        RequantError: if one has.
    """
    mark, _, file = os.environ.get(_VARIABLE, "").partition(" ")
    latest = _read(Path(file)).get("mark") if mark else None
    if latest and latest != mark:
        raise RequantError(
            f"{path} is not written: the run that this job belongs to was ended, and another has begun since."
        )


def _who_holds(path: Path) -> str:
    holder = _read(path)
    who = f"process {holder['process']} on {holder['host']}, since {holder['since']}" if holder else "it began just now"
    return (
        f"another run is at work in this folder ({who}). Nothing was started. Wait until it has ended, or end it; then "
        "start again."
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        holder = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}
