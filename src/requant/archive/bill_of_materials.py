"""The bill of materials of a release, `bom.cdx.json`: its models, the user's code in them, the software that made them.

It is an ML-BOM in the JSON of CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/). `cyclonedx-python-lib` writes all
of it but the model cards, for which it has no classes yet; they are put into what it wrote. The same release gives the
same bytes: the serial number is a UUID of the content, the timestamp that of the release.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote
from uuid import NAMESPACE_OID, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType, Pedigree
from cyclonedx.model.dependency import Dependency
from cyclonedx.model.license import License, LicenseAcknowledgement
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from requant.archive.figures import Figure, in_json, measured
from requant.archive.record import ArchivedFile, Made, Original, Release

NAME = "bom.cdx.json"
FLOAT = "float"

_DATA = "data.json"
_LICENCES = LicenseFactory()


def bill_of_materials(release: Release) -> bytes:
    """Return the file `bom.cdx.json` of a release: UTF-8, indented, the same bytes for the same release."""
    document = json.loads(JsonV1Dot6(_bom(release)).output_as_string())
    cards = {made.model.path: _model_card(release, made) for made in _all_made(release)}
    for component in document["components"]:
        card = cards.get(component["bom-ref"])
        if card:
            component["modelCard"] = card
    del document["serialNumber"]  # of this writing
    content = json.dumps(document, sort_keys=True)
    document["serialNumber"] = f"urn:uuid:{uuid5(NAMESPACE_OID, content)}"
    return (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _bom(release: Release) -> Bom:
    whole, original = _whole(release), _original(release)
    models = [_model(release, made) for made in _all_made(release)]
    code = [_code(file) for file in release.others if file.path in _called(_all_made(release))]
    bom = Bom(
        metadata=BomMetaData(
            timestamp=datetime.fromisoformat(release.created),
            component=whole,
            tools=ToolRepository(components=_tools(release)),
        ),
        components=[original, *models, *code],
    )
    refs = {component.bom_ref.value: component for component in (original, *models, *code)}
    bom.dependencies.add(Dependency(whole.bom_ref, [Dependency(each.bom_ref) for each in (original, *models, *code)]))
    for made in _all_made(release):
        source = release.float_model.model.path if made.scheme != FLOAT else original.bom_ref.value
        needs = [source, *(path for path in _called([made]) if path in refs)]
        bom.dependencies.add(Dependency(refs[made.model.path].bom_ref, [Dependency(refs[n].bom_ref) for n in needs]))
    for component in (original, *code):
        bom.dependencies.add(Dependency(component.bom_ref))
    return bom


def _all_made(release: Release) -> tuple[Made, ...]:
    return (release.float_model, *release.variants)


def _called(models: Iterable[Made]) -> list[str]:
    """Return the files whose functions the making of models calls, each once."""
    return list(dict.fromkeys(function.rpartition(":")[0] for made in models for function in made.functions))


# Components


def _whole(release: Release) -> Component:
    """Return the component that the bill is about: the release."""
    advice = [("recommended", release.recommended)] if release.recommended else []
    return Component(
        name=release.model,
        version=release.name,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=f"{release.model}@{release.name}",
        description=f"{release.type}: the preserved original, the float model and {len(release.variants)} variants",
        licenses=_licences(release.original, LicenseAcknowledgement.DECLARED),
        properties=_properties([("type", release.type), *advice]),
    )


def _original(release: Release, of: str = "") -> Component:
    """Return the original, with the files of a folder as parts; `of` tells one ancestor from the others."""
    original = release.original
    single = original.files[0] if len(original.files) == 1 else None
    return Component(
        name=original.name,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=_ref(f"original/{original.name}", of),
        description="The preserved original" + (f"; from: {original.origin}" if original.origin else ""),
        licenses=_licences(original, LicenseAcknowledgement.DECLARED),
        hashes=[_hash(single)] if single else [],
        external_references=[_reference(single, ExternalReferenceType.DISTRIBUTION)] if single else [],
        properties=_properties([("bytes", sum(file.bytes for file in original.files))]),
        components=[] if single else [_part(file, of) for file in original.files],
    )


def _part(file: ArchivedFile, of: str = "") -> Component:
    return Component(
        name=file.path,
        type=ComponentType.FILE,
        bom_ref=_ref(file.path, of),
        hashes=[_hash(file)],
        properties=_properties([("bytes", file.bytes)]),
    )


def _code(file: ArchivedFile) -> Component:
    return Component(
        name=file.path,
        type=ComponentType.FILE,
        bom_ref=file.path,
        description="Functions of the user's that the making of a model calls",
        hashes=[_hash(file)],
        properties=_properties([("bytes", file.bytes)]),
    )


def _model(release: Release, made: Made, of: str = "") -> Component:
    """Return a model that was made, with what it was made of; `of` tells one ancestor from the others."""
    is_float = made.scheme == FLOAT
    here = of or made.model.path
    return Component(
        name=PurePosixPath(made.model.path).name,
        version=release.name,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=_ref(made.model.path, of),
        description="The float model" if is_float else f"The variant {made.scheme} of the float model",
        licenses=_licences(release.original, LicenseAcknowledgement.CONCLUDED),
        hashes=[_hash(made.model)],
        external_references=[] if of else list(_references(made)),
        properties=[]
        if of
        else _properties([("bytes", made.model.bytes), ("recommended", _recommends(release, made))]),
        pedigree=Pedigree(
            ancestors=[_original(release, here) if is_float else _model(release, release.float_model, here)],
            notes=_notes(made),
        ),
    )


def _recommends(release: Release, made: Made) -> str:
    return "true" if made.scheme == release.recommended else "false"


def _notes(made: Made) -> str:
    what = "converted from the original" if made.scheme == FLOAT else f"quantized from the float model by {made.scheme}"
    return what + (f"; made again by: {made.command}" if made.command else "")


def _references(made: Made) -> Iterator[ExternalReference]:
    yield _reference(made.model, ExternalReferenceType.DISTRIBUTION)
    yield _reference(made.audit, ExternalReferenceType.EVIDENCE, "the audit: what each tensor stores")
    if made.evaluation:
        yield _reference(made.evaluation, ExternalReferenceType.QUALITY_METRICS, "all figures")


def _reference(file: ArchivedFile, kind: ExternalReferenceType, comment: str | None = None) -> ExternalReference:
    return ExternalReference(type=kind, url=XsUri(quote(file.path)), comment=comment, hashes=[_hash(file)])


def _ref(path: str, of: str) -> str:
    """Return the reference of a component: its path, or as an ancestor of another one, both."""
    return f"{path} in the pedigree of {of}" if of else path


def _hash(file: ArchivedFile) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=file.sha256)


def _licences(original: Original, acknowledgement: LicenseAcknowledgement) -> list[License]:
    """Return the licence that the original's owner declared; what is made of it is concluded to have the same."""
    licence = original.licence.strip()
    return [_LICENCES.make_from_string(licence, license_acknowledgement=acknowledgement)] if licence else []


