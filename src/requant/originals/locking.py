"""The only thing that writes in a folder of originals: locking a new one, and replacing one whose bytes are kept."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

from requant.errors import RequantError
from requant.originals.index import INDEX_NAME, Entry, read_index, write_entry
from requant.originals.lock_file import (
    LOCK_NAME,
    Lock,
    only_writer,
    original_of,
    read_lock,
    relative,
    require_tellable,
    write_lock,
)
from requant.originals.reading import files_below, sha256
from requant.originals.replacing import Replacement, begin, finish, interrupted, stage
from requant.originals.verification import verify

Preserve = Callable[[Path, Lock], str]
Find = Callable[[Path, Lock], str | None]
_NOTHING = Entry()


def lock_original(original: Path, entry: Entry = _NOTHING) -> list[str]:
    """Lock a new original: append its digests to the lock file beside it, make it read-only, note where it comes from.

    A replacement that was interrupted in its folder is finished first.

    Args:
        original: a file, or a folder.
        entry: what the index is to say of it. For an original that is locked already, what is given here is added to
            what the index says, except for the date; nothing leaves the index as it is.

    Returns:
        The lines that were added; none if the same bytes are locked already.

    Raises:
        RequantError: if it does not exist, is or holds a symbolic link or anything else but files and folders, has a
            name that a lock file can't hold or that differs from another one in capitals only, or is locked with other
            bytes under this name.
    """
    folder = original.parent
    if interrupted(folder):
        with only_writer(folder):
            finish(folder)
    _require_original(original)
    if not read_lock(folder).names_of(original):
        digests = _digests_of(original)
        read_index(folder)  # one that can't be read stops this before anything is written
        with only_writer(folder):
            lock = read_lock(folder)
            if not lock.names_of(original):  # nobody was faster
                require_tellable(digests, lock.digests)
                write_lock(Lock(folder, lock.digests | digests))
                _note(original, entry)
                protect(original)
                return [f"{digest}  {name}" for name, digest in digests.items()]
    verify(original, read_lock(folder))
    protect(original)
    if (entry.origin, entry.licence, entry.description) != ("", "", ""):
        with only_writer(folder):
            known = read_index(folder).get(relative(original, folder), _NOTHING)
            _note(original, known.updated(Entry(entry.origin, entry.licence, known.locked, entry.description)))
    return []


def _require_original(original: Path) -> None:
    if original.is_symlink():
        raise RequantError(f"{original} is a symbolic link: copy the model itself, so that it is preserved here.")
    if not original.exists():
        raise RequantError(f"{original} does not exist.")
    whole = Path(original_of(original.as_posix()))
    if whole != original:
        raise RequantError(f"{original} is a part of {whole}, which is preserved as one: requant lock {whole}")
    if original.name in (LOCK_NAME, INDEX_NAME):
        raise RequantError(f"{original} tells of the originals, and is none itself.")


def _digests_of(original: Path) -> dict[str, str]:
    """Return the digests of the files of an original by name, if all of them can be preserved."""
    files, problems = files_below(original)
    if problems:
        raise RequantError("\n".join(problems))
    if not files:
        raise RequantError(f"{original} is an empty folder: there is nothing to preserve in it.")
    require_tellable(relative(file, original.parent) for file in files)
    return {relative(file, original.parent): sha256(file) for file in files}


def _note(original: Path, entry: Entry) -> None:
    if entry != _NOTHING:
        write_entry(original.parent, original.name, entry)


def protect(original: Path) -> None:
    """Take the permission to write from an original's files; where they are somebody else's, they are left as is.

    The folder of an `.mlpackage` stays writable, so that a clone can be deleted; a file added to it is found by
    `verify`. Where nothing can be written at all, there is nothing to protect from.
    """
    for path in files_below(original)[0]:
        mode = path.stat().st_mode
        writable = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
        if mode & writable:
            with contextlib.suppress(OSError):
                path.chmod(mode & ~writable)


def replace_original(
    original: Path, new: Path, preserve: Preserve, entry: Entry = _NOTHING, find: Find | None = None
) -> str:
    """Put a new original in the place of a locked one, after the bytes from before are kept elsewhere.

    Whenever this is interrupted, the folder has the old original or the new one, or `verify` says what was going on
    and `lock_original` brings it to its end.

    Args:
        original: locked, and unchanged; or not there any more, if `find` knows where its bytes are kept.
        new: the new original, anywhere. It is copied.
        preserve: keeps the bytes of an original elsewhere, for good, and returns in words where.
        entry: what the index is to say of the new one; nothing of what it said before holds for it.
        find: returns in words where the locked bytes of an original are kept already; None if they are not.

    Returns:
        In words, where the bytes from before are kept; empty if the new ones are the same, and nothing was done.

    Raises:
        RequantError: if the original is not locked, its locked bytes are neither there nor kept, it would be lost what
            is there now, or the new one can't be preserved.
    """
    folder, name = original.parent, original.name
    _require_alike(original, new)
    after = {_renamed(file, new, original): digest for file, digest in _digests_of(new).items()}
    read_index(folder)
    with only_writer(folder):
        finish(folder)
        lock = read_lock(folder)
        before = {name: lock.digests[name] for name in lock.names_of(original)}
        if not before:
            raise RequantError(
                f"{original} is not locked: there is nothing to replace. Lock it: requant lock {original}"
            )
        problem = _problem_of(original, lock)
        if not problem and after == before:
            return ""
        require_tellable(after, (n for n in lock.digests if n not in before))
        kept = _kept_already(original, lock, problem, find) if problem else preserve(original, lock)
        stage(folder, name, new, after)
        begin(folder, Replacement(name, before, after, entry, kept))
        finish(folder)
    return kept


def _require_alike(original: Path, new: Path) -> None:
    _require_original(new)
    if new.suffix != original.suffix or (original.exists() and new.is_dir() != original.is_dir()):
        raise RequantError(f"{new} is of another kind than {original}. Give it a new name, and lock that.")


def _renamed(name: str, new: Path, original: Path) -> str:
    """Return the name that a file of the new original has in the place of the old one."""
    return original.name + name.removeprefix(new.name)


def _problem_of(original: Path, lock: Lock) -> str:
    try:
        verify(original, lock)
    except RequantError as error:
        return str(error)
    return ""


def _kept_already(original: Path, lock: Lock, problem: str, find: Find | None) -> str:
    """Return where the locked bytes of an original are kept that are not in its place any more."""
    kept = find(original, lock) if find else None
    if kept is None:
        raise RequantError(
            f"{problem}\nThe original that was locked as {original.name} is not in this folder any more, nor in the "
            "archive: to replace it would be to lose it. Restore it, or lock the new model under a new name. If it is "
            f"lost for good, take its lines out of {lock.folder / LOCK_NAME} yourself."
        )
    if os.path.lexists(original):
        raise RequantError(
            f"{problem}\nThe original that was locked as {original.name} is kept: {kept}. But what is in its place now "
            f"is kept nowhere. Move it out of the folder, then: requant lock --replace {original} --with THAT"
        )
    return kept
