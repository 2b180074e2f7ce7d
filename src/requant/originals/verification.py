"""An original against its lock: unchanged, whole, and nothing beside it in its folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from requant.errors import RequantError
from requant.originals.index import INDEX_NAME, Entry, read_index, unknown_entries
from requant.originals.lock_file import LOCK_NAME, Lock, clashes, locked_originals, original_of, read_lock, relative
from requant.originals.reading import Advance, files_below, not_a_file, sha256, unreadable
from requant.originals.replacing import interrupted

_HOW_TO_LOCK = "requant lock {path}"
_BESIDE = frozenset({LOCK_NAME, INDEX_NAME, "README.md", "LICENSE"})  # what a folder of originals has beside them
_RESTORE = "Restore it from a backup or from version control."


@dataclass(frozen=True)
class Finding:
    """What the check of one original found.

    Attributes:
        original: its path.
        files: how many it has.
        size: of them all, in bytes.
        problems: everything that is wrong, a message each; none for an original that is unchanged.
        entry: what the index says of it.
    """

    original: Path
    files: int
    size: int
    problems: tuple[str, ...]
    entry: Entry


@dataclass(frozen=True)
class Findings:
    """What the check of originals found.

    Attributes:
        originals: one finding each.
        problems: what is wrong beside them, as an index that can't be read.
        notices: what is worth knowing and no error, as a file that is not locked.
    """

    originals: tuple[Finding, ...]
    problems: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def all_problems(self) -> list[str]:
        """Everything that is wrong."""
        return [problem for finding in self.originals for problem in finding.problems] + list(self.problems)


def require_locked(original: Path, lock: Lock) -> None:
    """Make sure that an original is there and has a line in the lock file; its bytes are not looked at.

    Raises:
        RequantError: if it is missing or unlocked, saying what to do.
    """
    locked = lock.names_of(original)
    if not original.exists():
        if locked:
            problem = f"{original} is missing, but locked in {lock.folder / LOCK_NAME}. {_RESTORE}"
            raise RequantError(_explained(problem, original, lock))
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
        RequantError: if files are changed, missing, extra, unreadable or links, saying which, what was expected, what
            was found and what to do.
    """
    require_locked(original, lock)
    names = lock.names_of(original)
    changed = (_problem(lock.folder / name, lock.digests[name]) for name in names)
    problems = list(dict.fromkeys([*_other_files(original, lock), *filter(None, changed)]))
    if problems:
        raise RequantError(_explained("\n".join(problems), original, lock))
    return {
        "original": original.as_posix(),
        "bytes": sum((lock.folder / name).stat().st_size for name in names),
        "sha256": {name: lock.digests[name] for name in names},
    }


def verify_all(
    folder: Path, originals: Sequence[Path] = (), advance: Advance | None = None, threads: int | None = None
) -> Findings:
    """Check originals against their locks, as many files at a time as there are processors.

    Args:
        folder: whose locked originals are checked, and whose index and other files are looked at.
        originals: to check these instead, wherever they are.
        advance: is told how many bytes were read, by any of the threads.
        threads: how many files are read at a time.

    Returns:
        All that is wrong, not only the first of it.

    Raises:
        RequantError: if there is nothing to check, or a lock file can't be read.
    """
    lock = read_lock(folder)
    beside = Findings(()) if originals else _beside(folder, lock)
    wanted = [(o, read_lock(o.parent)) for o in dict.fromkeys(originals)] or [(o, lock) for o in locked_originals(lock)]
    files = [
        (original, path, held.digests[name])
        for original, held in wanted
        for name, path in zip(held.names_of(original), held.files_of(original), strict=True)
    ]
    files.sort(key=lambda file: -_size(file[1]))  # the largest first, so that it is not the last that all wait for
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        problems = list(pool.map(lambda file: _problem(file[1], file[2], advance), files))
    changed: dict[Path, list[str]] = {original: [] for original, _ in wanted}
    for (original, _, _), problem in zip(files, problems, strict=True):
        changed[original] += [problem] if problem else []
    findings = [_finding(original, held, sorted(changed[original])) for original, held in wanted]
    return Findings(tuple(findings), beside.problems, beside.notices)


def bytes_of(folder: Path, originals: Sequence[Path] = ()) -> int:
    """Return how many bytes `verify_all` reads."""
    lock = read_lock(folder)
    wanted = [(o, read_lock(o.parent)) for o in dict.fromkeys(originals)] or [(o, lock) for o in locked_originals(lock)]
    return sum(_size(path) for original, held in wanted for path in held.files_of(original))


