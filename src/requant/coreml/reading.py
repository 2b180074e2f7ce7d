"""The last line between a model from a stranger and a traceback.

What can be wrong with a model is told where it is read, by its name. A file made to mislead can contradict itself in
more ways than anybody foresees; whatever they lead to becomes a message for the user here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from requant.errors import RequantError, UnforeseenError


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Name the file of a model in the errors of whatever reads it.

    Raises:
        RequantError: as it is raised inside; of any other error, an `UnforeseenError`, whose cause that is.
    """
    try:
        yield
    except RequantError as error:
        if str(path) in str(error):
            raise
        raise RequantError(f"{path}: {error}") from error
    except MemoryError as error:
        raise RequantError(f"{path} takes more memory than there is.") from error
    except OSError as error:
        raise RequantError(f"{path} can't be read: {error.strerror or error}.") from error
    except Exception as error:
        raise UnforeseenError(
            f"{path} is damaged, or made in a way that requant does not know: {type(error).__name__}: {error}. If "
            "other programs take it, this is a defect of requant; please report it."
        ) from error
