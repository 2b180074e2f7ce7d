"""Reading the files of an original: which there are, and their digests.

Nothing here waits or guesses: a symbolic link, a pipe or a device in an original is told, not opened, and a file that
changes while it is read has no digest.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

from requant.errors import RequantError

IGNORED = frozenset({".DS_Store", ".snakemake_timestamp"})  # what the Finder and Snakemake leave in folders
Advance = Callable[[int], None]
_BLOCK = 1 << 20
_TYPES = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def files_below(original: Path) -> tuple[list[Path], list[str]]:
    """Return the files of an original and what is wrong with what else there is; both sorted.

    Args:
        original: a file, or a folder, which may hold folders.

    Returns:
        The plain files, and a sentence for each symbolic link, pipe, socket, device or folder that can't be read. No
        link is followed.
    """
    files, problems, waiting = [], [], [original]
    while waiting:
        path = waiting.pop()
        try:
            if problem := not_a_file(path):
                problems.append(problem)
            elif path.is_dir():
                waiting += [path / name for name in os.listdir(path) if name not in IGNORED]  # noqa: PTH208
            else:
                files.append(path)
        except OSError as error:
            problems.append(unreadable(path, error))
    return sorted(files), sorted(problems)


def not_a_file(path: Path) -> str:
    """Return why what lies at a path can't be preserved; nothing for a file or a folder.

    Raises:
        OSError: if there is nothing, or nothing to be learned of it.
    """
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return f"{path} is a symbolic link: copy the model itself, so that it is preserved here."
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return ""
    return f"{path} is {_TYPES.get(stat.S_IFMT(mode), 'something else')}, not a file: it can't be preserved."


def unreadable(path: Path, error: OSError) -> str:
    """Return the message for a file or folder that can't be read."""
    if isinstance(error, FileNotFoundError):
        return f"{path} vanished while it was read. Put it back, and try again."
    return f"{path} can't be read: {error.strerror or error}. Check its permissions."


def sha256(path: Path, advance: Advance | None = None) -> str:
    """Return the SHA-256 of a file in hexadecimal.

    Args:
        path: of a plain file, or of a link to one.
        advance: is told how many bytes were read, again and again.

    Raises:
        RequantError: if the file can't be read, is no plain file, or changes while it is read.
    """
    digest, buffer, count = hashlib.sha256(), memoryview(bytearray(_BLOCK)), 0
    try:
        _require_plain(path, path.stat().st_mode)
        with open(path, "rb", buffering=0, opener=_without_waiting) as stream:
            before = os.fstat(stream.fileno())
            _require_plain(path, before.st_mode)
            while size := stream.readinto(buffer):
                digest.update(buffer[:size])
                count += size
                if advance:
                    advance(size)
        after = path.stat()
    except OSError as error:
        raise RequantError(unreadable(path, error)) from error
    if _identity(before) != _identity(after) or count != after.st_size:
        raise RequantError(f"{path} changed while it was read. Wait until nothing writes to it, and try again.")
    return digest.hexdigest()


def _require_plain(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise RequantError(f"{path} can't be read: it is {_TYPES.get(stat.S_IFMT(mode), 'something else')}, no file.")


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe that nobody writes to, put there this moment, is not waited for."""
    return os.open(path, flags | os.O_NONBLOCK)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def read_text(path: Path) -> str:
    """Return the text of a small file, in UTF-8 with or without a byte order mark; nothing if there is no such file.

    Raises:
        RequantError: if it can't be read, is no plain file, or is no text.
    """
    if not os.path.lexists(path):
        return ""
    try:
        _require_plain(path, path.stat().st_mode)
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise RequantError(f"{path} can't be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise RequantError(f"{path} is not text in UTF-8: {error}.") from error
