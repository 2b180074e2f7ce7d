"""`roc-validator` without a network: the context of RO-Crate 1.1 comes from its HTTP cache.

The library `rocrate` brings the context of a later version. Of the terms that both have, the two differ in those below,
by what the context of 1.1 says (https://w3id.org/ro/crate/1.1/context); terms that 1.1 does not have are taken out.
"""

import importlib.resources
import io
import json

from requests.adapters import HTTPAdapter
from requests_cache import CachedSession
from rocrate_validator import services
from rocrate_validator.models import Severity, ValidationSettings
from urllib3 import HTTPResponse

CONTEXT = "https://w3id.org/ro/crate/1.1/context"
_OTHERWISE_IN_1_1 = {
    "ComputationalWorkflow": "https://bioschemas.org/ComputationalWorkflow",
    "FormalParameter": "https://bioschemas.org/FormalParameter",
    "input": "https://bioschemas.org/ComputationalWorkflow#input",
    "output": "https://bioschemas.org/ComputationalWorkflow#output",
}
_NOT_IN_1_1 = ("sha256",)


class _Answers(HTTPAdapter):
    """Answers every request with one document."""

    def __init__(self, document):
        super().__init__()
        self.document = document

    def send(self, request, *_, **__):
        headers = {"Content-Type": "application/ld+json"}
        return self.build_response(
            request,
            HTTPResponse(io.BytesIO(self.document), headers, 200, preload_content=False, request_url=request.url),
        )


def context():
    later = json.loads((importlib.resources.files("rocrate") / "data" / "ro-crate.jsonld").read_text())
    terms = {term: iri for term, iri in later["@context"].items() if term not in _NOT_IN_1_1}
    return {"@context": {**terms, **_OTHERWISE_IN_1_1}}


def fill_cache(path):
    """Make an HTTP cache that holds the context."""
    with CachedSession(str(path), backend="sqlite", expire_after=-1) as session:
        session.mount("https://", _Answers(json.dumps(context()).encode()))
        session.get(CONTEXT, headers={"Accept": "application/ld+json, application/json"})


def issues(folder, profile, cache, severity=Severity.REQUIRED):
    """Return what a profile finds wrong in a crate, one line each."""
    settings = ValidationSettings(
        rocrate_uri=str(folder),
        profile_identifier=profile,
        requirement_severity=severity,
        cache_path=cache,
        offline=True,
    )
    result = services.validate(settings)
    return sorted(
        {f"{issue.severity.name} {issue.check.identifier}: {issue.message}" for issue in result.get_issues(severity)}
    )
