"""The command `requant`: what is useful without the workflow."""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from requant.archive.commands import add_archive
from requant.convert import format_of, is_core_ml
from requant.errors import RequantError, printable
from requant.frameworks import Extra, only
from requant.runtime.translation import ComputePrecision, ComputeUnits

if TYPE_CHECKING:
    from requant.originals import Entry, Lock

DATA_HELP = (
    "a folder, or a .csv, .npz, .npy or .wav file, or a .yaml file with the keys of the configuration's `data`; "
    "default: inputs made up from a seed"
)
LONG = 200_000_000  # bytes that take long enough to want to see how far it is


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status: 0, or 1 with a message on standard error."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], None] = options.command
    try:
        with only(*_frameworks(options)):
            command(options)
    except RequantError as error:
        print(f"requant: {printable(str(error))}", file=sys.stderr)
        return 1
    except MemoryError:
        print("requant: there is not enough memory.", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever reads the output has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _frameworks(options: argparse.Namespace) -> list[Extra]:
    """Return what the conversion of an original needs, for a command that converts."""
    if "frameworks" in options:
        needed: list[Extra] = options.frameworks(options)
        return needed
    if options.command is not _convert:
        return []
    extra = format_of(options.original).extra
    return [extra] if extra else []


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="requant", description="Preserve, describe, run and unpack Core ML models.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    lock = commands.add_parser("lock", help="preserve new originals: write their digests down, make them read-only")
    lock.add_argument("originals", nargs="*", type=Path, metavar="FILE")
    lock.add_argument("--origin", default="", metavar="TEXT", help="where they come from: an address, or words")
    lock.add_argument("--licence", "--license", default="", metavar="TEXT", help="an SPDX identifier, or words")
    lock.add_argument("--description", default="", metavar="TEXT", help="what they are")
    lock.add_argument(
        "--date", type=_date, metavar="YYYY-MM-DD", help="of locking; default: SOURCE_DATE_EPOCH, or today"
    )
    lock.add_argument("--replace", type=Path, metavar="FILE", help="replace a locked original, after archiving it")
    lock.add_argument("--with", type=Path, metavar="FILE", dest="new", help="the new original; it is copied")
    lock.add_argument("--archive", type=Path, default=Path("archive"), metavar="FOLDER", help="default: %(default)s")
    lock.set_defaults(command=_lock, usage=lock)

    verify = commands.add_parser("verify", help="check preserved originals against their digests")
    verify.add_argument("originals", nargs="*", type=Path, metavar="FILE", help="default: all that are locked")
    verify.add_argument("--folder", type=Path, default=Path("models_original"), help="default: %(default)s")
    verify.add_argument("--progress", action="store_true", help="say how far it is, on standard error")
    verify.set_defaults(command=_verify)

    describe = commands.add_parser("describe", help="say what a Core ML model is and what it stores")
    describe.add_argument("model", type=Path, metavar="FILE")
    describe.add_argument("--tensors", action="store_true", help="name every weight tensor too")
    describe.set_defaults(command=_describe)

    predict = commands.add_parser("predict", help="run a Core ML model once, on any machine")
    predict.add_argument("model", type=Path, metavar="FILE")
    predict.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a picture's file, an .npy or .npz file, JSON, or text; once per input",
    )
    predict.add_argument("--output", type=Path, metavar="FOLDER", help="write pictures, arrays and labels there")
    predict.add_argument("--engine", choices=("auto", "apple", "onnxruntime"), default="auto")
    predict.add_argument("--compute-units", choices=get_args(ComputeUnits), default="cpu", help="of Apple's framework")
    predict.add_argument("--compute-precision", choices=get_args(ComputePrecision), default="float32")
    predict.add_argument("--function", default="", metavar="NAME", help="of an ML Program with several")
    predict.set_defaults(command=_predict)

    compare = commands.add_parser("compare-runtimes", help="run a model in all ways that this machine has, and compare")
    compare.add_argument("model", type=Path, metavar="FILE")
    compare.add_argument("--data", metavar="DATA", help=DATA_HELP)
    compare.add_argument("--function", default="", metavar="NAME", help="of an ML Program with several")
    compare.set_defaults(command=_compare_runtimes)

    quantize = commands.add_parser(
        "quantize", help="make one variant of a float model, and say what each tensor became"
    )
    quantize.add_argument("model", type=Path, metavar="FILE")
    quantize.add_argument("scheme", metavar="SCHEME", help="as kmeans_4 or linear_4_block32; see docs/modes.md")
    quantize.add_argument("output", type=Path, metavar="OUTPUT", help="a .mlmodel, or an .mlpackage.zip")
    quantize.add_argument("--custom-lut", metavar="FILE.py:FUNCTION", help="for the mode custom_lut")
    quantize.set_defaults(command=_quantize)

    convert = commands.add_parser(
        "convert", help="make the float model of an original in any format, and hold it against its framework"
    )
    convert.add_argument("original", type=Path, metavar="FILE")
    convert.add_argument("output", type=Path, metavar="OUTPUT", help="a .mlmodel, or an .mlpackage.zip")
    convert.add_argument(
        "--conversion", type=Path, metavar="FILE.yaml", help="the keys of the configuration's `conversion`"
    )
    convert.add_argument("--data", metavar="DATA", help=DATA_HELP)
    convert.set_defaults(command=_convert)

    unpack = commands.add_parser("unpack", help="lay out an .mlpackage.zip as the folder that Xcode takes")
    unpack.add_argument("model", type=Path, metavar="FILE")
    unpack.add_argument("folder", type=Path, metavar="NAME.mlpackage")
    unpack.set_defaults(command=_unpack)

    summary = commands.add_parser("summary", help="print the tables that the workflow wrote")
    summary.add_argument("results", nargs="?", type=Path, default=Path("results"), help="default: %(default)s")
    summary.set_defaults(command=_summary)

    add_archive(commands, _software)
    return parser


