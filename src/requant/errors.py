"""The one exception that is meant for the user, and how a job tells it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class RequantError(Exception):
    """Something the user can mend: what is wrong, in which file, model, layer or key, and what to do."""


@contextmanager
def reported(log: str | Path) -> Iterator[None]:
    """Run a job with its log messages in the file `log`; end it with exit status 1 on a `RequantError`.

    The message of a `RequantError` goes to the log and to standard error, without a traceback. Any other exception
    is a defect of ours: its traceback goes to the log, and it is raised again.
    """
    logging.basicConfig(filename=log, filemode="w", level=logging.INFO, format="%(levelname)s %(message)s", force=True)
    try:
        yield
    except RequantError as error:
        logging.error("%s", error)
        print(f"\nrequant: {error}\n", file=sys.stderr)
        sys.exit(1)
    except Exception:
        logging.exception("This is a defect of requant, please report it.")
        raise
