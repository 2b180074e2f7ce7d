"""What a job takes: memory, disk and time, estimated from the size of its inputs, so that a scheduler can place it.

All figures are in one table, one line for each kind of job. They are what a job on a node takes altogether, with the
processes of Snakemake around it, and rather too much than too little: a cluster ends a job that goes beyond. What is
tried again asks for more (`attempt`). A run on one machine is limited by none of it, unless its user says so.

Nothing heavy is imported here, because Snakemake reads the Snakefile again for every job.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MEMORY_STEP, DISK_STEP = 100, 100  # MB: figures are rounded up to these, so that jobs of a kind ask for the same


@dataclass(frozen=True)
class Need:
    """What a kind of job takes, as a line over the size of its inputs.

    Attributes:
        base_mb: memory of a job with an input of no size: its libraries, and Snakemake around it.
        memory: MB of memory for each MB of input.
        disk: MB of disk for each MB of input: what is written, and copies of inputs that come from a storage.
        minutes: of a job with an input of no size.
        minutes_per_gb: of input.
    """

    base_mb: float
    memory: float
    disk: float
    minutes: float
    minutes_per_gb: float


# Of a job about a model, the input counts as much as the model's original at least: a variant of few bits takes in
# memory what the float model does.
NEEDS: dict[str, Need] = {
    #                   base  memory  disk  minutes  per GB
    "verify": Need(400, 0.1, 1, 5, 2),
    "take": Need(1000, 1.5, 2, 10, 10),  # a Core ML original: read, and written canonically
    "take_network": Need(1000, 4, 2, 10, 10),  # which is one message, and in memory as a whole
    "convert": Need(2000, 6, 3, 15, 30),  # an original of a framework, in memory beside what is made of it
    "check": Need(2000, 6, 1, 20, 60),
    "data": Need(500, 0.1, 1, 5, 5),
    "quantize": Need(1000, 1.5, 2, 20, 120),  # the time is that of k-means
    "quantize_network": Need(1000, 4, 2, 20, 120),
    "raise": Need(1000, 6, 1, 20, 60),
    "predict": Need(1000, 6, 1, 20, 60),
    "evaluate": Need(1000, 1.5, 1, 10, 15),
    "sensitivity": Need(1000, 6, 1, 60, 600),
    "report": Need(1000, 1.5, 2, 10, 15),
    "package": Need(600, 1.5, 2, 5, 5),
    "archive": Need(1000, 1.5, 2, 10, 20),
}


def memory_mb(kind: str, input_mb: float, attempt: int = 1) -> int:
    """Return the memory that a job may take, in MB.

    Args:
        kind: of the job, a key of `NEEDS`.
        input_mb: the size of its inputs in MB.
        attempt: 1 for the first; the second gets twice as much, and so on.
    """
    need = NEEDS[kind]
    return _rounded_up(need.base_mb + need.memory * input_mb, MEMORY_STEP) * attempt


def disk_mb(kind: str, input_mb: float) -> int:
    """Return the disk that a job may take on its node, in MB: see `memory_mb`."""
    return _rounded_up(DISK_STEP + NEEDS[kind].disk * input_mb, DISK_STEP)


def runtime(kind: str, input_mb: float, attempt: int = 1) -> int:
    """Return the time that a job may take, in minutes: see `memory_mb`."""
    need = NEEDS[kind]
    return math.ceil(need.minutes + need.minutes_per_gb * input_mb / 1000) * attempt


def _rounded_up(value: float, step: int) -> int:
    return math.ceil(value / step) * step
