"""The user's own Python functions, which the configuration names as `file.py:function`."""

from __future__ import annotations

import ast
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from requant.errors import RequantError


def split_reference(reference: str) -> tuple[Path, str]:
    """Return file and function of a reference `file.py:function`.

    Raises:
        RequantError: if it does not have that form.
    """
    file, separator, function = reference.rpartition(":")
    if not separator or not file.endswith(".py") or not function.isidentifier():
        raise RequantError(f"{reference!r} does not name a function. Write file.py:function.")
    return Path(file), function


def files_of_function(reference: str) -> list[Path]:
    """Return the file of a function and the modules beside it that it imports, itself or through another of them.

    The files are read, not run. Modules that are imported under a computed name, and other files that the function
    opens, can't be seen so. A file that is missing or is no Python is returned without what it imports.

    Raises:
        RequantError: if it does not have the form `file.py:function`.
    """
    path, _ = split_reference(reference)
    found = [path]
    for file in found:  # grows while it is gone through
        found += [each for each in dict.fromkeys(_modules_beside(file, path.parent)) if each not in found]
    return found


def _modules_beside(file: Path, folder: Path) -> Iterator[Path]:
    """Yield the files below a folder of what a Python file imports."""
    try:
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
    except (OSError, SyntaxError, ValueError):
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files_of_module(folder, alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            start = file.parents[node.level - 1] if 0 < node.level <= len(file.parents) else folder
            parts = node.module.split(".") if node.module else []
            for alias in node.names:  # a name that is imported from a package can be a module in it
                yield from _files_of_module(start, [*parts, alias.name])


def _files_of_module(folder: Path, parts: list[str]) -> Iterator[Path]:
    """Yield the files that are run when `parts[0].parts[1]...` is imported from a folder."""
    for length in range(1, len(parts) + 1):
        place = folder.joinpath(*parts[:length])
        candidates = (place / "__init__.py", place.with_name(f"{place.name}.py"))
        yield from (path for path in candidates if path.is_file())


def load_function(reference: str, key: str) -> Callable[..., Any]:
    """Return the user's function; its file is run, and may import modules beside it.

    Args:
        reference: `file.py:function`.
        key: of the configuration, for messages.

    Raises:
        RequantError: if the file or the function is not there, or the file can't be imported.
    """
    path, name = split_reference(reference)
    if not path.is_file():
        raise RequantError(f"{path} does not exist; {key} wants the function {name} in it.")
    spec = importlib.util.spec_from_file_location(f"requant_{key}_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise RequantError(f"{path} can't be imported as Python.")
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise RequantError(f"{path} can't be imported.\n{traceback.format_exc(limit=-1)}") from error
    finally:
        sys.path.remove(folder)
    function = getattr(module, name, None)
    if not callable(function):
        raise RequantError(f"{path} has no function {name}.")
    found: Callable[..., Any] = function
    return found
