"""A release as one file, to be carried elsewhere: a zip of its tree, which is an RO-Crate, and back into an archive."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from requant.archive.bill_of_materials import NAME as BILL
from requant.archive.contents import RECORD, Entry, entries, message_of, parse_release
from requant.archive.crate import NAME as CRATE
from requant.archive.inventory import require_tree
from requant.archive.restoring import restore_release
from requant.archive.store import Source, Store
from requant.errors import RequantError
from requant.records import UNFINISHED, writing

_DATE = (1980, 1, 1, 0, 0, 0)  # the same release gives the same bytes
_LARGEST_RECORD = 100_000_000  # bytes; no release.json is as large


def carry_out(store: Store, entry: Entry, path: Path) -> None:
    """Write a release as a zip, whole; the same release gives the same bytes.

    Raises:
        RequantError: if archived bytes are damaged, or the file can't be written.
    """
    with tempfile.TemporaryDirectory(prefix="requant-") as scratch, writing(path):
        tree = Path(scratch)
        restore_release(store, entry, tree)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{os.getpid()}{UNFINISHED}")
        try:
            with zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED) as target:
                for file in sorted(file for file in tree.rglob("*") if file.is_file()):
                    info = zipfile.ZipInfo(file.relative_to(tree).as_posix(), _DATE)
                    info.external_attr = 0o644 << 16
                    info.file_size = file.stat().st_size
                    with file.open("rb") as source, target.open(info, "w") as member:
                        shutil.copyfileobj(source, member)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


def carry_in(store: Store, path: Path) -> tuple[Entry, bool]:
    """Add the release in a zip to an archive, after each file was held against the digest in its record.

    Returns:
        The release, and whether it was added: it is not if the very same one is there already.

    Raises:
        RequantError: if the file is no such zip, a file in it is missing, damaged or not in the record, a path leads
            out of the release, or the archive has another release of this name.
    """
    with _opened(path) as archive, tempfile.TemporaryDirectory(prefix="requant-") as scratch:
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
        if len(set(names)) < len(names):
            raise RequantError(f"{path} has a file twice: it was not written by requant.")
        require_tree(names)
        if RECORD not in names or archive.getinfo(RECORD).file_size > _LARGEST_RECORD:
            raise RequantError(f"{path} has no {RECORD}: it is not a release that requant wrote.")
        release = parse_release(archive.read(RECORD), f"{path}, {RECORD}")
        digests = {file.path: (file.sha256, file.bytes) for file in release.files}
        others = set(names) - set(digests) - {RECORD, BILL, CRATE}
        missing = set(digests) - set(names)
        if others or missing:
            which = f"lacks {min(missing)}" if missing else f"has {min(others)}, which its record does not name"
            raise RequantError(f"{path} {which}. Fetch it again.")
        files: dict[str, Source | bytes] = {}
        for name in names:
            if name not in digests:
                files[name] = archive.read(name)
                continue
            where = Path(scratch) / name
            _extract(archive, name, where, digests[name], path)
            files[name] = Source(where, digests[name][0])
        with store.writing():
            for entry in entries(store, release.model):
                if entry.release == release.name:
                    _require_the_same(store, entry, files[RECORD])
                    return entry, False
            inventory = store.add_version(release.model, message_of(release.name), release.created, files)
    return Entry(release.model, release.name, len(inventory.versions), release.created), True


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (OSError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise RequantError(f"{path} can't be read as a zip: {error}. Fetch it again.") from error


def _extract(archive: zipfile.ZipFile, name: str, where: Path, expected: tuple[str, int], path: Path) -> None:
    """Write a file of a zip, no more bytes than it has to have."""
    sha256, size = expected
    digest = hashlib.sha256()
    where.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(name) as source, where.open("wb") as target:
        left = size + 1
        while left and (chunk := source.read(min(left, 1 << 20))):
            digest.update(chunk)
            target.write(chunk)
            left -= len(chunk)
    if digest.hexdigest() != sha256:
        raise RequantError(f"{path}, {name}: this file does not have the SHA-256 of the record. Fetch it again.")


def _require_the_same(store: Store, entry: Entry, record: Source | bytes) -> None:
    if store.files(entry.model, entry.number)[RECORD].read_bytes() != record:
        raise RequantError(
            f"{store.archive} has another release {entry} already. What is archived is not changed; take it out of "
            "another archive (--folder), or restore from that one."
        )
