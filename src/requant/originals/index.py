"""The index of a folder of originals: where each comes from, under which licence, and when it was locked.

It is a YAML file for people and programs. Nothing hangs on it: whether an original is unchanged is the matter of the
lock file alone. It may be edited by hand; what is added by the command leaves all else in it, comments too, as it is.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from requant.errors import RequantError
from requant.originals.reading import read_text
from requant.records import write_whole

INDEX_NAME = "index.yaml"
_HEADER = """\
# Where the originals in this folder come from, and under which licence. `requant lock FILE --origin … --licence …` adds
# to it; edit it as you like.
"""
_TEXTS = ("description", "origin", "licence")
_KEYS = (*_TEXTS, "locked")


@dataclass(frozen=True)
class Entry:
    """What the index says of one original; empty where it says nothing.

    Attributes:
        origin: where it comes from: an address, or words.
        licence: an SPDX identifier, or words.
        locked: the day on which it was locked.
        description: what it is.
    """

    origin: str = ""
    licence: str = ""
    locked: datetime.date | None = None
    description: str = ""

    def updated(self, other: Entry) -> Entry:
        """Return this entry with what another one says, where that says anything."""
        return replace(self, **{key: getattr(other, key) for key in _KEYS if getattr(other, key)})

    def in_words(self) -> str:
        """Return origin, licence and date in a line; nothing if there is none of them."""
        parts = [
            f"origin: {self.origin}" if self.origin else "",
            f"licence: {self.licence}" if self.licence else "",
            f"locked on {self.locked}" if self.locked else "",
        ]
        return "; ".join(filter(None, parts))


def read_index(folder: Path) -> dict[str, Entry]:
    """Return the entries of the index of a folder of originals, by the originals' names; a folder may have none.

    Raises:
        RequantError: if it is no YAML, or has something else in it than entries with the keys of `Entry`.
    """
    return _parsed(read_text(folder / INDEX_NAME), folder / INDEX_NAME)


def _parsed(text: str, path: Path) -> dict[str, Entry]:
    try:
        node = yaml.compose(text, yaml.SafeLoader)
        table = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a ValueError for a date as 2026-13-01
        raise RequantError(f"{path} is no YAML: {error}. Mend it, or restore it from version control.") from error
    if table is None:
        return {}
    if not isinstance(table, dict):
        raise RequantError(f"{path} has to hold an entry for each original, as `net.mlmodel: {{licence: MIT}}`.")
    keys = [key.value for key, _ in node.value] if node else []
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise RequantError(f"{path} has two entries for {twice}. Keep one.")
    return {str(name): _entry(name, entry, path) for name, entry in table.items()}


def _entry(name: Any, table: Any, path: Path) -> Entry:
    if not isinstance(name, str):
        raise RequantError(f"{path}: the entry {name!r} has to be the name of an original; put it in quotes.")
    if not isinstance(table, dict | None):
        raise RequantError(f"{path}: {name} has to have the keys {', '.join(_KEYS)}, or some of them.")
    given = {key: value for key, value in (table or {}).items() if value is not None}
    for key, value in given.items():
        if key not in _KEYS:
            raise RequantError(f"{path}: {name} has the unknown key {key!r}; there are {', '.join(_KEYS)}.")
        if key in _TEXTS and not isinstance(value, str):
            raise RequantError(f"{path}: {key} of {name} has to be text, not {value!r}; put it in quotes.")
    locked = given.get("locked")
    if locked is not None and type(locked) is not datetime.date:
        raise RequantError(f"{path}: locked of {name} has to be a date as 2026-01-31, not {locked!r}.")
    return Entry(**given)


def unknown_entries(index: Iterable[str], originals: Iterable[Path], folder: Path) -> list[str]:
    """Return what is wrong with the entries of an index that are for no locked original."""
    known = {original.relative_to(folder).as_posix() for original in originals}
    return [
        f"{folder / INDEX_NAME} has an entry for {name}, which is not locked. Correct its name, or take it out."
        for name in index
        if name not in known
    ]


def write_entry(folder: Path, name: str, entry: Entry) -> None:
    """Write the entry of an original into the index of a folder, in place of an older one or at the end; whole.

    Raises:
        RequantError: if the index can't be read, or is written in a way in which an entry can't be put by a program.
    """
    path = folder / INDEX_NAME
    if path.is_symlink():
        raise RequantError(f"{path} is a symbolic link. Put the file itself there.")
    before = read_text(path)
    entries = _parsed(before, path)
    if entries.get(name) == entry:
        return
    text = _with_entry(before, name, entry)
    try:
        fits = _parsed(text, path) == entries | {name: entry}
    except RequantError:
        fits = False
    if not fits:
        raise RequantError(
            f"{path} has no place for an entry that a program could find. Write it yourself:\n{_text(name, entry)}"
        )
    write_whole(path, text.encode(), durable=True)


def _text(name: str, entry: Entry) -> str:
    table = {key: getattr(entry, key) for key in _KEYS if getattr(entry, key)}
    text: str = yaml.safe_dump({name: table}, sort_keys=False, allow_unicode=True, width=110)
    return text


def _with_entry(text: str, name: str, entry: Entry) -> str:
    node = yaml.compose(text, yaml.SafeLoader)
    for key, value in node.value if node else ():
        if key.value == name:
            start, end = key.start_mark.index, _end(value)
            return text[:start] + _text(name, entry).rstrip("\n") + text[end:]
    text = text or _HEADER
    return text + ("" if text.endswith("\n") else "\n") + _text(name, entry)


def _end(node: Any) -> int:
    """Return where the text of a value ends; that of a block includes the comments after it, which stay."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return _end(node.value[-1][1])
    index: int = node.end_mark.index
    return index