def _properties(pairs: Iterable[tuple[str, Any]]) -> list[Property]:
    return [Property(name=f"requant:{name}", value=_text(value)) for name, value in pairs]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


# Software


def _tools(release: Release) -> list[Component]:
    """Return the software that made the release."""
    software = release.software
    digests = {"code-sha256": software.code, "lock-sha256": software.lock}
    requant = Component(
        name="requant",
        version=software.requant,
        type=ComponentType.APPLICATION,
        bom_ref=f"requant@{software.requant}",
        licenses=[_LICENCES.make_from_string("Apache-2.0", license_acknowledgement=LicenseAcknowledgement.DECLARED)],
        properties=_properties([(name, value) for name, value in digests.items() if value]),
    )
    python = Component(
        name="Python", version=software.python, type=ComponentType.PLATFORM, bom_ref=f"python@{software.python}"
    )
    return [requant, python, *(_library(name, version) for name, version in software.libraries.items())]


def _library(name: str, version: str) -> Component:
    purl = PackageURL("pypi", name=name, version=version)
    return Component(name=name, version=version, type=ComponentType.LIBRARY, bom_ref=purl.to_string(), purl=purl)


# Model cards: https://cyclonedx.org/docs/1.6/json/#components_items_modelCard


def _model_card(release: Release, made: Made) -> dict[str, Any]:
    """Return what is known of a model beyond its bytes: the data it was judged on, its figures, how it was made."""
    figures = measured(made.figures)
    card: dict[str, Any] = {}
    if made.evaluation and any(file.path == _DATA for file in release.others):
        data = {"type": "dataset", "name": "evaluation data", "contents": {"url": _DATA}}
        card["modelParameters"] = {"datasets": [data | {"description": "What it was evaluated on; by digest"}]}
    metrics = [_metric(figure) for figure in figures if figure.of_outputs]
    if metrics:
        card["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    facts = [(figure.name, in_json(figure.value)) for figure in figures if not figure.of_outputs]
    card["properties"] = [
        {"name": f"requant:{name}", "value": _text(value)}
        for name, value in [("scheme", made.scheme), *_settings(made.scheme, made.settings, made.functions), *facts]
    ]
    return card


def _settings(scheme: str, settings: Mapping[str, Any], functions: Sequence[str]) -> Iterator[tuple[str, Any]]:
    kind = "conversion" if scheme == FLOAT else "selection"
    yield from ((f"{kind}:{key}", value) for key, value in settings.items())
    yield from (("function", function) for function in functions)


def _metric(figure: Figure) -> dict[str, Any]:
    metric: dict[str, Any] = {"type": figure.name, "value": _text(in_json(figure.value))}
    if figure.interval:
        low, high = (_text(in_json(end)) for end in figure.interval)
        metric["confidenceInterval"] = {"lowerBound": low, "upperBound": high}
    return metric
