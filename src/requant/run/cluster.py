"""Why a cluster ended a job, from what it wrote into the job's log."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

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


def ended_by_cluster(logs: Iterable[str], rule: str) -> str:
    """Return why a cluster ended a job, with the remedy; empty for one that failed by itself.

    Args:
        logs: of the job, as Snakemake tells them when it failed: those of the cluster are in a folder `slurm_logs`.
        rule: of the job.
    """
    for path in map(Path, logs):
        text = path.read_text(errors="replace") if "slurm_logs" in path.parts and path.is_file() else ""
        reason = next((reason for reason, words in _ENDED.items() if words.search(text)), None)
        if reason:
            return f"It was ended by the cluster. {_REMEDY[reason].format(rule=rule)} ({path})"
    return ""
