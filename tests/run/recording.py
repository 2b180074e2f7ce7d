"""A logger that logs as Snakemake does, for the tests."""

import logging
from enum import Enum
from types import SimpleNamespace

from requant.run.jobs import Job, State


class LogEvent(Enum):
    """The events that matter here, with the values of Snakemake's interface."""

    JOB_INFO = "job_info"
    JOB_FINISHED = "job_finished"
    JOB_ERROR = "job_error"
    GROUP_ERROR = "group_error"
    ERROR = "error"


def log_begin(logger, job):
    """Log that a job begins."""
    logger.info("Rule", extra={"event": LogEvent.JOB_INFO, "jobid": job.number, "log": list(job.logs)})


def log_end(logger, job):
    """Log that a job has ended well."""
    logger.info("Finished", extra={"event": LogEvent.JOB_FINISHED, "job_id": job.number})


def log_failure(logger, job, cause="", said=None):
    """Log that a job failed, and before that why, as the executor of a local run does."""
    if cause:
        logger.error(cause, extra={"event": LogEvent.ERROR, "exception": "RuleException"})
    logger.error("Error", extra={"event": LogEvent.JOB_ERROR, "jobid": job.number, "rule_msg": said})


def failed_command(ending):
    """Return what Snakemake says of a command that failed."""
    return f"RuleException:\nCalledProcessError in file \"a.smk\", line 1:\nCommand 'python x.py' {ending}"


def new_logger():
    """Return a logger of its own."""
    logger = logging.Logger("run")
    logger.setLevel(logging.INFO)
    return logger


def job(number, rule="quantize", state=State.NOT_RUN, **more):
    """Return a job of the model m."""
    wildcards = {"model": "m"} | ({"scheme": more.pop("scheme")} if "scheme" in more else {})
    more = {"outputs": (f"results/m/{rule}_{number}",), "logs": (f"results/m/logs/{rule}.log",)} | more
    return Job(number, rule, wildcards, state=state, **more)


def graph(*jobs):
    """Return what `planned_jobs` asks Snakemake's graph for; a job is a tuple of job, needed and finished."""
    made = {}
    for each, needed, finished in jobs:
        snakemakes = SimpleNamespace(
            output=list(each.outputs), log=list(each.logs), wildcards_dict=dict(each.wildcards),
            rule=SimpleNamespace(name=each.rule),
        )  # fmt: skip
        made[id(snakemakes)] = (snakemakes, each, needed, finished)
    return SimpleNamespace(
        jobs=[snakemakes for snakemakes, *_ in made.values()],
        needrun=lambda each: made[id(each)][2],
        finished=lambda each: made[id(each)][3],
        jobid=lambda each: made[id(each)][1].number,
    )
