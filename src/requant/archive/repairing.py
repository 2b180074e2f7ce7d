"""Repairing an archive: what is damaged or missing is replaced by equal bytes from elsewhere, or by making it again."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from requant.archive.bill_of_materials import NAME as BILL
from requant.archive.bill_of_materials import bill_of_materials
from requant.archive.contents import ORIGINALS, Entry, entries, read_release
from requant.archive.crate import NAME as CRATE
from requant.archive.crate import crate_metadata
from requant.archive.inventory import NAME, SIDECAR, Inventory, read_inventory, sidecar
from requant.archive.rebuilding import lay_out_sources, make
from requant.archive.record import Release
from requant.archive.store import DECLARATION, ROOT_DECLARATION, Store, digests_of
from requant.archive.verifying import Finding, Progress, until, verify_archive
from requant.errors import RequantError
from requant.records import write_whole

_READ_ONLY = 0o444


def repair(
    store: Store, folders: Sequence[Path], progress: Progress = lambda _done, _all: None
) -> tuple[list[str], list[Finding]]:
    """Repair what can be repaired.

    Functions of the user's that were archived are run, where a variant has to be made again.

    Args:
        store: of the archive.
        folders: where equal bytes may be, as `results` and `models_original`.
        progress: as for `verify_archive`.

    Returns:
        What was done, in words, and what is still wrong.
    """
    done: list[str] = []
    findings = verify_archive(store, progress)
    done += _root_declaration(store)
    with store.writing():
        done += list(_structure(store, findings))
    if done:  # only now is it known what else there is
        findings = verify_archive(store)
    damaged = [finding for finding in findings if finding.where and "/content/" in finding.where]
    if damaged:
        with store.writing():
            done += list(_contents(store, damaged, folders))
    return done, verify_archive(store, progress) if findings or done else []


def _root_declaration(store: Store) -> list[str]:
    """Write the declaration of the storage root anew, if it is one: all folders in it are objects."""
    path = store.root / ROOT_DECLARATION[0]
    if path.is_file() and path.read_bytes() == ROOT_DECLARATION[1]:
        return []
    if not all((store.folder(identifier) / DECLARATION[0]).is_file() for identifier in store.ids()):
        return []
    _write(path, ROOT_DECLARATION[1])
    return [f"{path}: written anew"]


def _structure(store: Store, findings: Sequence[Finding]) -> Iterator[str]:
    """Repair declarations and inventories, which can be told from each other."""
    for identifier in dict.fromkeys(finding.object for finding in findings if finding.object):
        folder = store.folder(identifier)
        broken = {finding.where for finding in findings if finding.object == identifier}
        if NAME in broken:
            copy = _newest_copy(folder)
            if copy is None:
                continue
            _write(folder / NAME, copy.to_bytes())
            _write(folder / SIDECAR, sidecar(copy.to_bytes()))
            yield f"{folder / NAME}: copied from {copy.head}"
            continue
        inventory = store.inventory(identifier)
        for where in sorted(broken):
            if inventory and "/content/" not in where and _rewrite(folder, where, inventory):
                yield f"{folder / where}: written anew"


def _newest_copy(folder: Path) -> Inventory | None:
    """Return the inventory in the newest version's folder, if it is sound."""
    numbers = [int(path.name[1:]) for path in folder.glob("v*") if path.name[1:].isdigit()]
    path = folder / f"v{max(numbers, default=0)}"
    with suppress(OSError, RequantError):
        data = (path / NAME).read_bytes()
        if (path / SIDECAR).read_bytes() == sidecar(data):
            inventory = read_inventory(data, str(path / NAME))
            if inventory.head == path.name and inventory.id == folder.name:
                return inventory
    return None


