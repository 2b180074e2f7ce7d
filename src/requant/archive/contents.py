"""What is in an archive: its releases, and the record of each."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from requant.archive.figures import in_json
from requant.archive.record import FORMAT, ArchivedFile, Made, Original, Release, Software
from requant.archive.store import Store
from requant.errors import RequantError

RECORD = "release.json"
ORIGINALS = "_originals"  # the object of originals that were replaced; no model's name begins so
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MESSAGE = "Release "


@dataclass(frozen=True)
class Entry:
    """A release in an archive: the model, the release's name, the number of its version, and when it was made."""

    model: str
    release: str
    number: int
    created: str

    def __str__(self) -> str:
        """Return it as commands take it."""
        return f"{self.model}@{self.release}"


def message_of(release: str) -> str:
    """Return the message of the version that a release is."""
    return f"{_MESSAGE}{release}"


def entries(store: Store, model: str | None = None) -> list[Entry]:
    """Return all releases in an archive, or those of a model; the oldest of each first.

    Raises:
        RequantError: if an inventory is damaged or not to be trusted.
    """
    found = []
    for identifier in store.ids() if model is None else [model]:
        inventory = store.inventory(identifier) if identifier != ORIGINALS else None
        for number, version in enumerate(inventory.versions if inventory else (), 1):
            found.append(Entry(identifier, version.message.removeprefix(_MESSAGE), number, version.created))
    return found


def find(store: Store, name: str) -> Entry:
    """Return the release that a name stands for.

    Args:
        store: of the archive.
        name: `MODEL@RELEASE`, or `MODEL` for its newest one.

    Raises:
        RequantError: if there is no such release, naming those that there are.
    """
    model, _, release = name.partition("@")
    of_model = entries(store, model)
    if not of_model:
        known = ", ".join(dict.fromkeys(entry.model for entry in entries(store))) or "none at all"
        raise RequantError(f"{store.archive} has no release of {model!r}; it has releases of: {known}.")
    if not release:
        return of_model[-1]
    for entry in of_model:
        if entry.release == release:
            return entry
    known = ", ".join(entry.release for entry in of_model)
    raise RequantError(f"{store.archive} has no release {release!r} of {model}; it has: {known}.")


def read_release(store: Store, entry: Entry) -> Release:
    """Return the record of a release.

    Raises:
        RequantError: if it is missing, damaged, or not the record of this release.
    """
    path = store.files(entry.model, entry.number).get(RECORD)
    inventory = store.inventory(entry.model)
    if path is None or inventory is None:
        raise RequantError(f"{entry} has no {RECORD}: it was not archived by requant.")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RequantError(f"{path} can't be read: {error.strerror or error}.") from error
    if hashlib.sha512(data).hexdigest() != inventory.versions[entry.number - 1].state[RECORD]:
        raise RequantError(f"{path}, the record of {entry}, is damaged. Try: requant archive repair")
    release = parse_release(data, str(path))
    if (release.model, release.name) != (entry.model, entry.release):
        raise RequantError(f"{path} is the record of {release.model}@{release.name}, not of {entry}.")
    return release


def write_release(release: Release) -> bytes:
    """Return the file `release.json`: the same record gives the same bytes."""
    table = release.to_table()
    for made in (table["float_model"], *table["variants"]):
        made["figures"] = {name: in_json(value) for name, value in made["figures"].items()}
    return (json.dumps(table, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def parse_release(data: bytes, where: str | Path) -> Release:
    """Return the release that a file `release.json` describes.

    Raises:
        RequantError: if it is no such record, or one of a later version.
    """
    try:
        table = json.loads(data)
        if table.pop("format") != FORMAT:
            raise RequantError(f"{where} was written by another version of requant. Use that one, or a later one.")
        return Release(
            **{
                **table,
                "original": Original(**{**table["original"], "files": _files(table["original"]["files"])}),
                "float_model": _made(table["float_model"]),
                "variants": tuple(_made(made) for made in table["variants"]),
                "others": _files(table["others"]),
                "software": Software(**table["software"]),
            }
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RequantError(f"{where} is no record of a release: {error!r}") from error


def _files(tables: Any) -> tuple[ArchivedFile, ...]:
    return tuple(ArchivedFile(**table) for table in tables)


def _made(table: Mapping[str, Any]) -> Made:
    evaluation = table["evaluation"]
    return Made(
        **{
            **table,
            "model": ArchivedFile(**table["model"]),
            "audit": ArchivedFile(**table["audit"]),
            "evaluation": ArchivedFile(**evaluation) if evaluation else None,
            "functions": tuple(table["functions"]),
            "figures": {n: float(v) if v in ("inf", "-inf") else v for n, v in table["figures"].items()},
        }
    )
