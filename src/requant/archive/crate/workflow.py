"""The workflow: its file, its steps, and the run of Snakemake that the jobs belong to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from requant.archive.crate.entities import WORKFLOW, Entity, links, local_id, to
from requant.archive.crate.files import describe_file
from requant.archive.crate.jobs import COMPLETED, TOOLS, Job, parameter_id, parameters_of, tool_id, tools_of
from requant.archive.crate.software import library_id
from requant.archive.record import Release

INPUTS = ("original", "conversion", "scheme", "selection", "functions")  # parameters of the workflow as a whole
_SNAKEMAKE = "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"
_RUN = local_id("run")
_ENGINE = local_id("engine")


def describe_workflow(release: Release, jobs: Sequence[Job]) -> Iterator[Entity]:
    """Describe the workflow's file, its steps and its language."""
    used = parameters_of(jobs)
    outputs = {name for tool in TOOLS.values() for name in tool.outputs}
    tools = tools_of(jobs)
    snakefile = next(file for file in release.others if file.path == WORKFLOW)
    yield describe_file(snakefile, "The workflow: from the preserved original to judged variants") | {
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
        "programmingLanguage": to(_SNAKEMAKE),
        "version": release.software.requant,
        "input": links(parameter_id(name) for name in used if name in INPUTS),
        "output": links(parameter_id(name) for name in used if name in outputs),
        "hasPart": links(map(tool_id, tools)),
        "step": links(map(_step, tools)),
    }
    for position, name in enumerate(tools):
        step = {"@id": _step(name), "@type": "HowToStep", "name": name, "position": position}
        yield {**step, "workExample": to(tool_id(name))}
    yield {
        "@id": _SNAKEMAKE,
        "@type": "ComputerLanguage",
        "name": "Snakemake",
        "identifier": "https://snakemake.github.io/",
        "url": "https://snakemake.github.io/",
    }


def run_ids(release: Release, jobs: Sequence[Job]) -> list[str]:
    """Return the identifiers of what `describe_run` describes."""
    return [_RUN, *map(_control, jobs), *([_ENGINE] if _engine_version(release) else ())]


def describe_run(release: Release, jobs: Sequence[Job]) -> Iterator[Entity]:
    """Describe the run of the workflow, of each step in it, and of Snakemake, if its version is known."""
    given = [identifier for job in jobs for identifier, role in job.objects if role in INPUTS]
    yield {
        "@id": _RUN,
        "@type": "CreateAction",
        "name": f"Run of the workflow for {release.model}",
        "description": "The jobs that the release comes from. What was there already was not made again: they may have "
        "run on several occasions.",
        "instrument": to(WORKFLOW),
        "object": links(given),
        "result": links(identifier for job in jobs for identifier, _ in job.results),
        "actionStatus": COMPLETED,
    }
    for job in jobs:
        yield {
            "@id": _control(job),
            "@type": "ControlAction",
            "name": f"Step {job.tool}: {job.subject}",
            "instrument": to(_step(job.tool)),
            "object": to(job.identifier),
        }
    version = _engine_version(release)
    if version:
        yield {
            "@id": _ENGINE,
            "@type": "OrganizeAction",
            "name": f"Run of Snakemake {version}",
            "instrument": to(library_id("snakemake", version)),
            "object": links(map(_control, jobs)),
            "result": to(_RUN),
        }


def _engine_version(release: Release) -> str:
    return release.software.libraries.get("snakemake", "")


def _step(name: str) -> str:
    return f"{WORKFLOW}#{name}"


def _control(job: Job) -> str:
    return local_id("step", job.tool, job.subject)
