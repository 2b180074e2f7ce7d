"""The command `requant`: what is useful without the workflow."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from requant.errors import RequantError


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status: 0, or 1 with a message on standard error."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], None] = options.command
    try:
        command(options)
    except RequantError as error:
        print(f"requant: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="requant", description="Preserve, describe and unpack Core ML models.")
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
    describe.set_defaults(command=_describe)

    unpack = commands.add_parser("unpack", help="lay out an .mlpackage.zip as the folder that Xcode takes")
    unpack.add_argument("model", type=Path, metavar="FILE")
    unpack.add_argument("folder", type=Path, metavar="NAME.mlpackage")
    unpack.set_defaults(command=_unpack)

    summary = commands.add_parser("summary", help="print the tables that the workflow wrote")
    summary.add_argument("results", nargs="?", type=Path, default=Path("results"), help="default: %(default)s")
    summary.set_defaults(command=_summary)
    return parser


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
    from requant.coreml.deployment import oldest_system
    from requant.coreml.description import inputs_of, outputs_of
    from requant.coreml.inventory import stored_weights
    from requant.coreml.model import load
    from requant.coreml.weights import bits_per_weight

    model = load(options.model)
    weights = stored_weights(model)
    system = oldest_system(model)
    print(f"{options.model}: {model.kind}, iOS {system.ios} and macOS {system.macos} or newer")
    for title, features in (("input", inputs_of(model)), ("output", outputs_of(model))):
        for feature in features:
            shape = " x ".join(map(str, feature.shape))
            colour = feature.colour if feature.type == "picture" else feature.dtype if feature.type == "array" else ""
            print(f"  {title} {feature.name}: " + " ".join(filter(None, [feature.type, shape, colour])))
    count = sum(weight.values.size for weight in weights)
    print(f"  {count:,} weights in {len(weights)} tensors, {bits_per_weight(weights):.2f} bits per weight")
    for weight in weights:
        shape = " x ".join(map(str, weight.values.shape))
        print(f"    {weight.name}: {shape}, {weight.form}" + (f", {weight.bits} bits" if weight.bits < 16 else ""))


def _unpack(options: argparse.Namespace) -> None:
    from requant.coreml.model import load, unpack_package

    unpack_package(load(options.model), options.folder)


def _summary(options: argparse.Namespace) -> None:
    from requant.report.terminal import print_summaries

    print_summaries(options.results)


if __name__ == "__main__":
    sys.exit(main())
