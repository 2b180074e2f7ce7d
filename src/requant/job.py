"""How a job of the workflow runs: its log, its message to the user, and no framework that it does not need."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from requant.errors import RequantError, UnforeseenError
from requant.frameworks import Extra, only

INTERRUPTED = 130  # the status by which a shell knows that a process ended by Ctrl-C


def share_library() -> None:
    """Let the jobs that this process starts import this library, also in environments where it is not installed."""
    library = str(Path(__file__).resolve().parents[1])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [library, os.environ.get("PYTHONPATH")]))


@contextmanager
def reported(log: str | Path, *frameworks: Extra) -> Iterator[None]:
    """Run a job with its log messages in the file `log`; end it with exit status 1 on a `RequantError`.

    The message of a `RequantError` goes to the log and, with the path of the log, to standard error, without a
    traceback. Any other exception is a defect of ours: its traceback goes to the log, and it is raised again. Warnings
    of libraries and of the user's functions go to the log. Its last line says how long the job took.

    Args:
        log: the file.
        frameworks: that the job needs; others can't be imported in it.
    """
    logging.raiseExceptions = False  # what could not be written on a full disk is told once, and not by the log too
    logging.basicConfig(filename=log, filemode="w", level=logging.INFO, format="%(levelname)s %(message)s", force=True)
    logging.captureWarnings(True)
    began = time.monotonic()
    try:
        with only(*frameworks):
            yield
        logging.info("done in %.2f s", time.monotonic() - began)
    except KeyboardInterrupt:
        logging.warning("ended by the user")
        sys.exit(INTERRUPTED)
    except RequantError as error:
        logging.error("%s", error, exc_info=isinstance(error, UnforeseenError))
        print(f"\nrequant: {str(error).rstrip()}\nlog: {log}\n", file=sys.stderr)
        sys.exit(1)
    except Exception:
        logging.exception("This is a defect of requant, please report it.")
        raise
    finally:
        logging.captureWarnings(False)
