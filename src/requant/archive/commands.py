"""The commands `requant archive …`: what they take and what they print. Nothing heavy is imported before one runs."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from requant.convert import format_of
from requant.errors import RequantError
from requant.frameworks import FRAMEWORKS, Extra

LARGE = 200_000_000  # bytes; reading more tells how far it is
RELEASE_HELP = "as MODEL@RELEASE; MODEL alone for its newest one"


def add_archive(commands: Any, software: Callable[[], Any]) -> None:
    """Add the command `archive` with its own commands.

    Args:
        commands: where parsers are added.
        software: returns what is installed here, as `requant.archive.record.Software`.
    """
    archive = commands.add_parser("archive", help="releases: list, verify, restore, rebuild, prune, repair")
    own = archive.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = own.add_parser(name, help=text)
        parser.add_argument("--folder", type=Path, default=Path("archive"), help="default: %(default)s")
        parser.set_defaults(command=command, software=software)
        return parser

    add("list", _list, "say which releases there are")
    add("verify", _verify, "prove every byte and every release; exit status 1 if something is wrong")

    restore = add("restore", _restore, "take a release out: its original into the project, or all of it into a folder")
    restore.add_argument("release", metavar="MODEL[@RELEASE]", help=RELEASE_HELP)
    restore.add_argument("--to", type=Path, metavar="FOLDER", help="all files of the release go there")
    restore.add_argument("--variant", nargs="+", default=[], metavar="SCHEME", help="with --to, these variants only")

    taken = add("add", _add, "put releases that were copied elsewhere into the archive")
    taken.add_argument("zips", nargs="+", type=Path, metavar="FILE.zip")

    check = add("rebuild-check", _rebuild_check, "make a release again from its original, and compare every byte")
    check.add_argument("release", metavar="MODEL[@RELEASE]", help=RELEASE_HELP)
    check.add_argument("--variant", nargs="+", default=None, metavar="SCHEME", help="these variants only")
    check.set_defaults(frameworks=_of_release)

    prune = add("prune", _prune, "remove releases")
    prune.add_argument("releases", nargs="*", metavar="MODEL@RELEASE")
    prune.add_argument("--keep", type=int, metavar="N", help="of each model, the newest N stay")
    prune.add_argument("--dry-run", action="store_true", help="say what would be removed")
    prune.add_argument(
        "--originals-too", action="store_true", help="also the last copies of originals, which stay else"
    )

    repair = add("repair", _repair, "replace what is damaged by equal bytes from elsewhere, or make it again")
    repair.add_argument(
        "--from",
        dest="sources",
        nargs="+",
        type=Path,
        default=[Path("results"), Path("models_original")],
        metavar="FOLDER",
        help="where equal bytes may be; default: results models_original",
    )
    repair.set_defaults(frameworks=lambda _: list(FRAMEWORKS))

    for name, command, key, text in (
        ("sign", _sign, "private", "sign a release with a key of one's own; docs/signing.md says how to make one"),
        ("verify-signature", _verify_signature, "public", "make sure that a release is the one that was signed"),
    ):
        parser = add(name, command, text)
        parser.add_argument("release", metavar="MODEL[@RELEASE]", help=RELEASE_HELP)
        parser.add_argument("--key", type=Path, required=True, metavar="FILE", help=f"a PEM file with the {key} key")


def _store(options: argparse.Namespace) -> Any:
    """Return the store of the archive, which has to be there."""
    from requant.archive.store import Store

    store = Store(options.folder)
    store.require()
    return store


def _of_release(options: argparse.Namespace) -> list[Extra]:
    """Return what the conversion of a release's original needs."""
    from requant.archive.contents import find, read_release

    store = _store(options)
    extra = format_of(Path(read_release(store, find(store, options.release)).original.name)).extra
    return [extra] if extra else []


def _list(options: argparse.Namespace) -> None:
    from requant.archive.contents import ORIGINALS, entries, read_release

    store = _store(options)
    for entry in entries(store):
        release = read_release(store, entry)
        size = sum(file.bytes for file in release.files) / 1e6
        count = len(release.variants)
        variants = f"{count} variant" + ("s" if count != 1 else "")
        print(f"{entry}  {entry.created}  {release.type}, {variants}, {size:.2f} MB")
    kept = store.inventory(ORIGINALS)
    for number, version in enumerate(kept.versions if kept else (), 1):
        print(f"original {version.message}  {version.created}  kept as v{number} of {store.folder(ORIGINALS)}")


def _verify(options: argparse.Namespace) -> None:
    from requant.archive.contents import entries
    from requant.archive.verifying import verify_archive

    store = _store(options)
    findings = verify_archive(store, _Progress())
    if findings:
        raise RequantError(f"{store.archive} is not as it has to be.\n" + "\n".join(f"  {each}" for each in findings))
    print(f"{store.archive}: all of {_count(len(entries(store)), 'release')} whole and unchanged")


