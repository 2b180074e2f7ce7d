"""Identifiers and links, and what a release's original is in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from requant.archive.licence import spdx_page
from requant.archive.record import Release

WORKFLOW = "workflow/Snakefile"  # the file of a release without which no run of a workflow can be described
FLOAT = "float"
CORE_ML = "https://apple.github.io/coremltools/mlmodel/index.html"
APACHE = "https://spdx.org/licenses/Apache-2.0"  # the licence of this project

Entity = dict[str, Any]


def to(identifier: str) -> Entity:
    """Return a link to an entity."""
    return {"@id": identifier}


def links(identifiers: Iterable[str]) -> list[Entity]:
    """Return links to entities, each once, in the order given."""
    return [to(identifier) for identifier in unique(identifiers)]


def unique(items: Iterable[str]) -> list[str]:
    """Return what is given, each once, in the order given."""
    return list(dict.fromkeys(items))


def compact(entity: Entity) -> Entity:
    """Return an entity without empty lists, and with a list of one as that one, as RO-Crate recommends."""
    listed = {key: value for key, value in entity.items() if value != []}
    return {key: value[0] if isinstance(value, list) and len(value) == 1 else value for key, value in listed.items()}


def file_id(path: str) -> str:
    """Return the identifier of a file: its path, with what an address can't hold written as `%20`."""
    return quote(path)


def local_id(kind: str, *parts: str) -> str:
    """Return the identifier of what is no file, as `#scheme/kmeans_4`."""
    return f"#{kind}" + "".join(f"/{quote(part, safe='')}" for part in parts)


def address_in(text: str) -> str:
    """Return a text that is an address on the web and nothing else; empty if it is none."""
    text = text.strip()
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    return quote(text, safe="%/:=&?~#+!$,;'@()*[]") if parts.scheme in ("http", "https") and parts.netloc else ""


def has_workflow(release: Release) -> bool:
    """Return whether a release holds the workflow that made it."""
    return any(file.path == WORKFLOW for file in release.others)


def licence_of(release: Release) -> str:
    """Return the identifier of the licence: its page in the SPDX list, its address, or one in the crate."""
    licence = release.original.licence
    return spdx_page(licence) or address_in(licence) or local_id("licence")


def origin_of(release: Release) -> str:
    """Return the identifier of where the original comes from: its address, or one in the crate."""
    return address_in(release.original.origin) or local_id("origin")


def original_folder(release: Release) -> str:
    """Return the identifier of the original's folder; empty if it is none."""
    return file_id(f"original/{release.original.name}/") if original_parts(release) else ""


def original_parts(release: Release) -> frozenset[str]:
    """Return the paths of the files in the original's folder; none if it is none."""
    folder = f"original/{release.original.name}/"
    return frozenset(file.path for file in release.original.files if file.path.startswith(folder))


def original_roots(release: Release) -> Sequence[str]:
    """Return the identifiers of what stands for the original as a whole: its folder, or its file."""
    inside = original_parts(release)
    alone = [file_id(file.path) for file in release.original.files if file.path not in inside]
    return [original_folder(release), *alone] if inside else alone
