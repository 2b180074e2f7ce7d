"""Making a release: a model's files are gathered as a tree, described, and added to the archive as one version."""

from __future__ import annotations

import csv
import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from requant.archive.bill_of_materials import NAME as BILL
from requant.archive.bill_of_materials import bill_of_materials
from requant.archive.contents import NAME_PATTERN, RECORD, Entry, entries, message_of, read_release, write_release
from requant.archive.crate import NAME as CRATE
from requant.archive.crate import crate_metadata
from requant.archive.record import ArchivedFile, Made, Original, Release, Software
from requant.archive.store import Source, Store
from requant.convert import FLOAT
from requant.errors import RequantError
from requant.originals import Entry as IndexEntry
from requant.originals import read_index, read_lock, verify
from requant.records import read_record
from requant.report.page import SectionFiles, write_page
from requant.user_function import split_reference

_PAGE = "report/index.html"
# Parts of a release that may differ in what counts as the same release archived again.
_DRAWN = ("report/", "workflow/")
_TEXTS = ("ios", "macos", "raised_from_ios", "hazards", "scheme", "mode", "family", "file", "model")
_NO_FIGURES = ("model", "scheme", "mode", "family", "file")


@dataclass(frozen=True)
class MadeFiles:
    """The files of the float model or of a variant in a project.

    Attributes:
        scheme: `float`, or the name of the scheme.
        model: the delivered file; its audit lies beside it, with `.json` added to its name.
        evaluation: the file with its figures.
        settings: what its making hangs on beside its input; files in it as the configuration names them.
        functions: functions of the user's that its making calls, as `file.py:function`.
    """

    scheme: str
    model: Path
    evaluation: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    functions: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReleaseFiles:
    """What a release is made of, where it lies in a project.

    Attributes:
        model: the model's name.
        release: the release's name.
        original: the preserved original, locked.
        float_model: its float model.
        variants: those to be archived.
        page: what the page is made from: the records and tables too.
        conversion: the check of the conversion; None for a Core ML original.
        user_files: files of the user's that the models or figures hang on.
        workflow: the folder with the `Snakefile`; None to leave the workflow out.
        software: what made it.
    """

    model: str
    release: str
    original: Path
    float_model: MadeFiles
    variants: tuple[MadeFiles, ...]
    page: SectionFiles
    software: Software
    conversion: Path | None = None
    user_files: tuple[Path, ...] = ()
    workflow: Path | None = None


def archive_release(store: Store, files: ReleaseFiles) -> tuple[Entry, bool]:
    """Add a release to an archive.

    Returns:
        The release, and whether it was added: it is not if the same one is there already. The page and the workflow may
        be others in that: what counts are the original, the models, their audits, figures and settings.

    Raises:
        RequantError: if there is another release of this name, a file is missing, or the original is not what is
            locked.
    """
    if not NAME_PATTERN.fullmatch(files.release):
        raise RequantError(
            f"the release {files.release!r} can't have this name: use letters, digits, dots, hyphens and underscores, "
            "and begin with a letter or a digit."
        )
    with store.writing(), tempfile.TemporaryDirectory(prefix="requant-") as scratch:
        tree = dict(_gathered(files, Path(scratch)))
        release = _record(files, tree, datetime.now(UTC).isoformat(timespec="seconds"))
        for entry in entries(store, files.model):
            if entry.release == files.release:
                _require_same(store, entry, release)
                return entry, False
        described = {RECORD: write_release(release), BILL: bill_of_materials(release), CRATE: crate_metadata(release)}
        sources = {path: Source(where, _digest(release, path)) for path, where in tree.items()}
        inventory = store.add_version(files.model, message_of(files.release), release.created, {**sources, **described})
    return Entry(files.model, files.release, len(inventory.versions), release.created), True


def receipt(store: Store, entry: Entry) -> dict[str, Any]:
    """Return a small record of a release, which tells where in the archive it is, and its digest."""
    inventory = store.inventory(entry.model)
    if inventory is None:
        raise RequantError(f"there is no {entry.model} in {store.archive}.")
    return {
        "model": entry.model,
        "release": entry.release,
        "object": f"ocfl/{entry.model}",
        "sha512": inventory.versions[entry.number - 1].state[RECORD],
    }