def _restore(options: argparse.Namespace) -> None:
    from requant.archive.contents import find
    from requant.archive.restoring import restore_original, restore_release

    store = _store(options)
    entry = find(store, options.release)
    if options.to:
        restored = restore_release(store, entry, options.to, options.variant)
        print(f"{entry} is in {options.to}: {_done(restored)}")
    elif options.variant:
        raise RequantError("--variant wants --to FOLDER. In the project, Snakemake makes variants from the original.")
    else:
        original, restored = restore_original(store, entry, Path())
        print(f"{original} is the original of {entry}, locked and read-only: {_done(restored)}")


def _add(options: argparse.Namespace) -> None:
    from requant.archive.carrying import carry_in
    from requant.archive.store import Store

    for path in options.zips:
        entry, added = carry_in(Store(options.folder), path)
        print(f"{entry}: {'added' if added else 'there already, the same'}")


def _done(restored: Any) -> str:
    return f"{_count(len(restored.written), 'file')} written, {len(restored.there)} there already"


def _rebuild_check(options: argparse.Namespace) -> None:
    from requant.archive.contents import find, read_release
    from requant.archive.rebuilding import rebuild
    from requant.archive.software import differences

    store = _store(options)
    entry = find(store, options.release)
    different = 0
    with tempfile.TemporaryDirectory(prefix="requant-") as scratch:
        for rebuilt in rebuild(store, entry, Path(scratch), options.variant):
            print(rebuilt, flush=True)
            different += bool(rebuilt.differences)
    if different:
        found = differences(read_release(store, entry).software, options.software())
        reasons = "\n".join(f"  {each}" for each in found) or "  none that is recorded"
        raise RequantError(f"{different} of the models of {entry} came out otherwise. What else differs:\n{reasons}")


def _prune(options: argparse.Namespace) -> None:
    from requant.archive.contents import ORIGINALS
    from requant.archive.pruning import plan_removal, prune

    store = _store(options)
    removal = plan_removal(store, options.releases, options.keep)
    if not options.dry_run:
        prune(store, removal, originals_too=options.originals_too)
    verb = "would be removed" if options.dry_run else "removed"
    for entry in removal.releases:
        print(f"{entry}: {verb}")
    for entry, name in removal.last_originals:
        if options.originals_too:
            print(f"{name}, the original of {entry}: {verb}; the archive has no other copy")
        else:
            print(f"{name}, the original of {entry}: stays, as the last copy, in {store.folder(ORIGINALS)}")
    if not removal.releases:
        print("there is nothing to remove")


def _repair(options: argparse.Namespace) -> None:
    from requant.archive.repairing import repair

    store = _store(options)
    done, left = repair(store, options.sources, _Progress())
    for line in done:
        print(line)
    if left:
        raise RequantError("this could not be repaired:\n" + "\n".join(f"  {each}" for each in left))
    if not done:
        print(f"{store.archive}: nothing to repair")


def _sign(options: argparse.Namespace) -> None:
    from requant.archive.signing import sign

    with _laid_out(options) as (entry, folder, signature):
        count = sign(folder, signature, options.key)
    print(f"{entry}: {_count(count, 'file')} signed, in {signature}")


def _verify_signature(options: argparse.Namespace) -> None:
    from requant.archive.signing import verify_signature

    with _laid_out(options) as (entry, folder, signature):
        count = verify_signature(folder, signature, options.key)
    print(f"{entry}: {_count(count, 'file')} as they were signed, by the key {options.key}")


@contextmanager
def _laid_out(options: argparse.Namespace) -> Iterator[tuple[Any, Path, Path]]:
    """Lay a release out for the time being; give the release, the folder, and where its signature is kept."""
    from requant.archive.contents import find
    from requant.archive.restoring import restore_release
    from requant.archive.signing import signature_path

    store = _store(options)
    entry = find(store, options.release)
    with tempfile.TemporaryDirectory(prefix="requant-") as scratch:
        folder = Path(scratch) / entry.model
        restore_release(store, entry, folder)
        yield entry, folder, signature_path(options.folder, entry.model, entry.release)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("s" if number != 1 else "")


class _Progress:
    """A line on standard error that says how far long work is, where somebody looks at it or there is much to read."""

    def __init__(self) -> None:
        self._shown = -1

    def __call__(self, done: int, total: int) -> None:
        """Say how many of all bytes were read."""
        percent = 100 * done // total if total else 100
        if total < LARGE or percent == self._shown:
            return
        terminal = sys.stderr.isatty()
        if terminal or percent // 10 != self._shown // 10:
            end = "\r" if terminal and percent < 100 else "\n"
            print(f"read {done / 1e6:.0f} of {total / 1e6:.0f} MB ({percent} %)", end=end, file=sys.stderr, flush=True)
        self._shown = percent
