"""The files of an `.mlpackage`, in a folder or in a zip, taken from whoever made it: what is not plain is refused.

A package has its files below `Data`, and a `Manifest.json` that lists items, each with a path below `Data`, a file or a
folder, and names the one that is the model (`modelpackage/src/ModelPackage.cpp` in
https://github.com/apple/coremltools). Nothing is ever laid out from a zip on the way. It is light: no protobuf.
"""

from __future__ import annotations

import json
import lzma
import os
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from requant.coreml.mapped import LARGE, PIECE, Content, content_of, mapped, pieces
from requant.errors import RequantError

PACKAGE_MODEL = "Data/com.apple.CoreML/model.mlmodel"
MANIFEST = "Manifest.json"
LARGEST_MANIFEST = 4_000_000  # bytes; one has a few hundred
# What a zip may grow by when it is read: weights that are zero shrink by 1,000, those of a network by 2 or 3.
MOST_GROWTH, ALWAYS_ALLOWED = 200, 64 << 20
_DATA = "Data/"
_BY_THE_FINDER = "__MACOSX"
_LEFT_BEHIND = (".DS_Store", ".snakemake_timestamp")  # by the Finder and Snakemake
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1
_LOCAL_HEADER = struct.Struct("<4s22xHH")
# What Python's zip module raises for a file that is damaged, or is a zip of another sort.
_BAD_ZIP = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError, RuntimeError,
    ValueError, LookupError, OverflowError,
)  # fmt: skip


def read_file(path: Path) -> bytes:
    """Return the bytes of a plain file.

    Raises:
        RequantError: if it can't be read, is no plain file, or takes more memory than there is.
    """
    with opened(path) as stream:
        try:
            return stream.read()
        except MemoryError as error:
            raise RequantError(f"{path} takes more memory than there is.") from error