def _software() -> Any:
    """Return what is installed here, with the digest of the code that models hang on."""
    from requant.archive.software import CODE, CODE_LIBRARIES, describe_software
    from requant.fingerprint import fingerprint

    return describe_software(fingerprint(*CODE, libraries=CODE_LIBRARIES), None)


def _lock(options: argparse.Namespace) -> None:
    from requant.originals import Entry

    if bool(options.replace) != bool(options.new) or bool(options.originals) == bool(options.new):
        options.usage.error("give the originals to lock, or --replace FILE --with FILE")
    entry = Entry(options.origin, options.licence, options.date or _today(), options.description)
    if options.new:
        _replace(options, entry)
        return
    problems = []
    for original in options.originals:
        try:
            print(_locked(original, entry))
        except RequantError as error:
            problems.append(str(error))
    _fail(problems)


def _locked(original: Path, entry: Entry) -> str:
    """Lock an original and return what came of it, in words."""
    from requant.originals import lock_original, read_index

    unnamed = _require_whole(original)
    added = lock_original(original, entry)
    known = read_index(original.parent).get(original.name)
    told = f"{original}: " + (f"locked, {_files(len(added))}" if added else "locked already, unchanged")
    for name in unnamed if added else ():
        told += f"\n  with {name}, which its manifest does not name"
    if known and (known.origin or known.licence):
        return f"{told}\n  {known.in_words()}"
    return f"{told}\n  where it comes from and its licence are not recorded: --origin, --licence" if added else told


def _require_whole(original: Path) -> list[str]:
    """Make sure that a package is complete, and return the files in it that its manifest does not name."""
    from requant.coreml.package import require_whole

    return require_whole(original) if original.suffix == ".mlpackage" and original.is_dir() else []


def _replace(options: argparse.Namespace, entry: Entry) -> None:
    from requant.archive.originals import find_original, preserve_original
    from requant.originals import replace_original

    def preserve(original: Path, lock: Lock) -> str:
        where = preserve_original(options.archive, original, lock)
        print(f"{original}: kept as it was: {where}")
        return where

    def find(original: Path, lock: Lock) -> str | None:
        return find_original(options.archive, original, lock)

    _require_whole(options.new)
    kept = replace_original(options.replace, options.new, preserve, entry, find)
    print(f"{options.replace}: " + (f"replaced by {options.new}" if kept else "the same bytes, nothing is replaced"))


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no date as 2026-01-31") from error


def _today() -> date:
    """Return the date to write down: that of SOURCE_DATE_EPOCH (https://reproducible-builds.org), if it is set."""
    seconds = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        return datetime.fromtimestamp(int(seconds), UTC).date() if seconds else date.today()
    except (ValueError, OverflowError, OSError) as error:
        raise RequantError(f"SOURCE_DATE_EPOCH has to be a number of seconds, not {seconds!r}.") from error