def _finding(original: Path, lock: Lock, changed: list[str]) -> Finding:
    problems = dict.fromkeys([*_unlocked(original, lock), *_other_files(original, lock), *changed])
    return Finding(
        original,
        len(lock.names_of(original)),
        sum(map(_size, lock.files_of(original))),
        tuple(_explained(problem, original, lock) for problem in problems),
        _entry_of(original, lock),
    )


def _unlocked(original: Path, lock: Lock) -> list[str]:
    """Return why an original can't be checked, if nothing of it is locked."""
    try:
        if not lock.names_of(original):
            require_locked(original, lock)
    except RequantError as error:
        return [str(error)]
    return []


def _explained(problem: str, original: Path, lock: Lock) -> str:
    """Return a problem, with the reason where a replacement of the original was interrupted."""
    begun = interrupted(lock.folder)
    return f"{problem}\n{begun.in_words(lock.folder)}" if begun and lock.folder / begun.name == original else problem


def _entry_of(original: Path, lock: Lock) -> Entry:
    try:
        return read_index(lock.folder).get(relative(original, lock.folder), Entry())
    except RequantError:  # told once, for the folder
        return Entry()


def _beside(folder: Path, lock: Lock) -> Findings:
    """Return what there is to say of a folder apart from its originals.

    Raises:
        RequantError: if it does not exist, or nothing in it is locked.
    """
    if not folder.is_dir():
        raise RequantError(
            f"{folder} is no folder. Name the one that the originals are in: requant verify --folder FOLDER"
        )
    if not lock.digests:
        raise RequantError(
            f"nothing is locked in {folder}. Lock an original with: {_HOW_TO_LOCK.format(path=folder / 'FILE')}"
        )
    problems = []
    try:
        problems += unknown_entries(read_index(folder), locked_originals(lock), folder)
    except RequantError as error:
        problems.append(str(error))
    begun = interrupted(folder)
    if begun:
        problems.append(begun.in_words(folder))
    notices = [
        f"{one} and {other} differ in nothing but capitals or accents: the disk of a Mac can't hold both."
        for one, other in clashes(lock.digests)
    ]
    known = {original_of(name) for name in lock.digests} | {name.partition("/")[0] for name in lock.digests}
    others = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    notices += [
        f"{folder / name} is not locked. If it is an original: {_HOW_TO_LOCK.format(path=folder / name)}"
        for name in others
        if name not in known and name not in _BESIDE
    ]
    return Findings((), tuple(problems), tuple(notices))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _other_files(original: Path, lock: Lock) -> list[str]:
    """Return what is wrong with an original apart from the bytes of its locked files: links, files that are extra."""
    if not os.path.lexists(original):
        return []
    files, problems = files_below(original)
    extra = sorted({relative(file, lock.folder) for file in files} - set(lock.names_of(original)))
    return problems + [
        f"{lock.folder / name} is not locked, though {original} is. Remove it if it does not belong to the model; if "
        "the model is a new one, lock it under a new name."
        for name in extra
    ]


def _problem(path: Path, expected: str, advance: Advance | None = None) -> str:
    """Return what is wrong with the bytes of a locked file; nothing if they are the ones that were locked."""
    try:
        if strange := not_a_file(path):
            return strange
        found = sha256(path, advance)
    except (FileNotFoundError, NotADirectoryError):
        return f"{path} is missing, but locked. {_RESTORE}"
    except OSError as error:
        return unreadable(path, error)
    except RequantError as error:
        return str(error)
    if found == expected:
        return ""
    return (
        f"{path} has changed since it was locked.\n"
        f"  expected SHA-256: {expected}\n"
        f"  found SHA-256:    {found}\n"
        "Restore the original from a backup or from version control. If this is a new model, give it a new name "
        f"and lock that: {_HOW_TO_LOCK.format(path='FILE')}"
    )


def require_unchanged(original: Path, record: Mapping[str, Any]) -> None:
    """Make sure that an original still has the bytes that its record, made by `verify`, names.

    Raises:
        RequantError: if files have other bytes now.
    """
    digests: dict[str, str] = record["sha256"]
    paths = {original.parent / name: digest for name, digest in digests.items()}
    problems = [_problem(path, digest) for path, digest in paths.items()]
    if any(problems):
        raise RequantError("\n".join(filter(None, problems)))
