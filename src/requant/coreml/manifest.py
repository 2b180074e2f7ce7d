"""The manifest of an `.mlpackage`: which files belong to it, and which of them is the model.

`Manifest.json` lists items, each with a path below `Data`, a file or a folder, and names the one that is the model
(`modelpackage/src/ModelPackage.cpp` in https://github.com/apple/coremltools). Nothing of the model itself is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from requant.errors import RequantError

MANIFEST = "Manifest.json"
LARGEST = 4_000_000  # bytes; a manifest has a few hundred
_DATA = "Data/"
_LEFT_BEHIND = (".DS_Store", ".snakemake_timestamp")  # by the Finder and Snakemake


def require_sound(manifest: bytes, files: Iterable[str], folders: Iterable[str], path: Path) -> list[str]:
    """Make sure that a manifest names what is in its package only, and all of it is there.

    Args:
        manifest: its bytes.
        files: the names of those in the package, as `Data/com.apple.CoreML/model.mlmodel`.
        folders: those in the package.
        path: of the package, for messages.

    Returns:
        The names of the files that it does not name, sorted.

    Raises:
        RequantError: if it is no manifest, names a file that is missing or outside of the package, or no model.
    """
    files = set(files)
    there = {*files, *folders} | {str(parent) for file in files for parent in PurePosixPath(file).parents}
    named = {_DATA + item for item in _items(manifest, path).values()}
    missing = sorted(named - there)
    if missing:
        raise RequantError(f"{path} is incomplete: its manifest names {missing[0]}, which is not there. Copy it again.")
    return sorted(f for f in files if f != MANIFEST and named.isdisjoint([f, *map(str, PurePosixPath(f).parents)]))


def _items(manifest: bytes, path: Path) -> dict[str, str]:
    """Return the paths of a manifest's items by their identifiers."""
    try:
        if len(manifest) > LARGEST:
            raise ValueError(f"it has {len(manifest):,} bytes")
        table: Any = json.loads(manifest)
        items = {key: entry["path"] for key, entry in table["itemInfoEntries"].items()}
        root = table["rootModelIdentifier"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RequantError(f"{path} has a {MANIFEST} that is none: {error}. Copy the package again.") from error
    for item in items.values():
        if not isinstance(item, str) or not {"", ".", ".."}.isdisjoint(item.split("/")):
            raise RequantError(f"{path} is not to be trusted: its manifest names {item!r}, outside of the package.")
    if not isinstance(root, str) or root not in items:
        raise RequantError(f"{path} has a {MANIFEST} that does not say which of its files is the model.")
    return items


def require_whole(package: Path) -> list[str]:
    """Make sure that an `.mlpackage` folder is complete; see `require_sound`.

    Raises:
        RequantError: if it has no manifest too.
    """
    try:
        found = {path.relative_to(package).as_posix(): path.is_dir() for path in package.rglob("*")}
        files, folders = ([name for name, is_folder in found.items() if is_folder is kind] for kind in (False, True))
        if not files:
            raise RequantError(f"{package} is an empty folder: there is no model in it.")
        if not (package / MANIFEST).is_file():
            raise RequantError(f"{package} is incomplete: it has no {MANIFEST}. Copy it again.")
        unnamed = require_sound((package / MANIFEST).read_bytes(), files, folders, package)
        return [name for name in unnamed if not name.endswith(_LEFT_BEHIND)]
    except OSError as error:
        raise RequantError(f"{package} can't be read: {error.strerror or error}.") from error
