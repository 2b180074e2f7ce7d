"""The command `requant`: what is useful without the workflow."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from requant.archive.commands import add_archive
from requant.convert import format_of, is_core_ml
from requant.errors import RequantError
from requant.frameworks import Extra, only
from requant.runtime.translation import ComputePrecision, ComputeUnits

DATA_HELP = (
    "a folder, or a .csv, .npz, .npy or .wav file, or a .yaml file with the keys of the configuration's `data`; "
    "default: inputs made up from a seed"
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status: 0, or 1 with a message on standard error."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], None] = options.command
    try:
        with only(*_frameworks(options)):
            command(options)
    except RequantError as error:
        print(f"requant: {error}", file=sys.stderr)
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
    lock.add_argument("originals", nargs="+", type=Path, metavar="FILE")
    lock.set_defaults(command=_lock)

    verify = commands.add_parser("verify", help="check preserved originals against their digests")
    verify.add_argument("originals", nargs="*", type=Path, metavar="FILE", help="default: all that are locked")
    verify.add_argument("--folder", type=Path, default=Path("models_original"), help="default: %(default)s")
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
    from requant.originals import lock_original

    for original in options.originals:
        added = lock_original(original)
        print(f"{original}: " + (f"locked, {_files(len(added))}" if added else "locked already, unchanged"))


def _verify(options: argparse.Namespace) -> None:
    from requant.originals import locked_originals, read_lock, verify

    for original in options.originals or locked_originals(read_lock(options.folder)):
        record = verify(original, read_lock(original.parent))
        print(f"{original}: unchanged, {_files(len(record['sha256']))}, {record['bytes'] / 1e6:.2f} MB")


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
    from requant.coreml.model import load, unpack_package

    unpack_package(load(options.model), options.folder)


def _summary(options: argparse.Namespace) -> None:
    from requant.report.terminal import print_summaries

    print_summaries(options.results)


if __name__ == "__main__":
    sys.exit(main())
