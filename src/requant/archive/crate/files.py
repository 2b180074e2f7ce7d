"""Every file of a release: what it is, its digest, size and format, what it is made of and what it is about."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from requant.archive.crate.entities import (
    CORE_ML,
    FLOAT,
    WORKFLOW,
    Entity,
    file_id,
    licence_of,
    links,
    origin_of,
    original_folder,
    original_parts,
    original_roots,
    to,
)
from requant.archive.record import ArchivedFile, Made, Release

_MEDIA_TYPES = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".md": "text/markdown",
    ".npz": "application/zip",
    ".png": "image/png",
    ".pt2": "application/zip",
    ".py": "text/x-python",
    ".rst": "text/x-rst",
    ".smk": "text/x-python",
    ".svg": "image/svg+xml",
    ".toml": "application/toml",
    ".tsv": "text/tab-separated-values",
    ".txt": "text/plain",
    ".xml": "application/xml",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".zip": "application/zip",
}
_CORE_ML_ENDINGS = (".mlmodel", ".mlpackage.zip")
_OTHERS = {
    "report/index.html": "The page: which variant to ship, and why",
    "summary.tsv": "The table of all variants",
    "judgement.json": "The targets, the recommended variant and the reason",
    "data.json": "The evaluation data, by digest",
    "original.json": "The original's files with their SHA-256, checked",
    "conversion.json": "The check of the float model against the original, run in its own framework",
}
_FOLDERS = {
    "code": "Functions of the user's that the making of a model calls",
    "workflow": "A part of the workflow",
}


def describe_files(release: Release) -> Iterator[Entity]:
    """Describe every file of a release but the crate's own and the workflow's first."""
    yield from _original(release)
    for made in (release.float_model, *release.variants):
        yield from _made(release, made)
    for file in release.others:
        if file.path != WORKFLOW:
            yield describe_file(file, _meaning(file.path)) | _about(release, file.path)
    yield _record("release.json", "The record of the release", "application/json")
    yield _record("bom.cdx.json", "The bill of materials, in CycloneDX", "application/vnd.cyclonedx+json")


def describe_file(file: ArchivedFile, meaning: str) -> Entity:
    """Describe a file: what it is, its size in bytes, its digest and its format."""
    return {
        "@id": file_id(file.path),
        "@type": "File",
        "name": PurePosixPath(file.path).name,
        "description": meaning,
        "contentSize": str(file.bytes),
        "sha256": file.sha256,
        "encodingFormat": _format(file.path),
    }


def _record(name: str, meaning: str, media_type: str) -> Entity:
    """Describe a file that is made from the same record as the crate: its digest is not known here."""
    entity = {"@id": name, "@type": "File", "name": name, "description": meaning, "encodingFormat": media_type}
    return {**entity, "about": to("./")}


def _original(release: Release) -> Iterator[Entity]:
    """Describe the original: a file, or a folder with its files."""
    original, inside = release.original, original_parts(release)
    facts: Entity = {"license": to(licence_of(release))}
    if original.origin.strip():
        facts["isBasedOn"] = to(origin_of(release))
    if inside:
        yield {
            "@id": original_folder(release),
            "@type": "Dataset",
            "name": original.name,
            "description": "The preserved original",
            "hasPart": links(file_id(file.path) for file in original.files if file.path in inside),
            **facts,
        }
    for file in original.files:
        if file.path in inside:
            yield describe_file(file, "A file of the preserved original")
        else:
            yield describe_file(file, "The preserved original") | facts


def _made(release: Release, made: Made) -> Iterator[Entity]:
    """Describe the files of a model that was made: itself, its audit, its evaluation."""
    is_float = made.scheme == FLOAT
    name = "the float model" if is_float else f"the variant {made.scheme}"
    advice = ", the recommended one" if made.scheme == release.recommended else ""
    source = original_roots(release) if is_float else [file_id(release.float_model.model.path)]
    yield describe_file(made.model, f"{name.capitalize()}{advice}; {release.type}") | {
        "isBasedOn": links(source),
        "license": to(licence_of(release)),
    }
    about = {"about": to(file_id(made.model.path))}
    yield describe_file(made.audit, f"What each tensor of {name} stores") | about
    if made.evaluation:
        yield describe_file(made.evaluation, f"All figures of {name}") | about


def _format(path: str) -> list[Any]:
    """Return the media type of a file, and for a Core ML model the site that describes its format."""
    file = PurePosixPath(path)
    named = "text/x-python" if file.name == "Snakefile" else "application/octet-stream"
    media_type = _MEDIA_TYPES.get(file.suffix.lower(), named)
    return [media_type, to(CORE_ML)] if path.lower().endswith(_CORE_ML_ENDINGS) else [media_type]


def _meaning(path: str) -> str:
    return _OTHERS.get(path) or _FOLDERS.get(path.partition("/")[0]) or "A file of the release"


def _about(release: Release, path: str) -> Entity:
    """Return what a further file is about."""
    if path == "original.json":
        return {"about": links(original_roots(release))}
    if path == "conversion.json":
        return {"about": to(file_id(release.float_model.model.path))}
    return {"about": to("./")} if path in _OTHERS else {}
