"""Originals that were replaced: their old bytes are kept in an object of their own, for good."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from requant.archive.contents import ORIGINALS
from requant.archive.restoring import ORIGINAL
from requant.archive.store import Source, Store
from requant.originals import Lock, verify


def preserve_original(archive: Path, original: Path, lock: Lock) -> str:
    """Keep the bytes of a locked original in an archive.

    Returns:
        In words, where they are.

    Raises:
        RequantError: if it is not what is locked, or can't be archived.
    """
    verify(original, lock)
    digests = {name: lock.digests[name] for name in lock.names_of(original)}
    files = {name: Source(lock.folder / name, digest) for name, digest in digests.items()}
    return keep_files(Store(archive), original.name, files)


def keep_files(store: Store, name: str, files: Mapping[str, Source]) -> str:
    """Keep the files of an original, unless they are kept already; return in words where.

    It may be called by the process that is writing, too.
    """
    digests = {path: source.sha256 for path, source in files.items()}
    number = _kept(store, digests)
    if number is None:
        with store.writing():
            number = _kept(store, digests) or add_original(store, name, files)
    return _in_words(store, ORIGINALS, number)


def add_original(store: Store, name: str, files: Mapping[str, Source]) -> int:
    """Add an original to those that are kept, for the process that is writing; return the number of the version."""
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return len(store.add_version(ORIGINALS, name, created, files).versions)


def find_original(archive: Path, original: Path, lock: Lock) -> str | None:
    """Return in words where the locked bytes of an original are kept, read and found sound; None if they are not.

    Raises:
        RequantError: if an inventory of the archive is damaged or not to be trusted.
    """
    store = Store(archive)
    digests = {name: lock.digests[name] for name in lock.names_of(original)}
    for identifier in store.ids() if digests else ():
        prefix = "" if identifier == ORIGINALS else ORIGINAL
        inventory = store.inventory(identifier)
        for number in range(1, len(inventory.versions) + 1 if inventory else 0):
            files = store.files(identifier, number)
            if all(_has(files.get(prefix + name), digest) for name, digest in digests.items()):
                return _in_words(store, identifier, number)
    return None


def _kept(store: Store, digests: Mapping[str, str]) -> int | None:
    """Return the version in which exactly these files are kept, if there is one."""
    inventory = store.inventory(ORIGINALS)
    for number in range(1, len(inventory.versions) + 1 if inventory else 0):
        content = inventory.content(number) if inventory else {}
        if inventory and {path: inventory.fixity[where] for path, where in content.items()} == digests:
            files = store.files(ORIGINALS, number)
            if all(_has(files[path], digest) for path, digest in digests.items()):
                return number
    return None


def _has(path: Path | None, digest: str) -> bool:
    if path is None or not path.is_file():
        return False
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == digest


def _in_words(store: Store, identifier: str, number: int) -> str:
    return f"version v{number} of {store.folder(identifier).as_posix()}"
