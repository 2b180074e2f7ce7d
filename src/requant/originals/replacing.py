"""Putting another original in the place of one whose bytes are kept elsewhere, so that no crash leaves a riddle.

The new files are laid out beside the original first, in the folder `.replacing`. Then a plan is written there, whole;
from then on the replacement is to be finished, by whoever comes next. `finish` does, and can be interrupted and called
again at any moment: before the plan is written, all is as it was; once it is gone, all is as it is meant to be; in
between, `interrupted` tells what is going on.
"""

from __future__ import annotations

import datetime
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from requant.errors import RequantError
from requant.originals.index import Entry, write_entry
from requant.originals.lock_file import Lock, read_lock, write_lock
from requant.originals.reading import files_below, sha256
from requant.records import flush, read_record, write_whole

_FOLDER = ".replacing"
_PLAN, _NEW, _OLD = "plan.json", "new", "old"
_READ_ONLY = 0o444


@dataclass(frozen=True)
class Replacement:
    """A replacement that was begun.

    Attributes:
        name: of the original.
        before: the digests of its files, by name; they are kept elsewhere.
        after: those of its new files.
        entry: what the index is to say.
        kept: in words, where the files from before are kept.
    """

    name: str
    before: dict[str, str]
    after: dict[str, str]
    entry: Entry
    kept: str

    def in_words(self, folder: Path) -> str:
        """Return what is going on and what to do, for somebody who finds the folder so."""
        path = folder / self.name
        return (
            f"The replacement of {path} was interrupted. What it was before is kept: {self.kept}. Finish it with: "
            f"requant lock {path}"
        )


def stage(folder: Path, name: str, new: Path, digests: Mapping[str, str]) -> None:
    """Copy the files of a new original beside its place, read-only.

    Args:
        folder: of the original.
        name: of the original.
        new: the new one, a file or a folder.
        digests: of its files, by the names that they will have.

    Raises:
        RequantError: if it is not these files any more, or they can't be copied.
    """
    discard(folder)
    place = folder / _FOLDER / _NEW / name
    copied = {}
    try:
        for file in files_below(new)[0]:
            copy = place / file.relative_to(new)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
            copy.chmod(_READ_ONLY)
            flush(copy)
            copied[copy.relative_to(folder / _FOLDER / _NEW).as_posix()] = sha256(copy)
    except OSError as error:
        raise RequantError(f"{new} can't be copied to {folder}: {error.strerror or error}.") from error
    if copied != digests:
        raise RequantError(f"{new} changed while it was copied. Wait until nothing writes to it, and try again.")


def begin(folder: Path, replacement: Replacement) -> None:
    """Write down a replacement whose new files are laid out; from here on, `finish` brings it to its end."""
    table = asdict(replacement)
    table["entry"]["locked"] = str(replacement.entry.locked or "")
    flush(folder / _FOLDER / _NEW)
    write_whole(folder / _FOLDER / _PLAN, json.dumps(table).encode(), durable=True)


def interrupted(folder: Path) -> Replacement | None:
    """Return the replacement that was begun in a folder and not finished, if there is one.

    Raises:
        RequantError: if what is written of it can't be read.
    """
    path = folder / _FOLDER / _PLAN
    if not path.exists():
        return None
    try:
        table: dict[str, Any] = read_record(path)
        locked = table["entry"]["locked"]
        table["entry"]["locked"] = datetime.date.fromisoformat(locked) if locked else None
        return Replacement(**{**table, "entry": Entry(**table["entry"])})
    except (KeyError, TypeError, ValueError) as error:
        raise RequantError(f"{path} is damaged: {error}. See what is in {path.parent}, and take it away.") from error


def finish(folder: Path) -> Replacement | None:
    """Bring a replacement that was begun to its end, wherever it stands, and return it; None if there is none.

    It is for the process that `only_writer` lets in.

    Raises:
        RequantError: if the original has neither the bytes from before nor the new ones.
    """
    begun = interrupted(folder)
    if begun is None:
        discard(folder)
        return None
    original, place = folder / begun.name, folder / _FOLDER / _NEW / begun.name
    if os.path.lexists(place):
        _require_kept(original, begun)
        if place.is_dir() and original.is_dir():
            original.replace(_emptied(folder / _FOLDER / _OLD) / begun.name)
        place.replace(original)
        flush(folder)
    lock = read_lock(folder)
    write_lock(Lock(folder, _replaced(lock.digests, begun)))
    write_entry(folder, begun.name, begun.entry)
    (folder / _FOLDER / _PLAN).unlink()
    discard(folder)
    return begun


def discard(folder: Path) -> None:
    """Take away what is left of a replacement that is over, or was never begun."""
    shutil.rmtree(folder / _FOLDER, ignore_errors=True)


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def _require_kept(original: Path, begun: Replacement) -> None:
    """Make sure that nothing is lost when an original is put away: it has the bytes that are kept, or is not there."""
    if not os.path.lexists(original):
        return
    files, problems = files_below(original)
    found = {file.relative_to(original.parent).as_posix(): sha256(file) for file in files}
    if problems or found not in (begun.before, begun.after):
        raise RequantError(
            f"{original} has other bytes than before its replacement was interrupted. Move it out of the folder; then "
            f"finish the replacement with: requant lock {original}"
        )


def _replaced(digests: dict[str, str], begun: Replacement) -> dict[str, str]:
    """Return the digests of a lock file with the new ones in the place of those from before."""
    result: dict[str, str] = {}
    for name, digest in digests.items():
        if name in begun.before or name in begun.after:
            result |= begun.after
        else:
            result[name] = digest
    return result | begun.after
