"""Files that are written whole or not at all, and the small JSON records that jobs hand on."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from requant.errors import RequantError


def write_whole(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Write a file so that, whenever the process is killed, the path holds the old bytes or all of the new ones.

    Args:
        path: of the file.
        data: its bytes.
        durable: whether this holds for a machine that loses its power too; it takes longer.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
        if durable:
            flush(path.parent)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


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
