"""The software that made a release: the tools, the library that they are of, and what that builds on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import quote

from requant.archive.crate.entities import APACHE, Entity, links, local_id, to
from requant.archive.crate.jobs import TOOLS, Job, parameter_id, parameters_of, tool_id, tools_of
from requant.archive.record import Release

_REQUANT = local_id("requant")


def library_id(name: str, version: str) -> str:
    """Return the identifier of a distribution: its page in the Python Package Index."""
    return f"https://pypi.org/project/{quote(name, safe='')}/{quote(version, safe='')}/"


def describe_software(release: Release, jobs: Sequence[Job]) -> Iterator[Entity]:
    """Describe all software with its versions, and the digests of this library's code and lock file."""
    software, used = release.software, parameters_of(jobs)
    for name in tools_of(jobs):
        yield {
            "@id": tool_id(name),
            "@type": "SoftwareApplication",
            "name": f"requant, {name}",
            "description": TOOLS[name].meaning,
            "softwareVersion": software.requant,
            "softwareRequirements": to(_REQUANT),
            "input": links(parameter_id(role) for role in TOOLS[name].inputs if role in used),
            "output": links(parameter_id(role) for role in TOOLS[name].outputs if role in used),
        }
    digests = {
        local_id("requant-code"): ("SHA-256 of the code that conversion and quantization hang on", software.code),
        local_id("requant-lock"): ("SHA-256 of the lock file of the dependencies", software.lock),
    }
    known = {identifier: pair for identifier, pair in digests.items() if pair[1]}
    libraries = sorted(software.libraries.items())
    python = f"https://docs.python.org/release/{quote(software.python, safe='')}/"
    yield {
        "@id": _REQUANT,
        "@type": "SoftwareApplication",
        "name": "requant",
        "softwareVersion": software.requant,
        "license": to(APACHE),
        "identifier": links(known),
        "softwareRequirements": links([python, *(library_id(name, version) for name, version in libraries)]),
    }
    for identifier, (name, value) in known.items():
        yield {"@id": identifier, "@type": "PropertyValue", "name": name, "value": value}
    yield _application(python, "Python", software.python)
    for name, version in libraries:
        yield _application(library_id(name, version), name, version)


def _application(address: str, name: str, version: str) -> Entity:
    facts = {"@id": address, "@type": "SoftwareApplication", "name": name, "url": address}
    return {**facts, "softwareVersion": version}
