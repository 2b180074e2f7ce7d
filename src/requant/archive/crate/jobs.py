"""Which tool made what of what: the actions of a crate, and the parameters that their inputs and results stand for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from requant.archive.crate.entities import (
    FLOAT,
    Entity,
    file_id,
    links,
    local_id,
    original_folder,
    original_roots,
    to,
    unique,
)
from requant.archive.crate.values import (
    RECOMMENDED,
    figures_id,
    figures_of,
    functions_id,
    scheme_id,
    settings_id,
    settings_name,
)
from requant.archive.record import Made, Release

# A literal: https://schema.org/actionStatus, in the form that the profile's checks ask for.
COMPLETED = "http://schema.org/CompletedActionStatus"


@dataclass(frozen=True)
class Parameter:
    """What goes into a tool or comes out of it: its type in the terms of the profile, and what it is."""

    type: str
    meaning: str


@dataclass(frozen=True)
class Tool:
    """A step of the workflow: what it does, and the names of the parameters that go in and come out."""

    meaning: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """A run of a tool.

    Attributes:
        tool: a key of `TOOLS`.
        subject: what it was run for: the model's name or the scheme.
        name: for people.
        description: likewise.
        objects: the identifier of each thing that went in, with the parameter that it stands for; empty for none.
        results: of each thing that came out, likewise.
    """

    tool: str
    subject: str
    name: str
    description: str
    objects: tuple[tuple[str, str], ...]
    results: tuple[tuple[str, str], ...]

    @property
    def identifier(self) -> str:
        """Its identifier in the crate."""
        return local_id(self.tool, self.subject)


PARAMETERS = {
    "original": Parameter("File", "The preserved original"),
    "conversion": Parameter("PropertyValue", "How the original is converted, key by key"),
    "scheme": Parameter("Text", "What is done to the weights, as kmeans_4"),
    "selection": Parameter("PropertyValue", "Which tensors take the scheme, key by key"),
    "functions": Parameter("Text", "Functions of the user's, as code/FILE.py:FUNCTION"),
    "float_model": Parameter("File", "The float model: what every variant is made of and compared with"),
    "variant": Parameter("File", "A quantized model"),
    "audit": Parameter("File", "What each tensor of a model stores"),
    "data": Parameter("File", "The evaluation data, by digest"),
    "evaluation": Parameter("File", "All figures of a model"),
    "figures": Parameter("PropertyValue", "The most telling of the figures, by column of summary.tsv"),
    "summary": Parameter("File", "The table of all variants"),
    "judgement": Parameter("File", "The targets, the recommended variant and the reason"),
    "recommended": Parameter("Text", "The scheme that is recommended"),
}
TOOLS = {
    "convert": Tool(
        "Bring an original to a float Core ML model, written canonically",
        ("original", "conversion", "functions"),
        ("float_model", "audit"),
    ),
    "quantize": Tool(
        "Quantize the float model by one scheme, and audit what the file stores",
        ("float_model", "scheme", "selection", "functions"),
        ("variant", "audit"),
    ),
    "evaluate": Tool(
        "Judge a model: its size, what it stores, and what it gives beside what the float model gives",
        ("variant", "float_model", "data"),
        ("evaluation", "figures"),
    ),
    "summarize": Tool(
        "Write the table of a model's variants, and recommend one",
        ("evaluation",),
        ("summary", "judgement", "recommended"),
    ),
}
_TABLES = {"summary.tsv": "summary", "judgement.json": "judgement"}


def jobs_of(release: Release) -> Iterator[Job]:
    """Return which tools ran, in the order of the workflow."""
    yield _conversion(release)
    for variant in release.variants:
        yield _quantization(release, variant)
    for made in (release.float_model, *release.variants):
        yield from _evaluation(release, made)
    yield from _summary(release)


def tools_of(jobs: Sequence[Job]) -> list[str]:
    """Return the tools that ran, in the order of the workflow."""
    return unique(job.tool for job in jobs)


def tool_id(name: str) -> str:
    """Return the identifier of a tool."""
    return local_id("requant", name)


def parameter_id(name: str) -> str:
    """Return the identifier of a parameter."""
    return local_id("parameter", name)


def describe_job(job: Job) -> Entity:
    """Describe a run of a tool."""
    return {
        "@id": job.identifier,
        "@type": "CreateAction",
        "name": job.name,
        "description": job.description,
        "instrument": to(tool_id(job.tool)),
        "object": links(identifier for identifier, _ in job.objects),
        "result": links(identifier for identifier, _ in job.results),
        "actionStatus": COMPLETED,
    }


def parameters_of(jobs: Sequence[Job]) -> list[str]:
    """Return the parameters that have a value, in the order of `PARAMETERS`."""
    used = {role for job in jobs for _, role in (*job.objects, *job.results)}
    return [name for name in PARAMETERS if name in used]


def describe_parameters(release: Release, jobs: Sequence[Job]) -> Iterator[Entity]:
    """Describe the parameters that have a value; those of tools and workflow are the same."""
    for name in parameters_of(jobs):
        folder = name == "original" and original_folder(release)
        yield {
            "@id": parameter_id(name),
            "@type": "FormalParameter",
            "name": name,
            "description": PARAMETERS[name].meaning,
            "additionalType": "Dataset" if folder else PARAMETERS[name].type,
        }


def with_parameters(entities: Iterable[Entity], jobs: Sequence[Job]) -> Iterator[Entity]:
    """Return entities with links to the parameters that they stand for."""
    roles: dict[str, list[str]] = {}
    for job in jobs:
        for identifier, role in (*job.objects, *job.results):
            roles.setdefault(identifier, []).extend([parameter_id(role)] if role else [])
    for entity in entities:
        yield {**entity, "exampleOfWork": links(roles.get(entity["@id"], ()))}


def _conversion(release: Release) -> Job:
    made = release.float_model
    return Job(
        "convert",
        release.model,
        f"Convert {release.original.name}",
        _with_command(TOOLS["convert"].meaning, made),
        (*((root, "original") for root in original_roots(release)), *_given(release, made)),
        ((file_id(made.model.path), "float_model"), (file_id(made.audit.path), "audit")),
    )


def _quantization(release: Release, made: Made) -> Job:
    float_model = (file_id(release.float_model.model.path), "float_model")
    return Job(
        "quantize",
        made.scheme,
        f"Quantize {release.model} by {made.scheme}",
        _with_command(TOOLS["quantize"].meaning, made),
        (float_model, (scheme_id(made), "scheme"), *_given(release, made)),
        ((file_id(made.model.path), "variant"), (file_id(made.audit.path), "audit")),
    )


def _evaluation(release: Release, made: Made) -> Iterator[Job]:
    """Return the evaluation of a model, if it was evaluated."""
    if made.evaluation is None:
        return
    float_model = (file_id(release.float_model.model.path), "float_model")
    variant = () if made.scheme == FLOAT else ((file_id(made.model.path), "variant"),)
    data = (("data.json", "data"),) if _has(release, "data.json") else ()
    figures = ((figures_id(made), "figures"),) if figures_of(made) else ()
    yield Job(
        "evaluate",
        made.scheme,
        f"Evaluate {'the float model' if made.scheme == FLOAT else made.scheme}",
        f"{TOOLS['evaluate'].meaning}.",
        (*variant, float_model, *data),
        ((file_id(made.evaluation.path), "evaluation"), *figures),
    )


def _summary(release: Release) -> Iterator[Job]:
    """Return the comparison of the variants, if the release has it."""
    evaluations = [made.evaluation for made in (release.float_model, *release.variants) if made.evaluation]
    tables = [(path, role) for path, role in _TABLES.items() if _has(release, path)]
    if evaluations and tables:
        advice = ((RECOMMENDED, "recommended"),) if release.recommended else ()
        yield Job(
            "summarize",
            release.model,
            f"Compare the variants of {release.model}",
            f"{TOOLS['summarize'].meaning}.",
            tuple((file_id(file.path), "evaluation") for file in evaluations),
            (*tables, *advice),
        )


def _given(release: Release, made: Made) -> Iterator[tuple[str, str]]:
    """Return the settings and functions that the making of a model hangs on, and the files of the functions."""
    if made.settings:
        yield settings_id(made), settings_name(made)
    if made.functions:
        yield functions_id(made), "functions"
    called = {function.rpartition(":")[0] for function in made.functions}
    for file in release.others:
        if file.path in called:
            yield file_id(file.path), ""  # stands for no parameter: the function does


def _has(release: Release, path: str) -> bool:
    return any(file.path == path for file in release.others)


def _with_command(meaning: str, made: Made) -> str:
    return f"{meaning}." + (f" In the project, this makes it again: {made.command}" if made.command else "")
