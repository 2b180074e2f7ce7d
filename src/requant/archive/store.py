"""The store: an OCFL 1.1 storage root (https://ocfl.io/1.1/spec/) with one object per model, one version per release.

A version's state is the whole tree of a release, so that any tool for OCFL can lay it out. Content that versions have
in common is stored once. Every change makes a whole object beside, of hard links to what stays, and swaps it with the
one that is there: whenever the process is killed, what is in the root is a valid object, the old one or the new one.

    ARCHIVE/ocfl/                  the storage root; layout 0002-flat-direct-storage-layout
    ARCHIVE/ocfl/ID/               an object
    ARCHIVE/.work/                 what is being made; what is left there by a killed process is taken away
    ARCHIVE/.lock                  held by the one process that may write
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from requant.archive.inventory import (
    CONTENT,
    NAME,
    SIDECAR,
    Inventory,
    Version,
    read_inventory,
    require_safe,
    require_tree,
    sidecar,
)
from requant.archive.swapping import swap
from requant.errors import RequantError
from requant.records import is_full, writing

ROOT = "ocfl"
DECLARATION = ("0=ocfl_object_1.1", b"ocfl_object_1.1\n")
ROOT_DECLARATION = ("0=ocfl_1.1", b"ocfl_1.1\n")
LAYOUT_NAME = "ocfl_layout.json"
_LAYOUT = {
    "extension": "0002-flat-direct-storage-layout",
    "description": "The folder of an object is named as the object: by the name of a model.",
}
_WORK, _NEW, _OLD, _GONE = ".work", "new", "old", "gone"
_READ_ONLY = 0o444
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Source:
    """A file to be stored: where it is, and the SHA-256 that it has to have."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class Store:
    """The store of an archive, in whose folder it lies."""

    archive: Path

    @property
    def root(self) -> Path:
        """The storage root."""
        return self.archive / ROOT

    def require(self) -> None:
        """Make sure that there is a store.

        Raises:
            RequantError: if there is none.
        """
        if not self.root.is_dir():
            raise RequantError(f"there is no archive in {self.archive}. Make one with: snakemake archive")

    def ids(self) -> list[str]:
        """Return the ids of all objects, sorted."""
        self._restore_swapped()
        if not self.root.is_dir():
            return []
        return sorted(entry.name for entry in os.scandir(self.root) if entry.is_dir(follow_symlinks=False))

    def folder(self, identifier: str) -> Path:
        """Return the folder of an object, whether or not there is one.

        Raises:
            RequantError: if there can't be an object of this name, or something else is in its place.
        """
        if require_safe(identifier) != identifier or "/" in identifier:
            raise RequantError(f"{identifier!r} is no name of an object in the archive.")
        folder = self.root / identifier
        if folder.is_symlink():
            raise RequantError(f"{folder} is a symbolic link; the archive has none. Put the object itself there.")
        return folder

    def inventory(self, identifier: str) -> Inventory | None:
        """Return the inventory of an object; None if there is no such object.

        Raises:
            RequantError: if it is damaged or not to be trusted.
        """
        self._restore_swapped()
        folder = self.folder(identifier)
        if not folder.exists():
            return None
        path = folder / NAME
        try:
            data = path.read_bytes()
        except OSError as error:
            raise RequantError(f"{path} can't be read: {error.strerror or error}.") from error
        inventory = read_inventory(data, str(path))
        if inventory.id != identifier:
            raise RequantError(f"{path} is the inventory of {inventory.id!r}, not of {identifier!r}.")
        return inventory

    def files(self, identifier: str, number: int) -> dict[str, Path]:
        """Return the stored file of each file of a version, by its path in the version; versions count from 1.

        Raises:
            RequantError: if one of them is a symbolic link, or lies behind one.
        """
        inventory, folder = self.inventory(identifier), self.folder(identifier)
        if inventory is None:
            raise RequantError(f"there is no {identifier} in {self.archive}.")
        return {path: _without_links(folder, where) for path, where in inventory.content(number).items()}

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the one process that writes; whoever else wants to, waits. What a killed process left is cleaned up.

        Raises:
            RequantError: if the disk is full, or can't be written for another reason; the archive is as it was then.
        """
        with writing(self.archive):
            self.archive.mkdir(parents=True, exist_ok=True)
            with (self.archive / ".lock").open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._clean()
                self._make_root()
                try:
                    yield
                finally:
                    self._clean()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Let others read, but nobody write meanwhile; on a disk that is only read, nobody could."""
        self._restore_swapped()
        try:
            lock = (self.archive / ".lock").open("rb")
        except OSError:
            yield
            return
        with lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield

    def add_version(
        self, identifier: str, message: str, created: str, files: Mapping[str, Source | bytes]
    ) -> Inventory:
        """Add a version to an object, which is made if there is none; for the process that is `writing`.

        Args:
            identifier: of the object.
            message: what the version is.
            created: when, in ISO 8601 with the offset from UTC.
            files: where the bytes of each file of the version are, by its path in the version, or the bytes themselves.

        Raises:
            RequantError: if a source can't be read, or does not have the digest that it has to have.
        """
        before = self.inventory(identifier)
        new = self._copied(identifier)
        inventory = _append(new, before, identifier, Version(created, message, {}), files)
        self._put(new, identifier)
        return inventory

    def keep_versions(self, identifier: str, numbers: Sequence[int]) -> None:
        """Make an object one of some of its versions only, in their order; of none, that there is no such object.

        It is for the process that is `writing`. Versions are numbered anew.

        Raises:
            RequantError: if a file that is to stay does not have its digest any more: repair it first.
        """
        before = self.inventory(identifier)
        if before is None:
            raise RequantError(f"there is no {identifier} in {self.archive}.")
        if not numbers:
            gone = self._place(_GONE, identifier)
            self.folder(identifier).rename(gone)
            _flush(self.root)
            return
        new = self._place(_NEW, identifier)
        _declare(new)
        inventory: Inventory | None = None
        for number in numbers:
            version, stored = before.versions[number - 1], self.files(identifier, number)
            content = before.content(number)
            files = {path: Source(stored[path], before.fixity[content[path]]) for path in stored}
            inventory = _append(new, inventory, identifier, version, files, link=True)
        self._put(new, identifier)

    def replace_content(self, identifier: str, where: str, source: Path) -> None:
        """Put bytes with the right digests in the place of a damaged or missing stored file.

        It is for the process that is `writing`.

        Raises:
            RequantError: if the source does not have the digests of that file.
        """
        inventory = self.inventory(identifier)
        if inventory is None or where not in inventory.manifest:
            raise RequantError(f"{identifier} has no stored file {where}.")
        target = self.folder(identifier) / where
        beside = self._place(_NEW, "content")
        sha512, _ = _copy(Source(source, inventory.fixity[where]), beside)
        if sha512 != inventory.manifest[where]:
            raise RequantError(f"{source} does not have the SHA-512 of {target}.")
        target.parent.mkdir(parents=True, exist_ok=True)
        beside.replace(target)
        _flush(target.parent)

    def _place(self, kind: str, name: str) -> Path:
        """Return where something that is being made lies; nothing is there."""
        place = self.archive / _WORK / kind / name
        shutil.rmtree(place, ignore_errors=True)
        place.unlink(missing_ok=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def _copied(self, identifier: str) -> Path:
        """Return a new folder with hard links to all files of an object that are in its inventory."""
        new, folder = self._place(_NEW, identifier), self.folder(identifier)
        _declare(new)
        if not folder.exists():
            return new
        for path in sorted(folder.rglob("*")):
            if path.is_symlink():
                raise RequantError(f"{path} is a symbolic link; the archive has none. Remove it.")
            if path.is_file() and path.parent != folder:
                copy = new / path.relative_to(folder)
                copy.parent.mkdir(parents=True, exist_ok=True)
                _link(path, copy)
        return new

    def _put(self, new: Path, identifier: str) -> None:
        """Put a whole new object in the place of the one that is there."""
        _flush_folders(new)
        place = self.folder(identifier)
        if place.exists():
            swap(new, place, self._place(_OLD, identifier))
        else:
            new.rename(place)
        _flush(self.root)

    def _make_root(self) -> None:
        if self.root.exists():
            if not (self.root / ROOT_DECLARATION[0]).is_file():
                raise RequantError(
                    f"{self.root} is no storage root of OCFL 1.1. Choose another folder for the archive."
                )
            return
        new = self._place(_NEW, ROOT)
        new.mkdir()
        _write(new / ROOT_DECLARATION[0], ROOT_DECLARATION[1])
        _write(new / LAYOUT_NAME, (json.dumps(_LAYOUT, indent=2) + "\n").encode())
        _flush(new)
        new.rename(self.root)
        _flush(self.archive)

    def _restore_swapped(self) -> None:
        """Put back an object that a killed process had put away; where folders are swapped at once, there is none."""
        old = self.archive / _WORK / _OLD
        if old.is_dir() and any(not (self.root / each.name).exists() for each in old.iterdir()):
            with self.writing():
                pass

    def _clean(self) -> None:
        work = self.archive / _WORK
        old = work / _OLD
        for each in old.iterdir() if old.is_dir() else ():
            if not (self.root / each.name).exists():
                each.rename(self.root / each.name)
        shutil.rmtree(work, ignore_errors=True)


def _append(
    folder: Path,
    before: Inventory | None,
    identifier: str,
    version: Version,
    files: Mapping[str, Source | bytes],
    *,
    link: bool = False,
) -> Inventory:
    """Write a version's folder into that of an object that is being made, and the inventory."""
    require_tree(files)
    if not files:
        raise RequantError(f"a version of {identifier} has to have files.")
    manifest = dict(before.manifest) if before else {}
    fixity = dict(before.fixity) if before else {}
    known = {fixity[path]: digest for path, digest in manifest.items()}  # SHA-512 by SHA-256
    versions = before.versions if before else ()
    name = f"v{len(versions) + 1}"
    (folder / name).mkdir()
    state: dict[str, str] = {}
    for path in files:  # of equal files, the first one's path is where the bytes lie
        source, where = files[path], f"{name}/{CONTENT}/{path}"
        expected = hashlib.sha256(source).hexdigest() if isinstance(source, bytes) else source.sha256
        if expected in known:
            if isinstance(source, Source):
                _require_digest(source)
        else:
            (folder / where).parent.mkdir(parents=True, exist_ok=True)
            digest, _ = _store(source, folder / where, link=link)
            known[expected] = manifest[where] = digest
            fixity[where] = expected
        state[path] = known[expected]
    inventory = Inventory(identifier, (*versions, Version(version.created, version.message, state)), manifest, fixity)
    data = inventory.to_bytes()
    for place in (folder / name, folder):
        for file, content in ((NAME, data), (SIDECAR, sidecar(data))):
            (place / file).unlink(missing_ok=True)  # of a version before, a link to that version's own
            _write(place / file, content)
    return inventory


def _store(source: Source | bytes, target: Path, *, link: bool) -> tuple[str, str]:
    if isinstance(source, bytes):
        _write(target, source)
        return hashlib.sha512(source).hexdigest(), hashlib.sha256(source).hexdigest()
    if link:
        digests = _digests(source)
        _link(source.path, target)
        return digests
    return _copy(source, target)


def _copy(source: Source, target: Path) -> tuple[str, str]:
    """Copy a file and return its SHA-512 and SHA-256, made of the bytes that were copied."""
    sha512, sha256 = hashlib.sha512(), hashlib.sha256()
    try:
        with source.path.open("rb") as read, target.open("xb") as written:
            while chunk := read.read(_CHUNK):
                sha512.update(chunk)
                sha256.update(chunk)
                written.write(chunk)
            written.flush()
            os.fsync(written.fileno())
    except OSError as error:
        if is_full(error):
            raise
        raise RequantError(f"{source.path} can't be copied into the archive: {error.strerror or error}.") from error
    target.chmod(_READ_ONLY)
    _require_expected(source, sha256.hexdigest())
    return sha512.hexdigest(), sha256.hexdigest()


def _digests(source: Source) -> tuple[str, str]:
    """Return the SHA-512 and the SHA-256 of a file, which has to have the one that is expected."""
    digests = digests_of(source.path)
    _require_expected(source, digests[1])
    return digests


def digests_of(path: Path) -> tuple[str, str]:
    """Return the SHA-512 and the SHA-256 of a file, read once.

    Raises:
        RequantError: if it can't be read.
    """
    sha512, sha256 = hashlib.sha512(), hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                sha512.update(chunk)
                sha256.update(chunk)
    except OSError as error:
        raise RequantError(f"{path} can't be read: {error.strerror or error}.") from error
    return sha512.hexdigest(), sha256.hexdigest()


def _require_digest(source: Source) -> None:
    try:
        with source.path.open("rb") as stream:
            _require_expected(source, hashlib.file_digest(stream, "sha256").hexdigest())
    except OSError as error:
        raise RequantError(f"{source.path} can't be read: {error.strerror or error}.") from error


def _require_expected(source: Source, found: str) -> None:
    if found != source.sha256:
        raise RequantError(
            f"{source.path} is not what it has to be, and was not archived.\n"
            f"  expected SHA-256: {source.sha256}\n"
            f"  found SHA-256:    {found}"
        )


def _without_links(folder: Path, where: str) -> Path:
    """Return the path of a stored file; neither it nor a folder on the way to it is a symbolic link."""
    path = folder
    for part in require_safe(where).split("/"):
        path = path / part
        if path.is_symlink():
            raise RequantError(f"{path} is a symbolic link; the archive has none. Remove it, and repair the archive.")
    return path


def _declare(folder: Path) -> None:
    folder.mkdir()
    _write(folder / DECLARATION[0], DECLARATION[1])


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    path.chmod(_READ_ONLY)


def _link(path: Path, target: Path) -> None:
    """Make a hard link, or a copy on a file system without them."""
    try:
        os.link(path, target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV):
            raise
        shutil.copyfile(path, target)
        target.chmod(_READ_ONLY)
        _flush(target)


def _flush(path: Path) -> None:
    """Have the system bring a file or the entries of a folder onto the disk, where it can."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _flush_folders(folder: Path) -> None:
    for parent, _, _ in os.walk(folder, topdown=False):
        _flush(Path(parent))
    _flush(folder.parent)
