"""Files that are written whole or not at all, and the small JSON records that jobs hand on."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from requant.errors import RequantError
from requant.single_run import require_current

UNFINISHED = ".unfinished"


def write_whole(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Write a file of these bytes; see `whole_file`."""
    with whole_file(path, durable=durable) as stream:
        stream.write(data)


@contextmanager
def whole_file(path: Path, *, durable: bool = False) -> Iterator[IO[bytes]]:
    """Write a file so that, whenever the process is killed, the path holds the old bytes or all of the new ones.

    What a killed process leaves beside it ends in `UNFINISHED`; `remove_unfinished` clears it away.

    Args:
        path: of the file, which is in its place when the context ends without an exception.
        durable: whether this holds for a machine that loses its power too; it takes longer.

    Yields:
        A stream to write to, in which one can seek.

    Raises:
        RequantError: if it can't be written, as on a full disk, or another run has begun than that of this job.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=UNFINISHED, dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                yield stream
                if durable:
                    stream.flush()
                    os.fsync(stream.fileno())
            Path(name).chmod(0o644)
            require_current(path)
            Path(name).replace(path)
            if durable:
                flush(path.parent)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tell the user what kept a file or folder from being written.

    Raises:
        RequantError: in place of an `OSError`, naming the path.
    """
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise RequantError(
                f"{path} can't be written: the disk is full. Nothing half-written was left in its place. Make space on "
                f"the disk of {path.parent.absolute()} and start again: what is finished is not made again."
            ) from error
        raise RequantError(f"{path} can't be written: {error.strerror or error}.") from error


def is_full(error: OSError) -> bool:
    """Return whether it says that there is no more space on the disk, or none for this user."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def remove_unfinished(folder: Path) -> list[Path]:
    """Remove what killed processes left unfinished below a folder in which nothing is being written, and return it."""
    left = [path for path in sorted(folder.rglob(f".*{UNFINISHED}")) if path.exists()]
    for path in left:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return left


def touched_since(moment: int, files: Iterable[Path]) -> bool:
    """Return whether a file is missing, or its bytes may have changed since a moment.

    The date that a file's entry was changed counts too: copying a file can keep the date of its bytes, not that one.

    Args:
        moment: in nanoseconds, as `st_mtime_ns`.
        files: to look at.
    """
    for path in files:
        if not path.is_file():
            return True
        status = path.stat()
        if max(status.st_mtime_ns, status.st_ctime_ns) > moment:
            return True
    return False


def flush(path: Path) -> None:
    """Have the system bring a file, or the names in a folder, to the disk now."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_record(path: Path, record: Any) -> None:
    """Write a JSON record, whole; the same record gives the same bytes."""
    write_whole(path, (json.dumps(record, indent=2, allow_nan=False) + "\n").encode())


def read_record(path: Path) -> Any:
    """Read a JSON record.

    Raises:
        RequantError: if it can't be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequantError(f"the record {path} can't be read: {error}. Delete it, and it will be made anew.") from error
