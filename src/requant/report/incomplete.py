"""The page of a run in which something failed: the models that are finished, what there is of others, what failed."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from requant import __version__
from requant.coreml.systems import system_named
from requant.errors import RequantError
from requant.records import read_record, write_whole
from requant.report.page import Failure, ModelSection, SectionFiles, Troubles, read_section, render_page, section_of
from requant.report.summary import summarize_unfinished
from requant.run.failures import alike
from requant.run.jobs import Job
from requant.run.summary import job_in_words


@dataclass(frozen=True)
class Expected:
    """What there is of a model when all is well.

    Attributes:
        files: the files of its section.
        evaluations: of the float model and of each variant, by its name; the float model first.
        targets: the limits of the configuration.
        system: the deployment target, as iOS16; empty if none is set.
    """

    files: SectionFiles
    evaluations: Mapping[str, Path]
    targets: Mapping[str, float]
    system: str


def write_incomplete_page(
    models: Mapping[str, Expected], settled: Container[str], failed: Sequence[Job], output: Path
) -> None:
    """Write the page with all that is finished of some models, and what failed.

    Args:
        models: by name, in the order of the page.
        settled: the paths of files that are as they should be; others may be there, but tell of an older run.
        failed: the jobs that failed.
        output: the page.
    """
    sections = {name: _section(name, expected, settled, output) for name, expected in models.items()}
    failures = [_failure(jobs) for jobs in alike(failed)]
    troubles = Troubles(failures, [name for name, section in sections.items() if section is None])
    page = render_page([section for section in sections.values() if section], __version__, troubles)
    write_whole(output, page.encode())


def _failure(jobs: Sequence[Job]) -> Failure:
    first = jobs[0]
    what = job_in_words(first.rule, [job.of for job in jobs])
    return Failure(first.model, what, first.message, [log for job in jobs for log in job.logs])


def _section(name: str, expected: Expected, settled: Container[str], output: Path) -> ModelSection | None:
    """Return what can be shown of a model; None if it is nothing."""
    files = expected.files

    def there(path: Path | None) -> Path | None:
        return path if path and path.as_posix() in settled and path.exists() else None

    if not there(files.original):
        return None
    found = replace(
        files,
        data=there(files.data),
        plot=there(files.plot),
        sheet=there(files.sheet),
        viewer=there(files.viewer),
        maps=[path for path in files.maps if there(path)],
    )
    if there(files.table) and there(files.judgement):
        return read_section(found, output)
    evaluated = {variant: path for variant, path in expected.evaluations.items() if there(path)}
    float_model, *_ = expected.evaluations
    if float_model not in evaluated:
        return None
    missing = [variant for variant in expected.evaluations if variant not in evaluated]
    system = system_named(expected.system) if expected.system else None
    try:
        evaluations = [read_record(path) for path in evaluated.values()]
        summary = summarize_unfinished(name, evaluations, expected.targets, system, missing)
    except RequantError:  # of a target that can't be judged, which is among the failures
        return None
    return section_of(summary, replace(found, plot=None, sheet=None, viewer=None), output)
