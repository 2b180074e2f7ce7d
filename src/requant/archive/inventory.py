"""The inventory of an OCFL object: which versions it has, which files each consists of, and where their bytes are.

The format is that of OCFL 1.1 (https://ocfl.io/1.1/spec/#inventory), with SHA-512 as digest algorithm and SHA-256 in
the fixity block. What is read is not trusted: a path that leads out of the object, or to nowhere, is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from requant.errors import RequantError

NAME = "inventory.json"
SIDECAR = "inventory.json.sha512"
CONTENT = "content"
_TYPE = "https://ocfl.io/1.1/spec/#inventory"
_ALGORITHM = "sha512"
_FIXITY = "sha256"
_USER = {"name": "requant", "address": "https://pypi.org/project/requant/"}
_DIGEST = {_ALGORITHM: re.compile("[0-9a-f]{128}"), _FIXITY: re.compile("[0-9a-f]{64}")}


@dataclass(frozen=True)
class Version:
    """A version of an object.

    Attributes:
        created: when, in ISO 8601 with the offset from UTC.
        message: what it is, for people.
        state: the SHA-512 of every file, by its path in the version.
    """

    created: str
    message: str
    state: Mapping[str, str]


@dataclass(frozen=True)
class Inventory:
    """The inventory of an object.

    Attributes:
        id: of the object.
        versions: the first one first; never none.
        manifest: the SHA-512 of every stored file, by its path in the object, as `v1/content/summary.tsv`.
        fixity: the SHA-256 of every stored file, by its path in the object.
    """

    id: str
    versions: tuple[Version, ...]
    manifest: Mapping[str, str]
    fixity: Mapping[str, str]

    @property
    def head(self) -> str:
        """The name of the newest version."""
        return f"v{len(self.versions)}"

    def content_path(self, digest: str) -> str:
        """Return where in the object the bytes with a SHA-512 are."""
        return next(path for path, each in self.manifest.items() if each == digest)

    def content(self, number: int) -> dict[str, str]:
        """Return where in the object each file of a version is, by its path in the version; versions count from 1."""
        where = {digest: path for path, digest in self.manifest.items()}
        return {path: where[digest] for path, digest in self.versions[number - 1].state.items()}

    def to_bytes(self) -> bytes:
        """Return the file `inventory.json`: the same inventory gives the same bytes."""
        table = {
            "id": self.id,
            "type": _TYPE,
            "digestAlgorithm": _ALGORITHM,
            "head": self.head,
            "contentDirectory": CONTENT,
            "manifest": _paths_by_digest(self.manifest),
            "fixity": {_FIXITY: _paths_by_digest(self.fixity)},
            "versions": {
                f"v{number}": {
                    "created": version.created,
                    "message": version.message,
                    "user": _USER,
                    "state": _paths_by_digest(version.state),
                }
                for number, version in enumerate(self.versions, 1)
            },
        }
        return (json.dumps(table, indent=2, ensure_ascii=False) + "\n").encode()


def sidecar(inventory: bytes) -> bytes:
    """Return the file that holds the digest of an `inventory.json`, in the format of `sha512sum`."""
    return f"{hashlib.sha512(inventory).hexdigest()} {NAME}\n".encode()


def read_inventory(data: bytes, where: str) -> Inventory:
    """Return the inventory that a file `inventory.json` holds.

    Args:
        data: the bytes of the file.
        where: its path, for messages.

    Raises:
        RequantError: if it is no inventory as they are written here, or names a path that is not safe.
    """
    try:
        table = json.loads(data)
        return _checked(table)
    except RequantError as error:
        raise RequantError(f"{where} is not to be trusted: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RequantError(f"{where} is damaged, it is no inventory of OCFL 1.1: {error!r}") from error


def require_safe(path: str) -> str:
    """Return a relative path of a file, with `/` between its parts.

    Raises:
        RequantError: if it is absolute, or has a part that is empty, `.` or `..`.
    """
    if not isinstance(path, str) or "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise RequantError(f"the path {path!r} does not lead to a file below its folder.")
    return path


def require_tree(paths: Iterable[str]) -> None:
    """Make sure that paths are files of one tree: all safe, and none a folder that another one lies in.

    Raises:
        RequantError: if they are not.
    """
    files = {require_safe(path) for path in paths}
    for path in files:
        parts = path.split("/")
        folder = next((f for f in ("/".join(parts[:i]) for i in range(1, len(parts))) if f in files), None)
        if folder:
            raise RequantError(f"{folder!r} can't be both a file and the folder of {path!r}.")


def _checked(table: Mapping[str, Any]) -> Inventory:
    if table["type"] != _TYPE or table["digestAlgorithm"] != _ALGORITHM or table["contentDirectory"] != CONTENT:
        raise RequantError("it is of another version of OCFL, or with other digests than SHA-512.")
    names = [f"v{number}" for number in range(1, len(table["versions"]) + 1)]
    if not names or sorted(table["versions"]) != sorted(names) or table["head"] != names[-1]:
        raise RequantError("its versions do not count from v1 on without a gap.")
    manifest = _digest_by_path(table["manifest"], _ALGORITHM)
    fixity = _digest_by_path(table["fixity"][_FIXITY], _FIXITY)
    for path in manifest:
        version, _, rest = path.partition("/")
        if version not in names or not rest.startswith(f"{CONTENT}/"):
            raise RequantError(f"the path {path!r} is not one of a version's content.")
    if set(fixity) != set(manifest):
        raise RequantError("its fixity block is not about the files of its manifest.")
    versions = tuple(_version(table["versions"][name], set(manifest.values())) for name in names)
    if set(manifest.values()) - {digest for version in versions for digest in version.state.values()}:
        raise RequantError("its manifest has a file that no version names.")
    return Inventory(str(table["id"]), versions, manifest, fixity)


def _version(table: Mapping[str, Any], known: set[str]) -> Version:
    state = _digest_by_path(table["state"], _ALGORITHM)
    missing = next((path for path, digest in state.items() if digest not in known), None)
    if missing is not None:
        raise RequantError(f"a version has the file {missing!r}, whose bytes are nowhere.")
    return Version(str(table["created"]), str(table["message"]), state)


def _paths_by_digest(digests: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in sorted(digests):
        found.setdefault(digests[path], []).append(path)
    return found


def _digest_by_path(table: Mapping[str, Any], algorithm: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for digest, paths in table.items():
        if not _DIGEST[algorithm].fullmatch(digest.lower()):
            raise RequantError(f"{digest!r} is no {algorithm}.")
        for path in paths:
            if path in found:
                raise RequantError(f"the path {path!r} is there twice.")
            found[path] = digest.lower()
    require_tree(found)
    return found
