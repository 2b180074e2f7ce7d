"""Removing releases from an archive. The last copy of an original is kept, unless it is asked for its removal too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from requant.archive.contents import ORIGINALS, Entry, entries, find, read_release
from requant.archive.originals import add_original
from requant.archive.restoring import ORIGINAL
from requant.archive.store import Source, Store
from requant.errors import RequantError


@dataclass(frozen=True)
class Removal:
    """What is removed: releases, and the originals, by name, of which no other release has a copy."""

    releases: tuple[Entry, ...]
    last_originals: tuple[tuple[Entry, str], ...]


def plan_removal(store: Store, names: Sequence[str], keep: int | None) -> Removal:
    """Return what is to be removed.

    Args:
        store: of the archive.
        names: of releases, as `MODEL@RELEASE`.
        keep: of each model, so many newest releases stay; None for those that are not named.

    Raises:
        RequantError: if there is no such release, a name is that of a model alone, or nothing is asked for.
    """
    if not names and keep is None:
        raise RequantError("say what to remove: releases as MODEL@RELEASE, or all but the newest with --keep N.")
    if keep is not None and keep < 1:
        raise RequantError("--keep wants a number of at least 1; remove a last release by its name.")
    for name in names:
        if "@" not in name:
            raise RequantError(f"{name} names no release. Write MODEL@RELEASE.")
    removed = [find(store, name) for name in names]
    if keep is not None:
        for model in dict.fromkeys(entry.model for entry in entries(store)):
            removed += [entry for entry in entries(store, model)[:-keep] if entry not in removed]
    return Removal(tuple(removed), tuple(_last_originals(store, removed)))


def prune(store: Store, removal: Removal, *, originals_too: bool = False) -> None:
    """Remove releases and their receipts; first, the last copies of originals are put aside in the archive.

    Whenever it is interrupted, the archive is valid, and doing it again ends the same.

    Args:
        store: of the archive.
        removal: what `plan_removal` gave.
        originals_too: whether the last copies of originals are to go as well.

    Raises:
        RequantError: if a file that stays, or an original to be put aside, is damaged: then nothing of that model is
            removed.
    """
    with store.writing():
        releases = [each for each in removal.releases if each in entries(store, each.model)]
        if set(releases) != set(removal.releases):
            raise RequantError("the archive has changed since it was planned what to remove. Try again.")
        for entry, name in () if originals_too else _last_originals(store, releases):
            add_original(store, name, _original_files(store, entry))
        for model in dict.fromkeys(entry.model for entry in releases):
            gone = {entry.number for entry in releases if entry.model == model}
            numbers = [entry.number for entry in entries(store, model) if entry.number not in gone]
            for entry in releases:
                if entry.model == model:
                    (store.archive / "releases" / model / f"{entry.release}.json").unlink(missing_ok=True)
            store.keep_versions(model, numbers)


def _last_originals(store: Store, removed: Sequence[Entry]) -> Iterator[tuple[Entry, str]]:
    """Return which originals would have no copy any more, each with a release that has it."""
    kept = {_digests(store, entry) for entry in entries(store) if entry not in removed} | set(_put_aside(store))
    for entry in removed:
        digests = _digests(store, entry)
        if digests not in kept:
            kept.add(digests)
            yield entry, read_release(store, entry).original.name


def _digests(store: Store, entry: Entry) -> frozenset[tuple[str, str]]:
    files = read_release(store, entry).original.files
    return frozenset((file.path.removeprefix(ORIGINAL), file.sha256) for file in files)


def _put_aside(store: Store) -> Iterator[frozenset[tuple[str, str]]]:
    inventory = store.inventory(ORIGINALS)
    for number in range(1, len(inventory.versions) + 1 if inventory else 0):
        if inventory:
            yield frozenset((path, inventory.fixity[where]) for path, where in inventory.content(number).items())


def _original_files(store: Store, entry: Entry) -> dict[str, Source]:
    stored, release = store.files(entry.model, entry.number), read_release(store, entry)
    files = release.original.files
    return {file.path.removeprefix(ORIGINAL): Source(stored[file.path], file.sha256) for file in files}
