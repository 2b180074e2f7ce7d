"""The one form of the messages about a part of a model that can't be run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from requant.errors import RequantError

# What a translation meets in a model that contradicts itself: a parameter that is missing, of another type or size.
_MALFORMED = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RuntimeError)


@contextmanager
def naming(path: Path, part: str) -> Iterator[None]:
    """Name the file and the part of a model in the errors of what is done with that part.

    Args:
        path: of the model.
        part: as `the layer 'conv1' of type convolution`.

    Raises:
        RequantError: for any error; one that names the file already is left as it is.
    """
    try:
        yield
    except RequantError as error:
        if str(path) in str(error):
            raise
        raise RequantError(f"{path}: {part} can't be run: {error}") from error
    except _MALFORMED as error:
        raise RequantError(f"{path}: {part} can't be run: its parts do not fit each other ({error}).") from error
