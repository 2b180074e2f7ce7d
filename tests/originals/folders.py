"""Folders of originals for the tests, and what is in them."""

import os
from pathlib import Path

PACKAGE = {"Manifest.json": b"{}", "Data/model.mlmodel": b"model", "Data/weights/weight.bin": b"weights" * 100}


def write_package(path, files=None):
    for name, data in (PACKAGE if files is None else files).items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def overwrite(path, data):
    """Write over a read-only file, as an editor that insists does."""
    path.chmod(0o644)
    path.write_bytes(data)


def state(folder):
    """Return all that is in a folder, without following links: the bytes of files, where links lead, or the type."""
    found = {}
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(parent) / name
            key = path.relative_to(folder).as_posix()
            if path.is_symlink():
                found[key] = str(path.readlink())
            else:
                found[key] = path.read_bytes() if path.is_file() else "folder" if path.is_dir() else "special"
    return found
