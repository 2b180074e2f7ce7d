"""The conda environments of the rules of a conversion: no conda is needed to see that they fit the locks."""

import re

import pytest
import yaml

from requant.frameworks import FRAMEWORKS
from tests.workflow.project import REPOSITORY

PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


def pins(path):
    """Return the versions in a requirements file, by name; of a name that is there twice, all of them."""
    found = {}
    for name, version in PIN.findall((REPOSITORY / path).read_text()):
        found.setdefault(name.lower().removesuffix("-cpu"), set()).add(version)
    return found


@pytest.mark.parametrize("extra", FRAMEWORKS)
def test_an_environment_has_the_locked_versions_and_its_framework(extra):
    path = REPOSITORY / "workflow/envs" / f"{FRAMEWORKS[extra].environment}.yaml"
    (wanted,) = (entry["pip"] for entry in yaml.safe_load(path.read_text())["dependencies"] if isinstance(entry, dict))
    locked = pins("requirements/run.lock")
    frameworks = pins("requirements/sources-torch.txt") | pins("requirements/sources-tensorflow.txt")
    names = [entry.partition("==")[0] for entry in wanted]
    assert extra in names
    for entry in wanted:
        name, _, version = entry.partition("==")
        assert version in (locked.get(name) or frameworks[name]), entry


def test_the_environments_are_all_there_are():
    found = {path.stem for path in (REPOSITORY / "workflow/envs").iterdir()}
    assert found == {framework.environment for framework in FRAMEWORKS.values()}
