"""How a job of the workflow runs: its log, its message to the user, and no framework that it does not need."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from requant.errors import RequantError, UnforeseenError
from requant.frameworks import Extra, only

INTERRUPTED = 130  # the status by which a shell knows that a process ended by Ctrl-C

# What Slurm writes into the log of a job that it ends, by what it was too much of.
_ENDED = {
    "memory": re.compile(r"exceeded (?:\w+ )?memory limit|oom.kill|out of memory", re.IGNORECASE),
    "time": re.compile(r"due to time limit", re.IGNORECASE),
    "node": re.compile(r"due to node failure", re.IGNORECASE),
}
_REMEDY = {
    "memory": "It took more memory than it asked for. Let it have more, as by --set-resources {rule}:mem_mb=16000",
    "time": "It took more time than it asked for. Let it have more minutes, as by --set-resources {rule}:runtime=600",
    "node": "Its node failed. Start the run again.",
}
_FAILED = re.compile(r"^Error in (?:group )?(?:rule )?(\w+).*\n(?:    .*\n)*?    log: (.*)$", re.MULTILINE)
_LOG_OF_CLUSTER = re.compile(r"[^\s,]*/slurm_logs/[^\s,]+\.log")


def ended_by_cluster(run_log: Path) -> list[str]:
    """Return why a cluster ended jobs of a failed run, a sentence each; nothing for those that failed by themselves.

    Args:
        run_log: what Snakemake wrote of the run; it names the cluster's log of each job that failed.
    """
    told = []
    for rule, logs in _FAILED.findall(run_log.read_text(errors="replace")):
        for path in map(Path, _LOG_OF_CLUSTER.findall(logs)):
            text = path.read_text(errors="replace") if path.is_file() else ""
            reason = next((reason for reason, words in _ENDED.items() if words.search(text)), None)
            if reason:
                told.append(f"a job of {rule} was ended by the cluster. {_REMEDY[reason].format(rule=rule)} ({path})")
    return list(dict.fromkeys(told))


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
