"""The command of the user's that is run when a run has ended."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

SECONDS = 60  # a mail that is not sent in this time must not hold the end of the run up


def notify(command: str, text: Path, outcome: str) -> str:
    """Run a command of the user's in the shell, with the summary of the run on its standard input.

    Its environment has the summary's path too, `REQUANT_SUMMARY`, and how the run ended, `REQUANT_OUTCOME`. What it
    prints is not shown.

    Args:
        command: for the shell.
        text: the summary.
        outcome: succeeded, failed or interrupted.

    Returns:
        What went wrong, for the user; empty if nothing did. It changes nothing of how the run ended.
    """
    environment = {**os.environ, "REQUANT_SUMMARY": str(text.absolute()), "REQUANT_OUTCOME": outcome}
    try:
        with text.open("rb") as stream:
            # In a group of its own, so that what it starts can be ended with it.
            process = subprocess.Popen(
                command, shell=True, stdin=stream, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment,
                start_new_session=True,
            )  # fmt: skip
        _, said = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return f"the command of notify took longer than {SECONDS} seconds and was ended: {command}"
    except OSError as error:
        return f"the command of notify could not be run: {error}"
    if process.returncode:
        words = said.decode(errors="replace").strip()
        return f"the command of notify ended with status {process.returncode}: {command}\n{words}".strip()
    return ""
