"""Apple's protobuf messages, as coremltools ships them.

They are imported here and nowhere else, without the rest of coremltools, which takes ten times as long, warns of every
framework that is not there, and is needed by conversions alone. Whoever imports coremltools afterwards gets the same
classes of messages: protobuf has one for each description.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec

logging.getLogger("coremltools").setLevel(logging.ERROR)


@contextmanager
def _unopened(package: str) -> Iterator[None]:
    """Let modules of a package be imported without the package's own code; afterwards it is as if it never was."""
    if package in sys.modules:
        yield
        return
    spec = find_spec(package)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    sys.modules[package] = module_from_spec(spec)
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            del sys.modules[name]


with _unopened("coremltools"):
    from coremltools.proto import MIL_pb2, Model_pb2

__all__ = ["MIL_pb2", "Model_pb2"]
