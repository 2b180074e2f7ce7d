"""Proving an archive: every byte has its digests, every release is whole, and nothing is there that does not belong."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from requant.archive.bill_of_materials import NAME as BILL
from requant.archive.contents import ORIGINALS, RECORD, Entry, entries, read_release
from requant.archive.crate import NAME as CRATE
from requant.archive.inventory import NAME, SIDECAR, Inventory, read_inventory, sidecar
from requant.archive.store import DECLARATION, LAYOUT_NAME, ROOT_DECLARATION, Store, digests_of
from requant.errors import RequantError

DESCRIPTIONS = (RECORD, BILL, CRATE)  # of a release, made of its record
Kind = Literal["damaged", "missing", "extra"]
Progress = Callable[[int, int], None]
_IGNORED = {".DS_Store"}  # what the Finder leaves in folders


@dataclass(frozen=True)
class Finding:
    """What is wrong with an archive.

    Attributes:
        kind: whether something is damaged, missing, or does not belong there.
        path: the file or folder, relative to the archive; for what a release lacks, the release.
        words: what is wrong.
        object: the id of the object that it is in; empty if it is in none.
        where: the file in the object; empty if it is no file of it.
    """

    kind: Kind
    path: str
    words: str
    object: str = ""
    where: str = ""

    def __str__(self) -> str:
        """Return it for people."""
        return f"{self.kind}: {self.path}: {self.words}"


def verify_archive(store: Store, progress: Progress = lambda _done, _all: None) -> list[Finding]:
    """Return all that is wrong with an archive; nothing if all is well.

    Args:
        store: of the archive.
        progress: called now and then with the bytes that were read, and all that are to be read.

    Raises:
        RequantError: if there is no archive.
    """
    store.require()
    with store.reading():
        identifiers = store.ids()
        findings = list(_root(store))
        contents: list[tuple[str, Inventory]] = []
        for identifier in identifiers:
            inventory, found = _object(store, identifier)
            findings += found
            if inventory:
                contents.append((identifier, inventory))
        findings += _contents(store, contents, progress)
        for identifier, _ in contents:
            findings += _releases(store, identifier)
        return findings + list(_receipts(store, {identifier for identifier, _ in contents}))


def _root(store: Store) -> Iterator[Finding]:
    """Find what is wrong in the storage root itself."""
    path = store.root / ROOT_DECLARATION[0]
    if not path.is_file():
        yield Finding("missing", _shown(store, path), "it says that this is a storage root of OCFL 1.1")
    elif path.read_bytes() != ROOT_DECLARATION[1]:
        yield Finding("damaged", _shown(store, path), "it says something else than a storage root of OCFL 1.1 has")
    for entry in sorted(os.scandir(store.root), key=lambda entry: entry.name):
        known = (ROOT_DECLARATION[0], LAYOUT_NAME, *_IGNORED)
        if not entry.is_dir(follow_symlinks=False) and entry.name not in known:
            yield Finding("extra", _shown(store, Path(entry.path)), "it is no object")


def _object(store: Store, identifier: str) -> tuple[Inventory | None, list[Finding]]:
    """Return the inventory of an object, if it is sound, and what is wrong but for the content's digests."""
    folder = store.folder(identifier)
    findings: list[Finding] = []
    try:
        inventory = store.inventory(identifier)
    except RequantError as error:
        kind: Kind = "damaged" if (folder / NAME).exists() else "missing"
        return None, [Finding(kind, _shown(store, folder / NAME), str(error), identifier, NAME)]
    if inventory is None:
        return None, []
    expected = {DECLARATION[0]: DECLARATION[1], SIDECAR: sidecar((folder / NAME).read_bytes())}
    for where, data in expected.items():
        findings += _exact(store, identifier, where, data)
    for number in range(1, len(inventory.versions) + 1):
        findings += _version(store, identifier, inventory, number)
    names = [f"v{number}" for number in range(1, len(inventory.versions) + 1)]
    known = {NAME, *expected, *inventory.manifest, *(f"{v}/{file}" for v in names for file in (NAME, SIDECAR))}
    for path in sorted(folder.rglob("*")):
        where = path.relative_to(folder).as_posix()
        if path.is_symlink():
            findings.append(Finding("extra", _shown(store, path), "it is a symbolic link; the archive has none"))
        elif not path.is_dir() and where not in known and path.name not in _IGNORED:
            findings.append(Finding("extra", _shown(store, path), "no version has it"))
    return inventory, findings


def _exact(store: Store, identifier: str, where: str, data: bytes) -> Iterator[Finding]:
    path = store.folder(identifier) / where
    if not path.is_file():
        yield Finding("missing", _shown(store, path), "an object of OCFL has it", identifier, where)
    elif path.read_bytes() != data:
        yield Finding("damaged", _shown(store, path), "it has other bytes than it has to have", identifier, where)


