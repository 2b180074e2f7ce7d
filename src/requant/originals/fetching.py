"""Originals that lie in a storage, as S3: copies of them to read here, and where a job has its own.

Which storage that is, is the caller's business. A copy is known by what the lock says of its original, and it is held
against the lock before it is used: another lock, another copy.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from requant.errors import RequantError
from requant.originals.lock_file import LOCK_NAME, read_lock
from requant.originals.verification import require_locked, verify
from requant.records import UNFINISHED

Retrieve = Callable[[Path, Path], bool]


def fetched(original: Path, copies: Path, retrieve: Retrieve) -> Path:
    """Return a copy of an original, with the lock file beside it, fetched unless it is there.

    Args:
        original: its path in the storage, as `models_original/net.mlpackage`.
        copies: the folder in which copies are kept. Several processes may fetch into it at a time.
        retrieve: copies a file or folder of the storage to a path; returns whether there is one.

    Raises:
        RequantError: if the storage has no such original, it is not locked there, or it is not what was locked.
    """
    copies.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".", suffix=UNFINISHED, dir=copies))
    try:
        place = folder / original
        place.parent.mkdir(parents=True)
        retrieve(original.parent / LOCK_NAME, place.parent / LOCK_NAME)
        lock = read_lock(place.parent)
        kept = copies / lock.digest_of(place)
        if lock.names_of(place) and kept.exists():
            return kept / original
        if not retrieve(original, place):
            raise RequantError(f"{original} is not in the storage. Copy it there, with {LOCK_NAME} beside it.")
        require_locked(place, lock)
        verify(place, lock)
        try:
            folder.rename(kept)
        except OSError:  # another process was faster
            if not kept.exists():
                raise
        return kept / original
    except RequantError as error:  # in the words of the storage, not of a folder that is gone by then
        raise RequantError(str(error).replace(f"{folder}/", "")) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def place_of(original: str, files: Sequence[str]) -> Path:
    """Return where a job has an original: where it always is, or where the copies that a storage gave it lie.

    Args:
        original: its path, as `models_original/net.mlpackage`.
        files: the copies of its files, none if it is in its place.
    """
    if not files:
        return Path(original)
    before, found, _ = files[0].rpartition(original)
    if not found:
        raise RequantError(f"{files[0]} is no file of {original}.")
    return Path(before + found)
