"""Preserved originals: their digests, the lock file, the index of where they come from, and what a changed one means.

    reading.py        the files of an original and their digests; links and pipes are told, not read
    replacing.py      the steps of a replacement, which can be interrupted at any moment
    lock_file.py      SHA256SUMS: read, held against the names that it can't hold, written by one process at a time
    index.py          index.yaml: origin, licence and date of each original
    verification.py   an original against its lock; all of them at once
    fetching.py       originals in a storage: copies of them to read here
    locking.py        what alone may write in the folder: locking a new original, replacing one whose bytes are archived

Everything is light: the workflow reads lock files again for every job.
"""

from __future__ import annotations

from requant.originals.fetching import fetched, place_of
from requant.originals.index import INDEX_NAME, Entry, read_index
from requant.originals.lock_file import LOCK_NAME, Lock, locked_originals, read_lock
from requant.originals.locking import lock_original, protect, replace_original
from requant.originals.reading import sha256
from requant.originals.verification import (
    Finding,
    Findings,
    bytes_of,
    require_locked,
    require_unchanged,
    verify,
    verify_all,
)

__all__ = [
    "INDEX_NAME", "LOCK_NAME", "Entry", "Finding", "Findings", "Lock", "bytes_of", "fetched", "lock_original",
    "locked_originals", "place_of", "protect", "read_index", "read_lock", "replace_original", "require_locked",
    "require_unchanged", "sha256", "verify", "verify_all",
]  # fmt: skip