@contextmanager
def opened(path: Path, model: Path | None = None) -> Iterator[IO[bytes]]:
    """Open a plain file; nothing else is waited for.

    Args:
        path: of the file.
        model: that it belongs to, for messages.

    Raises:
        RequantError: if it can't be read, or is no plain file.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise RequantError(f"{model or path} can't be read: it is no file.")
        with path.open("rb") as stream:
            yield stream
    except OSError as error:
        raise RequantError(f"{model or path} can't be read: {error.strerror or error}.") from error


def read_folder(package: Path) -> dict[str, Content]:
    """Return the files of an `.mlpackage` folder by their path in it; large ones are mapped.

    Raises:
        RequantError: if there is a symbolic link or anything else but files and folders in it, it can't be read, or its
            manifest is not sound.
    """
    files, folders = _walk(package)
    members: dict[str, Content] = {}
    for name in files:
        if not name.endswith(_LEFT_BEHIND):
            with opened(package / name) as stream:
                members[name] = content_of(stream)
    if MANIFEST in members:
        require_sound(members[MANIFEST], files, folders, package)
    return members


def _walk(package: Path) -> tuple[list[str], list[str]]:
    """Return the names of the files and of the folders in a package, sorted."""
    files, folders, waiting = [], [], [package]
    try:
        while waiting:
            for entry in os.scandir(waiting.pop()):
                path = Path(entry.path)
                name = path.relative_to(package).as_posix()
                if entry.is_symlink():
                    raise RequantError(
                        f"{path} is a symbolic link, which a package can't have. Copy the file itself there."
                    )
                if entry.is_dir():
                    folders.append(name)
                    waiting.append(path)
                elif entry.is_file():
                    files.append(name)
                else:
                    raise RequantError(f"{path} is no file: it has no place in a package.")
    except OSError as error:
        raise RequantError(f"{package} can't be read: {error.strerror or error}.") from error
    return sorted(files), sorted(folders)


def require_whole(package: Path) -> list[str]:
    """Make sure that an `.mlpackage` folder is complete; see `require_sound`.

    Raises:
        RequantError: if it has no manifest too.
    """
    files, folders = _walk(package)
    if not files:
        raise RequantError(f"{package} is an empty folder: there is no model in it.")
    if MANIFEST not in files:
        raise RequantError(f"{package} is incomplete: it has no {MANIFEST}. Copy it again.")
    unnamed = require_sound(read_file(package / MANIFEST), files, folders, package)
    return [name for name in unnamed if not name.endswith(_LEFT_BEHIND)]


def require_sound(manifest: Content, files: Iterable[str], folders: Iterable[str], path: Path) -> list[str]:
    """Make sure that a manifest names what is in its package only, and all of it is there.

    Args:
        manifest: its bytes.
        files: the names of those in the package, as `Data/com.apple.CoreML/model.mlmodel`.
        folders: those in the package.
        path: of the package, for messages.

    Returns:
        The names of the files that it does not name, sorted.

    Raises:
        RequantError: if it is no manifest, names a file that is missing or outside of the package, no model, or another
            one than the file that every package has it in.
    """
    files = set(files)
    there = {*files, *folders} | {str(parent) for file in files for parent in PurePosixPath(file).parents}
    named = {_DATA + item for item in _items(manifest, path).values()}
    missing = sorted(named - there)
    if missing:
        raise RequantError(f"{path} is incomplete: its manifest names {missing[0]}, which is not there. Copy it again.")
    return sorted(f for f in files if f != MANIFEST and named.isdisjoint([f, *map(str, PurePosixPath(f).parents)]))


def _items(manifest: Content, path: Path) -> dict[str, str]:
    """Return the paths of a manifest's items by their identifiers."""
    try:
        if len(manifest) > LARGEST_MANIFEST:
            raise ValueError(f"it has {len(manifest):,} bytes")
        table: Any = json.loads(bytes(manifest))
        items = {key: entry["path"] for key, entry in table["itemInfoEntries"].items()}
        root = table["rootModelIdentifier"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RequantError(f"{path} has a {MANIFEST} that is none: {error}. Copy the package again.") from error
    for item in items.values():
        if not isinstance(item, str) or not _is_below(item):
            raise RequantError(f"{path} is not to be trusted: its manifest names {item!r}, outside of the package.")
    if not isinstance(root, str) or root not in items:
        raise RequantError(f"{path} has a {MANIFEST} that does not say which of its files is the model.")
    if _DATA + items[root] != PACKAGE_MODEL:
        raise RequantError(
            f"{path} has its model in {_DATA}{items[root]}, not in {PACKAGE_MODEL}: requant can't read it yet."
        )
    return items


def _is_below(name: str) -> bool:
    """Return whether a path leads to something below where it begins, on any system."""
    return {"", ".", ".."}.isdisjoint(name.split("/")) and not {"\\", ":", "\0"} & set(name)


def read_zip(path: Path) -> dict[str, Content]:
    """Return the files of the one package in an `.mlpackage.zip` by their path in it; nothing is laid out.

    Large ones are mapped, those that are compressed from a temporary file without a name.

    Raises:
        RequantError: if it is no zip, is damaged, holds more than one package, or is not to be trusted: it names files
            outside of the package, the same file twice or a symbolic link, or would grow beyond all measure.
    """
    with opened_zip(path) as (archive, infos):
        members = {name: _content(archive, info) for name, info in infos.items() if not name.endswith(_LEFT_BEHIND)}
        if MANIFEST in members:
            require_sound(members[MANIFEST], infos, _folders(archive), path)
        return members


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Content:
    """Return a file in a zip, its checksum checked; a large one is read in pieces and mapped."""
    if info.file_size < LARGE or archive.fp is None:
        return archive.read(info)
    if info.compress_type != zipfile.ZIP_STORED:
        with tempfile.TemporaryFile() as beside, archive.open(info) as stream:
            shutil.copyfileobj(stream, beside, PIECE)
            beside.flush()
            return mapped(beside)
    start = _start_of(archive.fp, info)
    content = mapped(archive.fp, start, info.file_size)
    checksum = 0
    for piece in pieces(content):
        checksum = zlib.crc32(piece, checksum)
    if len(content) < info.file_size or checksum != info.CRC:
        raise zipfile.BadZipFile(f"bad checksum of {info.filename!r}")
    return content


def _start_of(stream: IO[bytes], info: zipfile.ZipInfo) -> int:
    """Return where the bytes of a file begin in its zip: after a header with a name and further fields.

    Source: section 4.3.7 of https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT.
    """
    stream.seek(info.header_offset)
    header = stream.read(_LOCAL_HEADER.size)
    signature, name, extra = _LOCAL_HEADER.unpack(header)
    if signature != b"PK\3\4":
        raise zipfile.BadZipFile(f"no header of {info.filename!r}")
    return info.header_offset + _LOCAL_HEADER.size + int(name) + int(extra)


@contextmanager
def opened_zip(path: Path) -> Iterator[tuple[zipfile.ZipFile, Mapping[str, zipfile.ZipInfo]]]:
    """Open the zip of a package; the files of the package come by their path in it. See `read_zip`."""
    try:
        with opened(path) as stream, zipfile.ZipFile(stream) as archive:
            yield archive, _members(archive, path)
    except _BAD_ZIP as error:
        raise RequantError(f"{path} is not a zip file, or it is damaged: {error}.") from error
    except MemoryError as error:
        raise RequantError(f"{path} takes more memory than there is.") from error


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    infos = [info for info in archive.infolist() if info.filename.partition("/")[0] != _BY_THE_FINDER]
    for info in infos:
        _require_plain(info, path)
    files = [info for info in infos if not info.is_dir()]
    size, limit = sum(info.file_size for info in files), path.stat().st_size * MOST_GROWTH + ALWAYS_ALLOWED
    if size > limit:
        raise RequantError(
            f"{path} is not to be trusted: it has {path.stat().st_size:,} bytes and says that {size:,} come out of it."
        )
    packages = [info.filename.removesuffix(f"/{PACKAGE_MODEL}") for info in files if _is_model(info.filename)]
    if len(packages) > 1:
        raise RequantError(f"{path} holds {len(packages)} packages; take it apart.")
    inside = f"{packages[0]}/" if packages else ""
    members = {i.filename.removeprefix(inside): i for i in files if i.filename.startswith(inside)}
    if len(members) < sum(info.filename.startswith(inside) for info in files):
        raise RequantError(f"{path} is not to be trusted: it has two files of one name.")
    if not members.keys().isdisjoint(str(parent) for name in members for parent in PurePosixPath(name).parents):
        raise RequantError(f"{path} is not to be trusted: something in it is a file and a folder.")
    return members


def _is_model(name: str) -> bool:
    return name.endswith(f"/{PACKAGE_MODEL}")


def _folders(archive: zipfile.ZipFile) -> list[str]:
    """Return the names of the folders in a zip, in the package."""
    return [info.filename.partition("/")[2].rstrip("/") for info in archive.infolist() if info.is_dir()]


def _require_plain(info: zipfile.ZipInfo, path: Path) -> None:
    name = info.filename
    if not _is_below(name.rstrip("/")):
        raise RequantError(f"{path} is not to be trusted: it names files outside of the package ({name!r}).")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise RequantError(f"{path} is not to be trusted: {name!r} in it is a symbolic link.")
    if info.compress_type not in _METHODS or info.flag_bits & _ENCRYPTED:
        raise RequantError(
            f"{path} can't be read: {name!r} in it is encrypted, or compressed by another method than deflate."
        )
