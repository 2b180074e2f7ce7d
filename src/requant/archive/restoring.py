"""Taking files out of an archive: the original back into a project, or the whole tree of a release."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from requant.archive.contents import Entry, read_release
from requant.archive.record import Release
from requant.archive.store import Store
from requant.errors import RequantError
from requant.originals import Entry as IndexEntry
from requant.originals import lock_original, read_index, read_lock, verify
from requant.records import read_record, write_whole

ORIGINAL = "original/"
DEFAULT_FOLDER = "models_original"


@dataclass(frozen=True)
class Restored:
    """What was restored: the files that were written, and those that were there with the same bytes."""

    written: tuple[Path, ...]
    there: tuple[Path, ...]


def restore_original(store: Store, entry: Entry, project: Path) -> tuple[Path, Restored]:
    """Put the original of a release back into a project: where it was, locked, read-only, with its entry in the index.

    Returns:
        The original, and what was done.

    Raises:
        RequantError: if other bytes are there or locked, or the archived ones are damaged; then nothing is written.
    """
    with store.reading():
        release, files = read_release(store, entry), store.files(entry.model, entry.number)
        folder = project / _folder_of_original(files.get("original.json"))
        original = folder / release.original.name
        digests = {file.path.removeprefix(ORIGINAL): file.sha256 for file in release.original.files}
        lock = read_lock(folder)
        locked = {name: lock.digests[name] for name in lock.names_of(original)}
        if locked and locked != digests:
            raise RequantError(
                f"{original} is locked with other bytes than {entry} has. Nothing was restored. Take the release out "
                "with --to FOLDER instead."
            )
        _require_no_others(original, {folder / name for name in digests})
        tree = {folder / name: files[ORIGINAL + name] for name in digests}
        restored = _put(tree, {folder / name: digest for name, digest in digests.items()})
    known = read_index(folder).get(original.name)
    lock_original(original, known or IndexEntry(release.original.origin, release.original.licence))
    verify(original, read_lock(folder))
    return original, restored


def restore_release(store: Store, entry: Entry, to: Path, schemes: Sequence[str] = ()) -> Restored:
    """Lay out the tree of a release in a folder.

    Args:
        store: of the archive.
        entry: the release.
        to: the folder; it may exist.
        schemes: of the variants to be restored; all of them if there are none.

    Raises:
        RequantError: if a file with other bytes is in the way, the archived ones are damaged, or the release has no
            such variant; then nothing is written.
    """
    with store.reading():
        release, files = read_release(store, entry), store.files(entry.model, entry.number)
        left_out = _left_out(release, schemes)
        inventory = store.inventory(entry.model)
        if inventory is None:
            raise RequantError(f"there is no {entry} in {store.archive}.")
        content = inventory.content(entry.number)
        tree = {to / path: where for path, where in files.items() if path not in left_out}
        digests = {to / path: inventory.fixity[content[path]] for path in files if path not in left_out}
        return _put(tree, digests)


def _folder_of_original(record: Path | None) -> Path:
    """Return the folder in the project that the original was in; the usual one if it was outside of the project."""
    if record is None:
        return Path(DEFAULT_FOLDER)
    folder = Path(read_record(record)["original"]).parent
    return Path(DEFAULT_FOLDER) if folder.is_absolute() or ".." in folder.parts else folder


def _left_out(release: Release, schemes: Sequence[str]) -> set[str]:
    known = [made.scheme for made in release.variants]
    unknown = [scheme for scheme in schemes if scheme not in known]
    if unknown:
        raise RequantError(
            f"{release.model}@{release.name} has no variant {unknown[0]}; it has {', '.join(known) or 'none'}."
        )
    made = [made for made in release.variants if schemes and made.scheme not in schemes]
    return {file.path for each in made for file in (each.model, each.audit, each.evaluation) if file}


def _require_no_others(original: Path, expected: set[Path]) -> None:
    """Make sure that nothing is in the folder of an original that the release does not have."""
    found = {path for path in original.rglob("*") if not path.is_dir()} if original.is_dir() else set()
    others = sorted(path for path in found - expected if path.name not in (".DS_Store", ".snakemake_timestamp"))
    if others:
        raise RequantError(f"{others[0]} is no file of the archived original. Move it away; nothing was restored.")


def _put(tree: Mapping[Path, Path], digests: Mapping[Path, str]) -> Restored:
    """Copy files, each whole; first make sure that none is in the way, and that all have the right bytes.

    Args:
        tree: where the bytes are, by the path that a file gets.
        digests: its SHA-256.
    """
    there = [target for target in tree if os.path.lexists(target)]
    for target in there:
        if not target.is_file() or _digest(target) != digests[target]:
            raise RequantError(f"{target} is there with other bytes. Move it away, or choose another folder with --to.")
    missing = [target for target in tree if target not in there]
    for target in missing:
        parent = next(folder for folder in target.parents if os.path.lexists(folder))
        if not parent.is_dir():
            raise RequantError(f"{parent} is a file, but {target} has to go into a folder there. Move it away.")
        _require_sound(tree[target], digests[target])
    for target in missing:
        data = tree[target].read_bytes()
        if hashlib.sha256(data).hexdigest() != digests[target]:
            raise _damaged(tree[target])
        write_whole(target, data)
    return Restored(tuple(missing), tuple(there))


def _require_sound(path: Path, digest: str) -> None:
    if not path.is_file() or _digest(path) != digest:
        raise _damaged(path)


def _damaged(path: Path) -> RequantError:
    return RequantError(
        f"{path} is damaged or missing in the archive. Nothing was restored. Try: requant archive repair"
    )


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise RequantError(f"{path} can't be read: {error.strerror or error}.") from error