def _version(store: Store, identifier: str, inventory: Inventory, number: int) -> Iterator[Finding]:
    """Find what is wrong with the inventory in a version's folder: it has to say what the newest one says."""
    where = f"v{number}/{NAME}"
    path = store.folder(identifier) / where
    if not path.is_file():
        yield Finding("missing", _shown(store, path), "a version has it", identifier, where)
        return
    data = path.read_bytes()
    try:
        fits = read_inventory(data, str(path)) == until(inventory, number)
    except RequantError as error:
        yield Finding("damaged", _shown(store, path), str(error), identifier, where)
        return
    if not fits or (number == len(inventory.versions) and data != inventory.to_bytes()):
        yield Finding("damaged", _shown(store, path), "it differs from the object's inventory", identifier, where)
        return
    yield from _exact(store, identifier, f"v{number}/{SIDECAR}", sidecar(data))


def until(inventory: Inventory, number: int) -> Inventory:
    """Return an inventory as it was when it had a number of versions."""
    names = {f"v{each}" for each in range(1, number + 1)}
    manifest, fixity = (
        {path: digest for path, digest in table.items() if path.partition("/")[0] in names}
        for table in (inventory.manifest, inventory.fixity)
    )
    return Inventory(inventory.id, inventory.versions[:number], manifest, fixity)


def _contents(store: Store, objects: list[tuple[str, Inventory]], progress: Progress) -> list[Finding]:
    """Find stored files that are missing, or have other digests than the inventory says."""
    files = [(identifier, where, inventory) for identifier, inventory in objects for where in inventory.manifest]
    sizes = [_size(store.folder(identifier) / where) for identifier, where, _ in files]
    done, lock = 0, threading.Lock()

    def check(number: int) -> Finding | None:
        nonlocal done
        identifier, where, inventory = files[number]
        finding = _content(store, identifier, where, inventory)
        with lock:
            done += sizes[number]
            progress(done, sum(sizes))
        return finding

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [finding for finding in pool.map(check, range(len(files))) if finding]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _content(store: Store, identifier: str, where: str, inventory: Inventory) -> Finding | None:
    path = store.folder(identifier) / where
    if not path.is_file():
        return Finding("missing", _shown(store, path), _readers(inventory, where), identifier, where)
    try:
        sha512, sha256 = digests_of(path)
    except RequantError as error:
        return Finding("damaged", _shown(store, path), str(error), identifier, where)
    if (sha512, sha256) != (inventory.manifest[where], inventory.fixity[where]):
        words = f"its digests are not those of the inventory; {_readers(inventory, where)}"
        return Finding("damaged", _shown(store, path), words, identifier, where)
    return None


def _readers(inventory: Inventory, where: str) -> str:
    """Return in words which releases have a stored file."""
    digest = inventory.manifest[where]
    names = [version.message for version in inventory.versions if digest in version.state.values()]
    return f"it is in: {', '.join(names)}"


def _releases(store: Store, identifier: str) -> Iterator[Finding]:
    """Find releases that are not whole: their record names every file, with its SHA-256."""
    seen = set()
    for entry in entries(store, identifier) if identifier != ORIGINALS else ():
        if entry.release in seen:
            yield Finding("damaged", str(entry), "there are two releases of this name")
        seen.add(entry.release)
        try:
            yield from _release(store, entry)
        except RequantError as error:
            yield Finding("damaged", str(entry), str(error))


def _release(store: Store, entry: Entry) -> Iterator[Finding]:
    inventory, release = store.inventory(entry.model), read_release(store, entry)
    if inventory is None:
        return
    content = inventory.content(entry.number)
    for file in release.files:
        if file.path not in content:
            yield Finding("missing", f"{entry}: {file.path}", "the record names it, but the version does not have it")
        elif inventory.fixity[content[file.path]] != file.sha256:
            yield Finding("damaged", f"{entry}: {file.path}", "the record names other bytes than the version has")
    for path in sorted(content.keys() - {file.path for file in release.files} - set(DESCRIPTIONS)):
        yield Finding("extra", f"{entry}: {path}", "the record does not name it")
    for path in DESCRIPTIONS:
        if path not in content:
            yield Finding("missing", f"{entry}: {path}", "every release has it")
    if not release.original.files:
        yield Finding("missing", f"{entry}: original", "a release has its original")


def _receipts(store: Store, sound: set[str]) -> Iterator[Finding]:
    """Find receipts of releases that are not there."""
    for path in sorted((store.archive / "releases").glob("*/*.json")):
        model = path.parent.name
        if model not in sound:
            continue
        inventory = store.inventory(model)
        states = [version.state for version in inventory.versions] if inventory else []
        try:
            digest = json.loads(path.read_bytes())["sha512"]
        except (ValueError, KeyError, TypeError, OSError):
            yield Finding("damaged", _shown(store, path), "it is no receipt; delete it, and run: snakemake archive")
            continue
        if not any(state.get(RECORD) == digest for state in states):
            yield Finding("extra", _shown(store, path), "it is the receipt of a release that is not there")


def _shown(store: Store, path: Path) -> str:
    return path.relative_to(store.archive).as_posix()
