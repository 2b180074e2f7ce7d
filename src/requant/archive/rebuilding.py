"""Rebuilding a release: from the archived original and the record alone, everything is made again and compared."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from requant.archive.contents import Entry, read_release
from requant.archive.record import Made, Release
from requant.archive.restoring import ORIGINAL
from requant.archive.store import Store
from requant.convert import FLOAT
from requant.convert.conversion import make_float_model
from requant.convert.settings import ConversionSettings
from requant.coreml.inventory import stored_weights
from requant.coreml.model import load
from requant.errors import RequantError
from requant.originals import sha256
from requant.quantize.scheme import Scheme
from requant.quantize.selection import Selection
from requant.quantize.variant import make_variant

_SHOWN = 8  # tensors that a message names


@dataclass(frozen=True)
class Rebuilt:
    """What rebuilding a model gave.

    Attributes:
        scheme: `float`, or that of the variant.
        path: in the release.
        differences: what differs, in words; none if the same bytes came out.
    """

    scheme: str
    path: str
    differences: tuple[str, ...]

    def __str__(self) -> str:
        """Return it for people."""
        if not self.differences:
            return f"{self.path}: rebuilt bit for bit"
        return f"{self.path}: differs\n" + "\n".join(f"  {difference}" for difference in self.differences)


def rebuild(store: Store, entry: Entry, scratch: Path, schemes: Sequence[str] | None = None) -> Iterator[Rebuilt]:
    """Make the float model and variants of a release again, and yield how each compares with the archived one.

    Functions of the user's that were archived are run.

    Args:
        store: of the archive.
        entry: the release.
        scratch: an empty folder.
        schemes: of the variants; None for all.

    Raises:
        RequantError: if the archived original or code is damaged, or the release has no such variant.
    """
    release = read_release(store, entry)
    known = {made.scheme: made for made in release.variants}
    for scheme in schemes or ():
        if scheme not in known:
            raise RequantError(f"{entry} has no variant {scheme}; it has {', '.join(known) or 'none'}.")
    archived = store.files(entry.model, entry.number)
    lay_out_sources(release, archived, scratch)
    for made in (release.float_model, *(known[s] for s in (schemes if schemes is not None else known))):
        try:
            output = make(release, made, scratch)
        except RequantError as error:
            yield Rebuilt(made.scheme, made.model.path, (f"it can't be made again: {error}",))
            if made.scheme == FLOAT:
                return
            continue
        yield Rebuilt(made.scheme, made.model.path, tuple(_compared(output, made, archived[made.model.path])))


def lay_out_sources(release: Release, archived: Mapping[str, Path], scratch: Path) -> None:
    """Copy the original and the user's code of a release into a folder, as they are in the release.

    Raises:
        RequantError: if one of these files is damaged or missing.
    """
    code = [file for file in release.others if file.path.startswith("code/")]
    for file in (*release.original.files, *code):
        target, source = scratch / file.path, archived[file.path]
        target.parent.mkdir(parents=True, exist_ok=True)
        if not source.is_file():
            raise RequantError(f"{source} is missing in the archive: nothing can be rebuilt of {file.path}.")
        shutil.copyfile(source, target)
        if sha256(target) != file.sha256:
            raise RequantError(f"{source} is damaged: nothing can be rebuilt of {file.path}.")


def make(release: Release, made: Made, scratch: Path) -> Path:
    """Make the float model or a variant of a release again in the folder with its sources; return the file."""
    output = scratch / made.model.path
    output.parent.mkdir(parents=True, exist_ok=True)
    if made.scheme == FLOAT:
        digests = {file.path.removeprefix(ORIGINAL): file.sha256 for file in release.original.files}
        settings = ConversionSettings.of(_in_scratch(made.settings, scratch))
        make_float_model(scratch / ORIGINAL / release.original.name, {"sha256": digests}, output, settings)
    else:
        function = f"{scratch}/{made.functions[0]}" if made.functions else None
        selection = Selection.of(made.settings)
        make_variant(scratch / release.float_model.model.path, Scheme.parse(made.scheme), output, function, selection)
    return output


def _in_scratch(settings: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Return the settings of a conversion with the files that they name in a folder."""
    return {
        key: f"{scratch}/{value}" if key in ("factory", "class_labels") and isinstance(value, str) else value
        for key, value in settings.items()
    }


def _compared(output: Path, made: Made, archived: Path) -> Iterator[str]:
    if sha256(output) == made.model.sha256:
        return
    if not archived.is_file() or sha256(archived) != made.model.sha256:
        yield "other bytes than the record names; the archived file is damaged, so that tensors can't be compared"
        return
    then, now = ({weight.name: weight for weight in stored_weights(load(path))} for path in (archived, output))
    names = sorted(then.keys() | now.keys())
    found = [words for name in names if (words := _tensor(name, then.get(name), now.get(name)))]
    yield from found[:_SHOWN]
    if len(found) > _SHOWN:
        yield f"and {len(found) - _SHOWN} more tensors"
    if not found:
        yield "all tensors are equal; the rest of the file differs, as names, descriptions or the order of operations"


def _tensor(name: str, then: Any, now: Any) -> str:
    """Return in words how a tensor differs; nothing if it does not."""
    if then is None or now is None:
        return f"{name}: there is none " + ("in the archived file" if then is None else "in the one made now")
    if str(then.form) != str(now.form) or then.bits != now.bits:
        return f"{name}: {then.form} with {then.bits} bits then, {now.form} with {now.bits} bits now"
    if then.values.shape != now.values.shape:
        return f"{name}: shape {then.values.shape} then, {now.values.shape} now"
    differing = int(np.sum(then.values != now.values))
    if differing:
        largest = float(np.max(np.abs(then.values - now.values)))
        return f"{name}: {differing} of {then.values.size} values differ, by {largest:.3g} at most"
    return ""
