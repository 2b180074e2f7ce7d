"""What a damaged file of a stranger's is put through: every way in which requant reads a Core ML model.

Each of them has to refuse it with a `RequantError` or take it, within its folder, some memory and some time.
"""

import json
import os
import resource
import signal
import sys
import tempfile
import traceback
from pathlib import Path

from requant.convert.coreml_model import convert
from requant.coreml.kind import Kind, has_network_weights, read_kind
from requant.coreml.model import load, save, size_of, unpack_package
from requant.coreml.package import require_whole
from requant.errors import RequantError, UnforeseenError
from requant.originals import lock_original
from requant.quantize.scheme import Scheme
from requant.quantize.variant import make_variant
from requant.report.anatomy import describe
from requant.runtime import load as load_runner

MEMORY = 3 << 30
SECONDS = 30
FORMS = {Kind.NEURAL_NETWORK: ("kmeans_3", "linear_8"), Kind.ML_PROGRAM: ("kmeans_4_group4", "linear_8", "prune_50")}


def describe_it(path, folder):
    describe(load(path), size_of(path), tensors=True)


def convert_it(path, folder):
    model = convert(path)
    save(model, folder / f"float{model.kind.suffix}")


def quantize_it(path, folder):
    kind = read_kind(path)
    for scheme in FORMS.get(kind, ()):
        make_variant(path, Scheme.parse(scheme), folder / f"variant{kind.suffix}")


def unpack_it(path, folder):
    package = folder / "unpacked.mlpackage"
    unpack_package(load(path), package)
    require_whole(package)
    lock_original(package)


def lock_it(path, folder):
    lock_original(path)


def run_it(path, folder):
    load_runner(path, "onnxruntime")


WAYS = {
    "kind": lambda path, folder: (read_kind(path), has_network_weights(path)),
    "describe": describe_it,
    "convert": convert_it,
    "quantize": quantize_it,
    "unpack": unpack_it,
    "run": run_it,
    "lock": lock_it,
}


class TooSlow(BaseException):
    """A way took longer than it may."""


def outcomes(path, folder, foreseen=False):
    """Put a file through all ways and return of each what came of it: "taken", "refused" or "wrong", and what was said.

    Args:
        path: of the file.
        folder: that may be written in.
        foreseen: whether what is wrong with a file has to be told where it is read, not by the last line of defence.
    """
    found = {}
    for way, function in WAYS.items():
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            function(path, folder)
            found[way] = "taken", ""
        except UnforeseenError as error:
            found[way] = ("wrong", _told(error.__cause__)) if foreseen else ("refused", str(error))
        except RequantError as error:
            named = str(path) in str(error) or str(folder) in str(error)
            found[way] = ("refused", str(error)) if named else ("wrong", f"a message without the file's name: {error}")
        except (Exception, TooSlow) as error:
            found[way] = "wrong", _told(error)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    return found


def _told(error):
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/src/requant/" in frame.filename]
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno} {frames[-1].name}" if frames else ""
    return f"{type(error).__name__} at {place}: {error}"[:300]


def limit_this_process():
    """Let this process take some memory only, and tell when a way takes too long."""

    def too_slow(number, frame):
        raise TooSlow

    signal.signal(signal.SIGALRM, too_slow)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + MEMORY,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main():
    """Put the files that are named through all ways, in some memory only, and print what came of it as JSON."""
    limit_this_process()
    found = {}
    for name in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            found[name] = outcomes(Path(name), Path(folder), foreseen=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
