"""The digest of the code that a result hangs on, so that a workflow knows when to make it again."""

from __future__ import annotations

import hashlib
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = ("coremltools", "numpy")


def fingerprint(*parts: str, libraries: tuple[str, ...] = LIBRARIES) -> str:
    """Return the SHA-256 of some of this library's code and of the versions of what it builds on, Python's too.

    Args:
        parts: rooms (`coreml`) or single modules (`records.py`), relative to this package.
        libraries: distributions whose versions count; of one that is not installed, that it is not.

    Raises:
        FileNotFoundError: if there is no such room or module.
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(_code_of(part))
    digest.update(f"python {sys.version_info.major}.{sys.version_info.minor}\n".encode())
    for library in libraries:
        digest.update(f"{library} {_version(library)}\n".encode())
    return digest.hexdigest()


@cache
def _code_of(part: str) -> bytes:
    """Return the code of a room or module with the names of its files; many digests have some rooms in common."""
    here = Path(__file__).parent
    path = here / part
    if not path.exists():
        raise FileNotFoundError(path)
    files = (
        [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.suffix in (".py", ".css", ".js", ".j2"))
    )
    return b"".join(f"{file.relative_to(here).as_posix()}\n".encode() + file.read_bytes() for file in files)


def _version(library: str) -> str:
    """Return the version of a distribution, `none` for one that does not exist for this machine."""
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"