def _gathered(files: ReleaseFiles, scratch: Path) -> Iterator[tuple[str, Path]]:
    """Return where each file of a release is, by its path in the release."""
    lock = read_lock(files.original.parent)
    verify(files.original, lock)
    for name in lock.names_of(files.original):
        yield f"original/{name}", lock.folder / name
    for made in (files.float_model, *files.variants):
        folder = "float" if made.scheme == FLOAT else "variants"
        yield f"{folder}/{made.model.name}", made.model
        yield f"{folder}/{made.model.name}.json", made.model.with_name(made.model.name + ".json")
        if made.evaluation:
            yield f"evaluation/{made.evaluation.name}", made.evaluation
    page = files.page
    records = {
        "summary.tsv": page.table, "judgement.json": page.judgement, "original.json": page.original,
        "data.json": page.data, "conversion.json": files.conversion, "fidelity.svg": page.plot, "sheet.png": page.sheet,
    }  # fmt: skip
    yield from ((name, path) for name, path in records.items() if path)
    for path, where in _code(files).items():
        yield where, path
    if files.workflow:
        yield from _workflow(files.workflow)
    yield _PAGE, _page(files, scratch)


def _code(files: ReleaseFiles) -> dict[Path, str]:
    """Return the place in the release of each file of the user's: as in the project, where it lies in there."""
    placed: dict[Path, str] = {}
    for path in sorted(set(files.user_files)):
        parts = path.parts if not path.is_absolute() and ".." not in path.parts else (path.name,)
        where, number = "/".join(("code", *parts)), 1
        while where in placed.values():
            number += 1
            where = f"code/{number}/{path.name}"
        placed[path] = where
    return placed


def _workflow(root: Path) -> Iterator[tuple[str, Path]]:
    folders = [path for name in ("workflow", "scripts") for path in sorted((root / name).rglob("*"))]
    for path in (root / "Snakefile", *folders):
        if path.is_file() and "__pycache__" not in path.parts:
            yield f"workflow/{path.relative_to(root).as_posix()}", path


def _page(files: ReleaseFiles, scratch: Path) -> Path:
    """Write the page for this model alone; links lead to files of the release, and to those alone."""
    table, judgement, page = scratch / "summary.tsv", scratch / "judgement.json", scratch / _PAGE
    table.write_bytes(files.page.table.read_bytes())
    judgement.write_bytes(files.page.judgement.read_bytes())
    archived = {made.model.name for made in files.variants}
    write_page([replace(files.page, table=table, judgement=judgement, delivered=archived)], page)
    return page


def _record(files: ReleaseFiles, tree: Mapping[str, Path], created: str) -> Release:
    archived = {path: _archived(path, where) for path, where in tree.items()}
    code, rows = _code(files), _rows(files.page.table)
    judgement = read_record(files.page.judgement)
    made = [_made(each, files, archived, code, rows) for each in (files.float_model, *files.variants)]
    of_models = {file.path for each in made for file in (each.model, each.audit, each.evaluation) if file}
    original = tuple(file for path, file in archived.items() if path.startswith("original/"))
    known = read_index(files.original.parent).get(files.original.name, IndexEntry())
    return Release(
        files.model,
        files.release,
        created,
        judgement["type"],
        Original(files.original.name, original, known.origin, known.licence),
        made[0],
        tuple(made[1:]),
        judgement["recommended"],
        tuple(file for path, file in sorted(archived.items()) if path not in of_models and file not in original),
        files.software,
    )


def _made(
    made: MadeFiles,
    files: ReleaseFiles,
    archived: Mapping[str, ArchivedFile],
    code: Mapping[Path, str],
    rows: Mapping[str, Mapping[str, str]],
) -> Made:
    folder = "float" if made.scheme == FLOAT else "variants"
    model = f"{folder}/{made.model.name}"
    functions = []
    for function in made.functions:
        path, name = split_reference(function)
        functions.append(f"{code[path]}:{name}")
    return Made(
        made.scheme,
        archived[model],
        archived[f"{model}.json"],
        archived[f"evaluation/{made.evaluation.name}"] if made.evaluation else None,
        placed_settings(made.settings, code),
        tuple(functions),
        f"snakemake results/{files.model}/{model}",
        dict(_figures(rows.get(made.scheme, {}))),
    )


