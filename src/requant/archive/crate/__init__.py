"""The description of a release for everybody else, `ro-crate-metadata.json`: an RO-Crate 1.1 with the provenance.

Where the release holds the workflow, it is a Provenance Run Crate 0.5 (https://w3id.org/ro/wfrun/provenance/0.5), and
with that a Workflow Run Crate and a Process Run Crate; without the workflow's file it is a Process Run Crate, for the
other two require it. Those profiles build on RO-Crate 1.1, and so does this, though there is a 1.2.

It says which tool made which file of which others and with which parameters. It does not say when and by whom a job was
run: results have no dates and no names, so that the same input gives the same bytes.

The entities are written as what they are, small tables. The library `rocrate` copies files, takes the time of day and
makes up identifiers where it writes; the tests read with it what is written here, and `roc-validator` checks it.

    entities.py   identifiers, links, what stands for the original, its licence
    jobs.py       which tool made what of what, and the parameters of the tools
    files.py      every file; values.py: settings and figures, which are no files
    workflow.py   the workflow, its steps, its run; software.py: the tools, and what they build on
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from requant.archive.crate.entities import (
    APACHE,
    CORE_ML,
    WORKFLOW,
    Entity,
    compact,
    file_id,
    has_workflow,
    licence_of,
    links,
    origin_of,
    original_parts,
    original_roots,
    to,
)
from requant.archive.crate.files import describe_files
from requant.archive.crate.jobs import Job, describe_job, describe_parameters, jobs_of, with_parameters
from requant.archive.crate.software import describe_software
from requant.archive.crate.values import describe_values
from requant.archive.crate.workflow import describe_run, describe_workflow, run_ids
from requant.archive.record import Release

NAME = "ro-crate-metadata.json"
__all__ = ["NAME", "WORKFLOW", "crate_metadata"]

_CONTEXT = ["https://w3id.org/ro/crate/1.1/context", {"sha256": "http://schema.org/sha256"}]  # not in 1.1's context yet
_CRATE = "https://w3id.org/ro/crate/1.1"
_WORKFLOW_CRATE = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
_PROCESS_PROFILES = {"https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5")}
_WORKFLOW_PROFILES = {
    **_PROCESS_PROFILES,
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/provenance/0.5": ("Provenance Run Crate", "0.5"),
    _WORKFLOW_CRATE: ("Workflow RO-Crate", "1.0"),
}
_UNKNOWN_LICENCE = "No licence is stated for the original that this release is made of."


def crate_metadata(release: Release) -> bytes:
    """Return the file `ro-crate-metadata.json` of a release: UTF-8, indented, the same bytes for the same release.

    It names `release.json` and `bom.cdx.json` too, which lie beside it.
    """
    jobs = tuple(jobs_of(release))
    workflow = has_workflow(release)
    graph = [
        *_describe_crate(release, jobs),
        *(describe_workflow(release, jobs) if workflow else ()),
        *describe_parameters(release, jobs),
        *with_parameters([*describe_files(release), *describe_values(release)], jobs),
        *(describe_job(job) for job in jobs),
        *(describe_run(release, jobs) if workflow else ()),
        *describe_software(release, jobs),
        *_describe_context(release),
    ]
    document: dict[str, Any] = {"@context": _CONTEXT, "@graph": [compact(entity) for entity in graph]}
    return (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _describe_crate(release: Release, jobs: Sequence[Job]) -> Iterator[Entity]:
    """Describe this file, the release as a whole, and the profiles that it keeps to."""
    workflow = has_workflow(release)
    profiles = _WORKFLOW_PROFILES if workflow else _PROCESS_PROFILES
    yield {
        "@id": NAME,
        "@type": "CreativeWork",
        "about": to("./"),
        "conformsTo": links([_CRATE, _WORKFLOW_CRATE] if workflow else [_CRATE]),
    }
    inside = original_parts(release)
    files = [file_id(file.path) for file in release.files if file.path not in inside]
    actions = [*(job.identifier for job in jobs), *(run_ids(release, jobs) if workflow else ())]
    yield {
        "@id": "./",
        "@type": "Dataset",
        "name": f"{release.model} {release.name}",
        "description": _description(release),
        "version": release.name,
        "datePublished": release.created,
        "license": to(licence_of(release)),
        "conformsTo": links(profiles),
        **({"mainEntity": to(WORKFLOW)} if workflow else {}),
        "hasPart": links([*original_roots(release), *files, "release.json", "bom.cdx.json"]),
        "mentions": links(actions),
    }
    for profile, (name, version) in profiles.items():
        yield {"@id": profile, "@type": "CreativeWork", "name": name, "version": version}


def _description(release: Release) -> str:
    count = len(release.variants)
    made = f"{count} quantized variant{'' if count == 1 else 's'}" if count else "no variants"
    advice = f"; recommended is {release.recommended}" if release.recommended else ""
    return (
        f"Release {release.name} of the Core ML model {release.model} ({release.type}): the preserved original "
        f"{release.original.name}, the float model made of it, and {made}{advice}."
    )


def _describe_context(release: Release) -> Iterator[Entity]:
    """Describe the licences, where the original comes from, and the format of the models."""
    licence, origin = release.original.licence.strip(), release.original.origin.strip()
    yield {
        "@id": licence_of(release),
        "@type": "CreativeWork",
        "name": licence or "No licence is stated",
        "description": f"The licence of the original: {licence}" if licence else _UNKNOWN_LICENCE,
    }
    if licence_of(release) != APACHE:
        yield {"@id": APACHE, "@type": "CreativeWork", "name": "Apache-2.0"}
    if origin and origin_of(release) not in (licence_of(release), APACHE):
        yield {
            "@id": origin_of(release),
            "@type": "CreativeWork",
            "name": f"Where {release.original.name} comes from",
            "description": origin,
        }
    yield {"@id": CORE_ML, "@type": "WebSite", "name": "Core ML model format"}
