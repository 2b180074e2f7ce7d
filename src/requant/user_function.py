"""The user's own Python functions, which the configuration names as `file.py:function`."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Callable
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
