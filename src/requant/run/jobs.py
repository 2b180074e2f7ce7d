"""The jobs of a run as values: what each was to make, and what became of it.

Nothing heavy is imported here, because the process that runs the workflow uses it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """What became of a job."""

    BUILT = "built"
    FROM_CACHE = "from the shared cache"
    UP_TO_DATE = "up to date"
    FAILED = "failed"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Job:
    """One job of a run.

    Attributes:
        number: Snakemake's, within the run.
        rule: its rule.
        wildcards: by name.
        outputs: paths of what it makes.
        state: what became of it.
        seconds: how long it took; on a cluster with the time that it waited. None if it did not run.
        logs: paths of its logs.
        message: why it failed, for the user; empty if it did not.
    """

    number: int
    rule: str
    wildcards: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    state: State = State.NOT_RUN
    seconds: float | None = None
    logs: tuple[str, ...] = ()
    message: str = ""

    @property
    def model(self) -> str:
        """The model that it worked on; empty if it is for all of them."""
        return self.wildcards.get("model", "")

    @property
    def of(self) -> str:
        """What of the model it worked on, as the name of a variant; empty if it is the model as a whole."""
        named = [value for name, value in self.wildcards.items() if name not in ("model", "suffix")]
        return " ".join(named)


def planned_jobs(dag: Any) -> list[Job]:
    """Return the jobs of a run that make something, as Snakemake has them when they ended; none of them as failed.

    Args:
        dag: Snakemake's graph of jobs: `jobs`, `needrun`, `finished` and `jobid` are asked for.
    """
    planned = []
    for job in dag.jobs:
        if not job.output:
            continue
        done = State.BUILT if dag.finished(job) else State.NOT_RUN
        state = done if dag.needrun(job) else State.UP_TO_DATE
        planned.append(
            Job(
                dag.jobid(job),
                job.rule.name,
                dict(job.wildcards_dict),
                tuple(map(str, job.output)),
                state,
                logs=tuple(map(str, job.log)),
            )
        )
    return sorted(planned, key=lambda job: job.number)


def settled_files(jobs: Iterable[Job]) -> set[str]:
    """Return the paths of what is as it should be: made in this run, or found up to date."""
    return {
        path for job in jobs if job.state in (State.BUILT, State.FROM_CACHE, State.UP_TO_DATE) for path in job.outputs
    }


def outdated_files(jobs: Iterable[Job]) -> set[str]:
    """Return the paths of what was to be made anew and was not: what is there, if anything, tells of an older run."""
    return {path for job in jobs if job.state in (State.FAILED, State.NOT_RUN) for path in job.outputs}
