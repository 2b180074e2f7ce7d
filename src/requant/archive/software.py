"""What software makes a release: versions, and the digest of the code that its models hang on."""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from requant import __version__
from requant.archive.record import Software

# The rooms that conversion and quantization hang on, for `requant.fingerprint`, and the libraries that count in it.
CODE = ("records.py", "coreml", "convert", "quantize")
CODE_LIBRARIES = ("coremltools", "numpy", "onnx", "onnxruntime", "scipy", "sympy")
_LIBRARIES = (
    *CODE_LIBRARIES, "protobuf", "scikit-image", "snakemake",
    # of originals in their formats
    "scikit-learn", "skops", "tensorflow", "tensorflow-cpu", "torch", "xgboost",
)  # fmt: skip


def describe_software(code: str, lock: Path | None) -> Software:
    """Return what is installed here.

    Args:
        code: the digest of the code.
        lock: the lock file of the dependencies, if there is one.
    """
    digest = hashlib.sha256(lock.read_bytes()).hexdigest() if lock and lock.is_file() else ""
    return Software(__version__, code, digest, platform.python_version(), _versions())


def differences(then: Software, now: Software) -> list[str]:
    """Return in words what differs between two softwares: of versions that both know, and the code."""
    found = [
        f"{name}: {old} then, {new} now"
        for name, old, new in (
            ("requant", then.requant, now.requant),
            ("Python", then.python, now.python),
            *((name, old, now.libraries.get(name, "none")) for name, old in sorted(then.libraries.items())),
        )
        if old != new
    ]
    return found + (["the code of requant that models hang on"] if then.code != now.code else [])


def _versions() -> dict[str, str]:
    found = {}
    for name in sorted(_LIBRARIES):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
