"""The lock file of a folder of originals: the SHA-256 of each of their files.

It has the format of `sha256sum`, so that `sha256sum -c SHA256SUMS` checks it without this project. Names in it are
relative to its folder. An `.mlpackage` and a SavedModel are folders: their files are listed one by one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from requant.errors import RequantError
from requant.originals.index import INDEX_NAME
from requant.originals.reading import read_text
from requant.records import UNFINISHED, write_whole

LOCK_NAME = "SHA256SUMS"
_WRITING = f".{LOCK_NAME}.lock"
_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")  # with an asterisk: read as binary, which is the same here
_FOLDER = re.compile(r"(\.(?:mlpackage|savedmodel))/.*")  # originals that are folders, and what is below them


@dataclass(frozen=True)
class Lock:
    """The lock file of a folder of originals: the SHA-256 of every file, by its name relative to that folder."""

    folder: Path
    digests: dict[str, str]

    def names_of(self, original: Path) -> list[str]:
        """Return the locked files of an original: its own name, or those below it if it is a folder; sorted."""
        name = relative(original, self.folder)
        return sorted(n for n in self.digests if n == name or n.startswith(f"{name}/"))

    def files_of(self, original: Path) -> list[Path]:
        """Return the paths of the locked files of an original."""
        return [self.folder / name for name in self.names_of(original)]

    def digest_of(self, original: Path) -> str:
        """Return one digest for all locked files of an original: it changes when the lock does."""
        lines = "".join(f"{self.digests[name]}  {name}\n" for name in self.names_of(original))
        return hashlib.sha256(lines.encode()).hexdigest()


def read_lock(folder: Path) -> Lock:
    """Read the lock file of a folder; a folder without one has nothing locked.

    What is beyond doubt is taken as it is meant: capital digits, a byte order mark, line ends of Windows, a line that
    is there twice, empty lines. `write_lock` writes none of these.

    Raises:
        RequantError: if it can't be read, a line is not one of `sha256sum`, names a file outside of the folder or in a
            roundabout way, or two lines have different digests for one file.
    """
    path = folder / LOCK_NAME
    digests: dict[str, str] = {}
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            name, digest = _parsed(line.removesuffix("\r"), f"{path}, line {number}")
            if digests.setdefault(name, digest) != digest:
                raise RequantError(
                    f"{path}, line {number}: {name} has another digest in a line before. Keep the line that is right."
                )
    return Lock(folder, digests)


def _parsed(line: str, where: str) -> tuple[str, str]:
    """Return the name and the digest in a line."""
    if line.startswith("\\"):
        raise RequantError(
            f"{where}: the name has a backslash or a line end in it, which sha256sum writes in a way of its own. "
            "Rename the file."
        )
    match = _LINE.fullmatch(line)
    if not match:
        raise RequantError(f"{where}: this is not a line of sha256sum ('<64 hexadecimal digits>  <name>'): {line!r}.")
    digest, name = match[1].lower(), match[2]
    if name.startswith("/") or not {"", ".", ".."}.isdisjoint(name.split("/")):
        raise RequantError(f"{where}: {name!r} has to be a path below the folder, without . and .. in it.")
    return name, digest


def write_lock(lock: Lock) -> None:
    """Write the lock file of a folder, whole, one line for each file in the order in which they were locked.

    It is for the process that `only_writer` lets in.
    """
    path = lock.folder / LOCK_NAME
    if path.is_symlink():
        raise RequantError(f"{path} is a symbolic link. Put the file itself there.")
    lines = "".join(f"{digest}  {name}\n" for name, digest in lock.digests.items())
    write_whole(path, lines.encode(), durable=True)


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Let one process at a time write in a folder of originals; another one waits for it.

    The system takes the right from a process that is killed. The file that stands for it is gone afterwards.

    Raises:
        RequantError: if nothing can be written there.
    """
    path = folder / _WRITING
    try:
        descriptor = _held(path)
    except OSError as error:
        raise RequantError(f"nothing can be written in {folder}: {error.strerror or error}.") from error
    try:
        for name in (LOCK_NAME, INDEX_NAME):  # what one that was killed was writing, as `write_whole` names it
            for unfinished in folder.glob(f".{name}.????????{UNFINISHED}"):
                unfinished.unlink()
        yield
    finally:
        path.unlink(missing_ok=True)
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing is not enough where a process was forked meanwhile
        os.close(descriptor)


def _held(path: Path) -> int:
    """Return a descriptor of a file on which this process alone has the lock, while the file is in its place."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            held = os.fstat(descriptor)
            if path.exists() and os.path.samestat(held, path.stat()):
                return descriptor
        except FileNotFoundError:  # the one before was done, and took it away
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def require_tellable(names: Iterable[str], known: Iterable[str] = ()) -> None:
    """Make sure that a lock file can hold names, and that every file system can tell them apart.

    Args:
        names: of files to lock, relative to the folder.
        known: names that are locked already.

    Raises:
        RequantError: if a name has a backslash or a line end in it or is no UTF-8, or two differ in nothing but
            capitals or how an accent is written, as `Net.mlmodel` and `net.mlmodel`: a Mac's disk can't hold both.
    """
    names = list(names)
    for name in names:
        if "\\" in name or not name.isprintable():
            raise RequantError(
                f"{name!r} has a backslash, a line end or a character that can't be seen in its name, which "
                f"{LOCK_NAME} can't hold plainly: rename it."
            )
    for one, other in clashes([*known, *names]):
        raise RequantError(
            f"{one} and {other} differ in nothing but capitals or accents: the disk of a Mac can't hold both. "
            "Rename one."
        )


def clashes(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return the pairs of names that some file systems take for one, among files and the folders that they are in."""
    spellings: dict[str, str] = {}
    found: dict[tuple[str, str], None] = {}
    for name in names:
        parts = name.split("/")
        for count in range(1, len(parts) + 1):
            path = "/".join(parts[:count])
            other = spellings.setdefault(unicodedata.normalize("NFC", path).casefold(), path)
            if other != path:
                found[other, path] = None
    return list(found)


def locked_originals(lock: Lock) -> list[Path]:
    """Return the originals that a lock file names; the files of one that is a folder count as that one."""
    return sorted({lock.folder / original_of(name) for name in lock.digests})


def original_of(name: str) -> str:
    """Return the name of the original that a locked file is, or belongs to."""
    return _FOLDER.sub(r"\1", name)


def relative(path: Path, folder: Path) -> str:
    """Return the name of a file in a folder of originals as a lock file has it.

    Raises:
        RequantError: if the file lies elsewhere.
    """
    try:
        return path.relative_to(folder).as_posix()
    except ValueError as error:
        raise RequantError(f"{path} does not lie in {folder}, where originals are preserved and locked.") from error
