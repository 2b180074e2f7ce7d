"""The summary of a run: a record for programs, `run.json`, and the same as text for people, `run.txt`."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from requant.records import write_record, write_whole
from requant.run.failures import alike, headline
from requant.run.jobs import Job, State, outdated_files, settled_files

SLOWEST = 5  # jobs that are named
_WIDTH = 120
_ALL = "all models"  # where a model is named


@dataclass(frozen=True)
class Run:
    """A run that has ended.

    Attributes:
        asked: targets, as rules and files.
        began: when, in seconds since 1970.
        seconds: how long it took.
        interrupted: whether it was ended from outside.
        succeeded: whether all was made that was asked for.
        jobs: what became of each.
        page: the page that there is now; empty if there is none.
        incomplete: whether that page lacks something because of failures.
    """

    asked: Sequence[str]
    began: float
    seconds: float
    interrupted: bool
    succeeded: bool
    jobs: Sequence[Job]
    page: str = ""
    incomplete: bool = False

    @property
    def outcome(self) -> str:
        """In one word."""
        return "succeeded" if self.succeeded else "interrupted" if self.interrupted else "failed"

    @property
    def failed(self) -> list[Job]:
        """The jobs that failed."""
        return [job for job in self.jobs if job.state is State.FAILED]


def write_run(run: Run, judgements: Mapping[str, Path], folder: Path) -> Path:
    """Write `run.json` and `run.txt`, each whole.

    Args:
        run: what happened.
        judgements: for each model in the order of the configuration its judgement, that may not be there or not be up
            to date: that of a model with failures is left out.
        folder: where to.

    Returns:
        The path of the text.
    """
    record = describe_run(run, judgements)
    write_record(folder / "run.json", record)
    path = folder / "run.txt"
    write_whole(path, (run_in_words(record) + "\n").encode())
    return path


def describe_run(run: Run, judgements: Mapping[str, Path]) -> dict[str, Any]:
    """Return the record of a run; its keys are in docs/unattended.md."""
    timed = sorted((job for job in run.jobs if job.seconds is not None), key=_seconds, reverse=True)
    settled, outdated = settled_files(run.jobs), outdated_files(run.jobs)
    models = [*judgements, *({job.model for job in run.jobs if not job.model} and [""])]
    return {
        "outcome": run.outcome,
        "asked": list(run.asked),
        "began": datetime.fromtimestamp(run.began, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "seconds": round(run.seconds, 1),
        "jobs": _counts(run.jobs),
        "models": {
            model or _ALL: _describe_model([job for job in run.jobs if job.model == model])
            | _advice(judgements.get(model), settled)
            | {"table_is_outdated": str(judgements.get(model)) in outdated}
            for model in models
        },
        "failures": [_describe_failures(jobs) for jobs in alike(run.failed)],
        "slowest": [{**_place(job), "seconds": round(_seconds(job), 1)} for job in timed[:SLOWEST]],
        "page": run.page,
        "page_is_complete": bool(run.page) and not run.incomplete,
    }


def _counts(jobs: Iterable[Job]) -> dict[str, int]:
    states = Counter(job.state for job in jobs)
    return {state.value: states[state] for state in State}


def _describe_model(jobs: Sequence[Job]) -> dict[str, Any]:
    """Return the counts of a model's jobs, and those that did something by rule."""
    by_rule = {
        state.value: dict(sorted(Counter(job.rule for job in jobs if job.state is state).items()))
        for state in (State.BUILT, State.FROM_CACHE)
    }
    return {"jobs": _counts(jobs), "rules": by_rule}


def _advice(judgement: Path | None, settled: set[str]) -> dict[str, Any]:
    """Return what is recommended of a model, if that is known and tells of its present files."""
    if judgement is None or str(judgement) not in settled or not judgement.exists():
        return {"recommended": None, "reason": ""}
    record = json.loads(judgement.read_bytes())
    return {"recommended": record["recommended"], "reason": record["reason"]}


def _describe_failures(jobs: Sequence[Job]) -> dict[str, Any]:
    """Return jobs that failed of one cause as one entry of the record."""
    first = jobs[0]
    return {
        "model": first.model,
        "rule": first.rule,
        "variants": [job.of for job in jobs if job.of],
        "message": first.message,
        "logs": [log for job in jobs for log in job.logs],
    }