def placed_settings(settings: Mapping[str, Any], places: Mapping[Path, str]) -> dict[str, Any]:
    """Return settings with other places of the files that they name.

    Args:
        settings: of a conversion or a selection; the first may name a factory, as `file.py:function`, and a file with
            labels.
        places: the new place of each file.
    """
    placed = dict(settings)
    factory, labels = placed.get("factory"), placed.get("class_labels")
    if isinstance(factory, str):
        path, name = split_reference(factory)
        placed["factory"] = f"{places[path]}:{name}"
    if isinstance(labels, str):
        placed["class_labels"] = places[Path(labels)]
    return placed


def _rows(table: Path) -> dict[str, dict[str, str]]:
    """Return the rows of a table of variants by scheme."""
    with table.open(encoding="utf-8", newline="") as stream:
        return {row["scheme"]: row for row in csv.DictReader(stream, delimiter="\t")}


def _figures(row: Mapping[str, str]) -> Iterator[tuple[str, float | str]]:
    """Return what a row tells, numbers as numbers, without what is not known."""
    for column, text in row.items():
        if column in _NO_FIGURES or text in ("", "nan"):
            continue
        try:
            value: float | str = text if column in _TEXTS else float(text)
        except ValueError:
            value = text
        yield column, value


def _archived(path: str, where: Path) -> ArchivedFile:
    try:
        with where.open("rb") as stream:
            return ArchivedFile(path, hashlib.file_digest(stream, "sha256").hexdigest(), where.stat().st_size)
    except OSError as error:
        raise RequantError(f"{where} can't be archived: {error.strerror or error}.") from error


def _digest(release: Release, path: str) -> str:
    return next(file.sha256 for file in release.files if file.path == path)


def _require_same(store: Store, entry: Entry, release: Release) -> None:
    """Make sure that a release is one that is archived already, but for what is drawn anew."""
    before = read_release(store, entry)
    differing = sorted(_different(before.files, release.files))
    if differing:
        raise RequantError(
            f"{store.archive} has a release {entry} already, with other files: {', '.join(differing[:8])}"
            f"{' …' if len(differing) > 8 else ''}. What is archived is not changed; choose a new name, as archive: "
            f"{{release: …}} in the configuration."
        )
    if _essence(before) != _essence(release):
        raise RequantError(
            f"{store.archive} has a release {entry} already, with other settings. What is archived is not changed; "
            "choose a new name, as archive: {release: …} in the configuration."
        )


def _different(before: Iterable[ArchivedFile], after: Iterable[ArchivedFile]) -> set[str]:
    pair = [{f.path: f.sha256 for f in files if not f.path.startswith(_DRAWN)} for files in (before, after)]
    return {path for path in pair[0].keys() | pair[1].keys() if pair[0].get(path) != pair[1].get(path)}


def _essence(release: Release) -> Any:
    made = [(each.scheme, each.settings, each.functions) for each in (release.float_model, *release.variants)]
    return json.loads(json.dumps([release.original.name, release.recommended, sorted(made, key=lambda each: each[0])]))


def wanted_schemes(wanted: str | Sequence[str], schemes: Sequence[str], judgement: Path) -> list[str]:
    """Return the schemes whose variants belong into a release.

    Args:
        wanted: `all`, `recommended`, or names of schemes.
        schemes: that the model has.
        judgement: which tells the recommended one.

    Raises:
        RequantError: if a scheme is named that the model does not have.
    """
    if wanted == "all":
        return list(schemes)
    if wanted == "recommended":
        recommended = read_record(judgement)["recommended"]
        return [scheme for scheme in schemes if scheme == recommended]
    unknown = [scheme for scheme in wanted if scheme not in schemes]
    if unknown:
        raise RequantError(
            f"archive: variants names {unknown[0]}, which is no variant of this model; there are {', '.join(schemes)}."
        )
    return [scheme for scheme in schemes if scheme in wanted]
