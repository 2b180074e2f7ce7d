"""Files that are written whole or not at all, and the small JSON records that jobs hand on."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from requant.errors import RequantError


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that, whenever the process is killed, the path holds the old bytes or all of the new ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


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
