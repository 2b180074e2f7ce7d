"""Preserved originals: their digests, the lock file, and what a changed, missing or unlocked one means.

The lock file has the format of `sha256sum`, so that `sha256sum -c SHA256SUMS` checks it without this project. Names
in it are relative to its folder. An `.mlpackage` and a SavedModel are folders: their files are listed one by one.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from requant.errors import RequantError

LOCK_NAME = "SHA256SUMS"
_IGNORED = {".DS_Store", ".snakemake_timestamp"}  # what the Finder and Snakemake leave in folders
_FOLDER = re.compile(r"(\.(?:mlpackage|savedmodel))/.*")  # originals that are folders, and what is below them
_HOW_TO_LOCK = "requant lock {path}"


@dataclass(frozen=True)
class Lock:
    """The lock file of a folder of originals: the SHA-256 of every file, by its name relative to that folder."""

    folder: Path
    digests: dict[str, str]

    def names_of(self, original: Path) -> list[str]:
        """Return the locked files of an original: its own name, or those below it if it is a folder; sorted."""
        name = _relative(original, self.folder)
        return sorted(n for n in self.digests if n == name or n.startswith(f"{name}/"))

    def files_of(self, original: Path) -> list[Path]:
        """Return the paths of the locked files of an original."""
        return [self.folder / name for name in self.names_of(original)]

    def digest_of(self, original: Path) -> str:
        """Return one digest for all locked files of an original: it changes when the lock does."""
        lines = "".join(f"{self.digests[name]}  {name}\n" for name in self.names_of(original))
        return hashlib.sha256(lines.encode()).hexdigest()


def read_lock(folder: Path) -> Lock:
    """Read the lock file of a folder; a folder without one has nothing locked.

    Raises:
        RequantError: if a line is not one of `sha256sum`.
    """
    path = folder / LOCK_NAME
    digests: dict[str, str] = {}
    for number, line in enumerate(path.read_text().splitlines() if path.exists() else [], 1):
        digest, separator, name = line.partition("  ")
        if not line.strip():
            continue
        if not separator or len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise RequantError(
                f"{path}, line {number}: this is not a line of sha256sum ('<64 hexadecimal digits>  <name>'): {line!r}."
            )
        digests[name] = digest
    return Lock(folder, digests)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal.

    Raises:
        RequantError: if the file can't be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise RequantError(f"{path} can't be read: {error.strerror or error}. Check its permissions.") from error


def require_locked(original: Path, lock: Lock) -> None:
    """Make sure that an original is there and has a line in the lock file; its bytes are not looked at.

    Raises:
        RequantError: if it is missing or unlocked, saying what to do.
    """
    locked = lock.names_of(original)
    if not original.exists():
        if locked:
            raise RequantError(
                f"{original} is missing, but locked in {lock.folder / LOCK_NAME}. Restore it from a backup or from "
                "version control."
            )
        raise RequantError(
            f"{original} does not exist. Copy the model there, or correct the path in the configuration."
        )
    if not locked:
        raise RequantError(
            f"{original} is not locked: {lock.folder / LOCK_NAME} has no line for it. If it is the original, lock it "
            f"with: {_HOW_TO_LOCK.format(path=original)}"
        )


def verify(original: Path, lock: Lock) -> dict[str, Any]:
    """Check an original against its lock and return the record of it.

    Returns:
        The original's path, its size in bytes, and the SHA-256 of each of its files. It holds no date and nothing of
        the machine, so that the same original always gives the same record.

    Raises:
        RequantError: if a file is changed, missing, extra or unreadable, saying which, what was expected, what was
            found and what to do.
    """
    require_locked(original, lock)
    names = lock.names_of(original)
    extra = sorted({_relative(f, lock.folder) for f in _files(original)} - set(names))
    if extra:
        raise RequantError(
            f"{lock.folder / extra[0]} is not locked, though {original} is. Remove it if it does not belong to the "
            f"model; if the model is a new one, lock it under a new name."
        )
    for name in names:
        _check(lock.folder / name, lock.digests[name])
    return {
        "original": original.as_posix(),
        "bytes": sum((lock.folder / name).stat().st_size for name in names),
        "sha256": {name: lock.digests[name] for name in names},
    }


def _check(path: Path, expected: str) -> None:
    if not path.exists():
        raise RequantError(f"{path} is missing, but locked. Restore it from a backup or from version control.")
    found = sha256(path)
    if found != expected:
        raise RequantError(
            f"{path} has changed since it was locked.\n"
            f"  expected SHA-256: {expected}\n"
            f"  found SHA-256:    {found}\n"
            "Restore the original from a backup or from version control. If this is a new model, give it a new name "
            f"and lock that: {_HOW_TO_LOCK.format(path='FILE')}"
        )


def locked_originals(lock: Lock) -> list[Path]:
    """Return the originals that a lock file names; the files of one that is a folder count as that one."""
    return sorted({lock.folder / _FOLDER.sub(r"\1", name) for name in lock.digests})


def require_unchanged(original: Path, record: Mapping[str, Any]) -> None:
    """Make sure that an original still has the bytes that its record, made by `verify`, names.

    Raises:
        RequantError: if a file has other bytes now.
    """
    digests: dict[str, str] = record["sha256"]
    for name, digest in digests.items():
        _check(original.parent / name, digest)


def lock_original(original: Path) -> list[str]:
    """Lock a new original: append its digests to the lock file beside it and make it read-only.

    Returns:
        The lines that were added; none if the same bytes are locked already.

    Raises:
        RequantError: if it does not exist, is a symbolic link, or is locked with other bytes under this name.
    """
    if original.is_symlink():
        raise RequantError(f"{original} is a symbolic link: copy the model itself, so that it is preserved here.")
    if not original.exists():
        raise RequantError(f"{original} does not exist.")
    lock = read_lock(original.parent)
    if lock.names_of(original):
        verify(original, lock)
        protect(original)
        return []
    lines = [f"{sha256(path)}  {_relative(path, original.parent)}" for path in _files(original)]
    if not lines:
        raise RequantError(f"{original} is an empty folder: there is nothing to preserve in it.")
    path = original.parent / LOCK_NAME
    before = path.read_text() if path.exists() else ""
    beside = path.with_name(f".{LOCK_NAME}.new")
    beside.write_text(before + ("" if before.endswith("\n") or not before else "\n") + "\n".join(lines) + "\n")
    beside.replace(path)
    protect(original)
    return lines


def protect(original: Path) -> None:
    """Take the permission to write from an original's files; where they are somebody else's, they are left as is.

    The folder of an `.mlpackage` stays writable, so that a clone can be deleted; a file added to it is found by
    `verify`.
    """
    for path in _files(original):
        mode = path.stat().st_mode
        writable = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
        if mode & writable:
            with contextlib.suppress(PermissionError):
                path.chmod(mode & ~writable)


def _files(original: Path) -> list[Path]:
    if original.is_file():
        return [original]
    return sorted(f for f in original.rglob("*") if not f.is_dir() and f.name not in _IGNORED)


def _relative(path: Path, folder: Path) -> str:
    try:
        return path.relative_to(folder).as_posix()
    except ValueError as error:
        raise RequantError(f"{path} does not lie in {folder}, where originals are preserved and locked.") from error