def _place(job: Job) -> dict[str, Any]:
    return {"model": job.model, "rule": job.rule, "variants": [job.of] if job.of else []}


def _seconds(job: Job) -> float:
    return job.seconds or 0.0


def run_in_words(record: Mapping[str, Any]) -> str:
    """Return the record of a run as text, of about a screen."""
    jobs = record["jobs"]
    blocks = [
        f"{_headline(record)}\n"
        f"asked for: {' '.join(record['asked'])}\n"
        f"jobs:      {', '.join(f'{count} {state}' for state, count in jobs.items() if count)}",
        _failures_in_words(record["failures"]),
        "\n".join(_model_in_words(name, model) for name, model in record["models"].items()),
        _slowest_in_words(record["slowest"]),
        _page_in_words(record),
    ]
    return "\n\n".join(filter(None, blocks))


def _headline(record: Mapping[str, Any]) -> str:
    failed = record["jobs"][State.FAILED.value]
    words = {
        "succeeded": "All that was asked for is there.",
        "failed": f"NOT ALL OF IT WAS MADE: {_count(failed, 'job')} failed.",
        "interrupted": "The run was ended before it was done; start it again to go on.",
    }
    return f"{words[record['outcome']]} It began on {record['began']} and took {duration(record['seconds'])}."


def _failures_in_words(failures: Sequence[Mapping[str, Any]]) -> str:
    return "\n\n".join(
        f"FAILED {place_in_words(failure)}\n"
        f"{textwrap.indent(failure['message'], '  ')}\n  {logs_in_words(failure['logs'])}"
        for failure in failures
    )


def place_in_words(place: Mapping[str, Any]) -> str:
    """Return which job something is of, as `digits: quantize kmeans_4`."""
    job = job_in_words(place["rule"], place["variants"])
    return f"{place['model']}: {job}" if place["model"] else job


def job_in_words(rule: str, variants: Sequence[str]) -> str:
    """Return what one or several jobs of a rule did, as `quantize kmeans_4, kmeans_3`."""
    return f"{rule} {', '.join(variants)}".strip()


def logs_in_words(logs: Sequence[str]) -> str:
    """Return where to read on: the first log, and how many more there are."""
    if not logs:
        return "no log"
    return f"log: {logs[0]}" + (f" and {len(logs) - 1} more beside it" if len(logs) > 1 else "")


def _model_in_words(name: str, model: Mapping[str, Any]) -> str:
    counts = model["jobs"]
    lines = [f"{name}: " + (", ".join(f"{count} {state}" for state, count in counts.items() if count) or "nothing")]
    for state, rules in model["rules"].items():
        if rules:
            lines.append(f"  {state}: " + ", ".join(f"{rule} {count}" for rule, count in rules.items()))
    if model["reason"]:
        lines += textwrap.wrap(model["reason"], _WIDTH, initial_indent="  ", subsequent_indent="  ")
    return "\n".join(lines)


def _slowest_in_words(slowest: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"  {duration(job['seconds']):>10}  {place_in_words(job)}" for job in slowest]
    return "\n".join(["the slowest jobs:", *lines]) if lines else ""


def _page_in_words(record: Mapping[str, Any]) -> str:
    if not record["page"]:
        return ""
    return f"page: {record['page']}" + ("" if record["page_is_complete"] else " (incomplete: what is finished)")


def told_at_the_end(run: Run, text: Path) -> str:
    """Return the last words of a run on the terminal: the failures, two lines for each, and where all of it is."""
    lines = []
    for failure in map(_describe_failures, alike(run.failed)):
        lines += [f"  {place_in_words(failure)}: {headline(failure['message'])}"]
        lines += [f"    {logs_in_words(failure['logs'])}"]
    counts = ", ".join(f"{count} {state}" for state, count in _counts(run.jobs).items() if count)
    took = f"{counts}, in {duration(run.seconds)}. Summary of this run: {text}"
    if run.page and run.incomplete:
        took += f"\nThe page has what is finished, and says what failed: {run.page}"
    return "\n".join([*(["\nWhat failed:", *lines, ""] if lines else []), took])


def duration(seconds: float) -> str:
    """Return a time for people, as `1 h 02 min`, `3 min 05 s` or `4.2 s`."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    if whole >= 60:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{seconds:.1f} s"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