def _rewrite(folder: Path, where: str, inventory: Inventory) -> bool:
    """Write a declaration, or the inventory of a version or its digest, as the object's inventory has it."""
    version, _, name = where.rpartition("/")
    number = int(version[1:]) if version else len(inventory.versions)
    data = until(inventory, number).to_bytes()
    contents = {DECLARATION[0]: DECLARATION[1], NAME: data, SIDECAR: sidecar(data)}
    if name not in contents or (number == len(inventory.versions) and data != (folder / NAME).read_bytes()):
        return False
    _write(folder / where, contents[name])
    return True


def _write(path: Path, data: bytes) -> None:
    write_whole(path, data)
    path.chmod(_READ_ONLY)


def _contents(store: Store, damaged: Sequence[Finding], folders: Sequence[Path]) -> Iterator[str]:
    """Replace stored files that are damaged: by copies from elsewhere, then by descriptions and models made again."""
    wanted = {}
    for finding in damaged:
        inventory = store.inventory(finding.object)
        if inventory:
            wanted[finding.object, finding.where] = inventory.fixity[finding.where]
    for (identifier, where), sha256 in list(wanted.items()):
        size = _known_size(store, identifier, where)
        broken = {store.folder(i) / w for i, w in wanted}
        for path in _candidates(store, sha256, size, folders):
            if path not in broken and _replaced(store, identifier, where, path):
                del wanted[identifier, where]
                yield f"{store.folder(identifier) / where}: replaced by the same bytes from {path}"
                break
    for identifier, where in wanted:
        how = _made_again(store, identifier, where)
        if how:
            yield f"{store.folder(identifier) / where}: {how}"


def _replaced(store: Store, identifier: str, where: str, path: Path) -> bool:
    with suppress(RequantError):
        store.replace_content(identifier, where, path)
        return True
    return False


def _known_size(store: Store, identifier: str, where: str) -> int | None:
    """Return the size that a stored file has to have, where a record tells."""
    inventory = store.inventory(identifier)
    for entry in entries(store, identifier) if inventory and identifier != ORIGINALS else ():
        with suppress(RequantError):
            content = inventory.content(entry.number) if inventory else {}
            for file in read_release(store, entry).files:
                if content.get(file.path) == where:
                    return file.bytes
    return None


def _candidates(store: Store, sha256: str, size: int | None, folders: Sequence[Path]) -> Iterator[Path]:
    """Return files that have, or may have, the bytes with a digest: of the archive, then elsewhere."""
    for identifier in store.ids():
        with suppress(RequantError):
            inventory = store.inventory(identifier)
            found = [where for where, each in inventory.fixity.items() if each == sha256] if inventory else []
            yield from (store.folder(identifier) / where for where in found)
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            with suppress(OSError, RequantError):
                if path.is_file() and size in (None, path.stat().st_size) and digests_of(path)[1] == sha256:
                    yield path


def _made_again(store: Store, identifier: str, where: str) -> str:
    """Make a stored file again from what else is in a release that has it; return how, empty if it can't be."""
    inventory = store.inventory(identifier)
    for entry in entries(store, identifier) if inventory and identifier != ORIGINALS else ():
        content = inventory.content(entry.number) if inventory else {}
        for path in (path for path, each in content.items() if each == where):
            with tempfile.TemporaryDirectory(prefix="requant-") as scratch, suppress(RequantError):
                made = _again(store, entry, path, Path(scratch))
                if made and _replaced(store, identifier, where, made):
                    return f"made again as {path} of {entry}"
    return ""


def _again(store: Store, entry: Entry, path: str, scratch: Path) -> Path | None:
    """Make a file of a release again; None if it is of no kind that can be."""
    release = read_release(store, entry)
    described: dict[str, Callable[[Release], bytes]] = {BILL: bill_of_materials, CRATE: crate_metadata}
    if path in described:
        (scratch / path).write_bytes(described[path](release))
        return scratch / path
    made = next((each for each in (release.float_model, *release.variants) if each.model.path == path), None)
    if made is None:
        return None
    lay_out_sources(release, store.files(entry.model, entry.number), scratch)
    if made != release.float_model:
        make(release, release.float_model, scratch)
    return make(release, made, scratch)
