"""The frameworks that some originals come from: heavy, often pinned against each other, and needed by one rule alone.

Each is an extra of this project. coremltools imports every framework that it finds, which takes seconds; a process that
has no use for one keeps it out.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from requant.errors import RequantError
from requant.records import read_record

Extra = Literal["torch", "tensorflow", "scikit-learn", "xgboost"]


@dataclass(frozen=True)
class Framework:
    """A framework that is an extra of this project.

    Attributes:
        title: for people.
        modules: that have to be there.
        distributions: whose versions a conversion hangs on; of those that are alternatives, one is installed.
        environment: Snakemake's conda environment with it, without folder and suffix.
        settings: environment variables that it reads when it is imported, for whoever did not set them.
    """

    title: str
    modules: tuple[str, ...]
    distributions: tuple[str, ...]
    environment: str
    settings: Mapping[str, str] = field(default_factory=dict)


FRAMEWORKS: dict[Extra, Framework] = {
    "torch": Framework("PyTorch", ("torch",), ("torch",), "torch"),
    # oneDNN's operations add up in another order on each kind of CPU, and announce themselves at length.
    "tensorflow": Framework(
        "TensorFlow",
        ("tensorflow",),
        ("tensorflow", "tensorflow-cpu", "keras"),
        "tensorflow",
        {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "KERAS_BACKEND": "tensorflow"},
    ),
    "scikit-learn": Framework(
        "scikit-learn", ("sklearn", "skops"), ("scikit-learn", "skops", "joblib"), "scikit-learn"
    ),
    "xgboost": Framework("XGBoost", ("xgboost",), ("xgboost",), "xgboost"),
}
# What coremltools imports where it finds it.
_IMPORTED_BY_COREMLTOOLS = (
    "torch", "torchvision", "torchaudio", "torchao", "executorch", "transformers", "tensorflow", "sklearn", "xgboost",
    "libsvm",
)  # fmt: skip


def require(extra: Extra, original: Path) -> None:
    """Make sure that a framework is installed, and set how it is to be started; it is not imported.

    Args:
        extra: the framework.
        original: what needs it, for the message.

    Raises:
        RequantError: if it is missing, with the one command that installs it.
    """
    framework = FRAMEWORKS[extra]
    for name, value in framework.settings.items():
        os.environ.setdefault(name, value)
    missing = [module for module in framework.modules if not is_installed(module)]
    if missing:
        raise RequantError(
            f"{original} needs {framework.title} (the Python module {missing[0]}), which is not installed here. "
            f"Install the extra {extra} with one command:\n\n"
            f"    {sys.executable} -m pip install --editable '.[{extra}]'\n\n"
            "or run snakemake with --software-deployment-method conda, which sets up an environment for this rule."
        )


def installed_versions(extra: Extra) -> dict[str, str]:
    """Return the versions of a framework's distributions that are installed, by name; it is not imported."""
    found = {}
    for name in FRAMEWORKS[extra].distributions:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def converting_versions(extra: Extra, audit: Path) -> dict[str, str]:
    """Return the versions of a framework that a float model hangs on.

    Args:
        extra: the framework.
        audit: of the float model. Where the framework is not installed, the versions are those that the model was made
            with, if it is there: it needs no framework any more.
    """
    found = installed_versions(extra)
    if found or not audit.exists():
        return found
    recorded: dict[str, str] = read_record(audit).get("frameworks", {})
    return recorded


def is_installed(module: str) -> bool:
    """Return whether a module can be imported; it is not imported."""
    return find_spec(module) is not None


class _Without:
    """A finder of modules that does not find some, as if they were not installed."""

    def __init__(self, finder: Any, modules: frozenset[str]) -> None:
        self.finder = finder
        self._modules = modules

    def find_spec(self, name: str, *rest: Any) -> ModuleSpec | None:
        """Return where a module is, or None."""
        if name.partition(".")[0] in self._modules:
            return None
        found: ModuleSpec | None = self.finder.find_spec(name, *rest)
        return found

    def __getattr__(self, name: str) -> Any:
        """Return what else the finder has."""
        return getattr(self.finder, name)


@contextmanager
def only(*needed: Extra) -> Iterator[None]:
    """Keep frameworks that are not needed from being imported; for programs, not for libraries.

    Args:
        needed: what stays.
    """
    wanted = {module for extra in needed for module in FRAMEWORKS[extra].modules}
    left_out = frozenset(_IMPORTED_BY_COREMLTOOLS) - wanted
    sys.meta_path[:] = [_Without(finder, left_out) for finder in sys.meta_path]
    try:
        yield
    finally:
        sys.meta_path[:] = [getattr(finder, "finder", finder) for finder in sys.meta_path]


@contextmanager
def everything() -> Iterator[None]:
    """Let a function of the user's import whatever is installed, also where `only` keeps frameworks out."""
    keepers = {id(keeper.finder): keeper for keeper in sys.meta_path if isinstance(keeper, _Without)}
    sys.meta_path[:] = [f.finder if isinstance(f, _Without) else f for f in sys.meta_path]
    try:
        yield
    finally:
        sys.meta_path[:] = [keepers.get(id(finder), finder) for finder in sys.meta_path]