def _verify(options: argparse.Namespace) -> None:
    from requant.originals import bytes_of, verify_all

    originals = options.originals
    with _progress("verified", bytes_of(options.folder, originals), options.progress) as advance:
        found = verify_all(options.folder, originals, advance)
    for finding in found.originals:
        state = "NOT AS LOCKED" if finding.problems else "unchanged"
        print(f"{finding.original}: {state}, {_files(finding.files)}, {finding.size / 1e6:.2f} MB")
        if finding.entry.in_words():
            print(f"  {finding.entry.in_words()}")
    for notice in found.notices:
        print(notice)
    wrong = sum(bool(finding.problems) for finding in found.originals)
    files, size = sum(f.files for f in found.originals), sum(f.size for f in found.originals)
    verdict = f"{wrong} not as locked" if wrong else "all unchanged"
    count = len(found.originals)
    print(f"{count} original{'' if count == 1 else 's'}, {_files(files)}, {size / 1e6:.2f} MB: {verdict}")
    _fail(found.all_problems)


def _fail(problems: list[str]) -> None:
    """End the command with all problems, if there are any."""
    if len(problems) > 1:
        raise RequantError("\n".join([f"there are {len(problems)} problems.", *(f"- {p}" for p in problems)]))
    if problems:
        raise RequantError(problems[0])


@contextmanager
def _progress(verb: str, total: int, wanted: bool) -> Iterator[Callable[[int], None] | None]:
    """Say on standard error how many bytes are done, if it is wanted, or a person waits for many of them."""
    guard, done, told = threading.Lock(), 0, 0.0

    def advance(size: int) -> None:
        nonlocal done, told
        with guard:
            done += size
            if time.monotonic() - told > 0.2 or done == total:
                told = time.monotonic()
                print(f"\r{verb} {done / 1e6:,.0f} of {total / 1e6:,.0f} MB", end="", file=sys.stderr, flush=True)

    shown = wanted or (sys.stderr.isatty() and total > LONG)
    yield advance if shown else None
    if shown:
        print(file=sys.stderr)


def _files(count: int) -> str:
    return f"{count} file" + ("s" if count != 1 else "")


def _describe(options: argparse.Namespace) -> None:
    from requant.coreml.model import load, size_of
    from requant.report.anatomy import describe

    print(describe(load(options.model), size_of(options.model), options.tensors))


def _predict(options: argparse.Namespace) -> None:
    from requant.evaluate.single import describe_outputs, read_inputs, write_outputs
    from requant.runtime import load

    runner = load(
        options.model,
        options.engine,
        function=options.function,
        compute_precision=options.compute_precision,
        compute_units=options.compute_units,
    )
    outputs = runner.predict(read_inputs(options.input, runner.inputs), runner.make_state())
    print(describe_outputs(outputs))
    for path in write_outputs(outputs, options.output) if options.output else []:
        print(f"wrote {path}")


def _compare_runtimes(options: argparse.Namespace) -> None:
    from requant.evaluate.data.settings import read_data_option
    from requant.evaluate.engines import compare_engines, comparison_table

    data = read_data_option(options.data)
    print(f"{options.model}, on {options.data or 'inputs made up from a seed'}")
    print(comparison_table(compare_engines(options.model, data, options.function)))
    if sys.platform != "darwin":
        print("Apple's framework runs on macOS only; run this command on a Mac to see it beside these.")


def _quantize(options: argparse.Namespace) -> None:
    from requant.quantize.scheme import Scheme
    from requant.quantize.variant import make_variant
    from requant.report.anatomy import describe_audit

    record = make_variant(options.model, Scheme.parse(options.scheme), options.output, options.custom_lut)
    print(f"wrote {options.output}, {options.output.stat().st_size / 1e6:.2f} MB\n{describe_audit(record)}")


def _convert(options: argparse.Namespace) -> None:
    from requant.convert.conversion import convert_file, read_conversion
    from requant.evaluate.data.settings import read_data_option
    from requant.evaluate.judgement import conversion_in_words
    from requant.evaluate.source import check_conversion

    data = read_data_option(options.data)
    settings = read_conversion(options.conversion)
    convert_file(options.original, options.output, settings)
    print(f"wrote {options.output}, {options.output.stat().st_size / 1e6:.2f} MB")
    if not is_core_ml(options.original):
        record = check_conversion(options.original, options.output, settings, data)
        print(conversion_in_words(record))


def _unpack(options: argparse.Namespace) -> None:
    from requant.coreml.model import load, size_of, unpack_package

    unpack_package(load(options.model), options.folder)
    count = sum(path.is_file() for path in options.folder.rglob("*"))
    print(f"wrote {options.folder}, {_files(count)}, {size_of(options.folder) / 1e6:.2f} MB")


def _summary(options: argparse.Namespace) -> None:
    from requant.report.terminal import print_summaries

    print_summaries(options.results)


if __name__ == "__main__":
    sys.exit(main())
