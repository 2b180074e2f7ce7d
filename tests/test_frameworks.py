import subprocess
import sys
from importlib.util import find_spec

import pytest

from requant import frameworks
from requant.frameworks import FRAMEWORKS, converting_versions, installed_versions, is_installed, only
from requant.records import write_record


def run(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("extra", FRAMEWORKS)
def test_a_missing_framework_is_told_with_the_command_that_installs_it(extra):
    program = (  # in a process of its own, where nothing is imported yet
        "from pathlib import Path\nfrom requant.errors import RequantError\n"
        "from requant.frameworks import only, require\n"
        f"with only():\n    try:\n        require({extra!r}, Path('models_original/net'))\n"
        "    except RequantError as error:\n        print(error)"
    )
    said = run(program)
    assert "models_original/net needs" in said
    assert f"-m pip install --editable '.[{extra}]'" in said


def test_coremltools_imports_no_framework_in_a_job_that_needs_none():
    program = (
        "import sys\nfrom requant.frameworks import only\nwith only():\n    import requant.coreml.model\n"
        "print(*{'torch', 'tensorflow', 'sklearn', 'xgboost'} & set(sys.modules))"
    )
    assert run(program) == ""


@pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")
def test_coremltools_knows_the_framework_that_a_job_needs():
    program = (
        "from requant.frameworks import only\nwith only('torch'):\n    import requant.coreml.model\n"
        "    from coremltools._deps import _HAS_TORCH\nprint(_HAS_TORCH)"
    )
    assert run(program) == "True"


def test_what_was_left_out_is_there_again_afterwards():
    before = [module for module in ("sklearn", "torch", "numpy") if is_installed(module)]
    with only():
        pass
    assert [module for module in ("sklearn", "torch", "numpy") if is_installed(module)] == before
    assert "numpy" in before


@pytest.mark.parametrize("extra", FRAMEWORKS)
def test_a_framework_has_a_version_if_it_is_installed(extra):
    assert bool(installed_versions(extra)) == is_installed(FRAMEWORKS[extra].modules[0])


def versions(monkeypatch, installed):
    def version(name):
        if name not in installed:
            raise frameworks.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(frameworks, "version", version)


def test_a_conversion_hangs_on_the_version_that_is_installed(tmp_path, monkeypatch):
    audit = tmp_path / "net.mlpackage.zip.json"
    write_record(audit, {"scheme": "float", "frameworks": {"torch": "2.6"}})
    versions(monkeypatch, {"torch": "2.7"})
    assert converting_versions("torch", audit) == {"torch": "2.7"}
    versions(monkeypatch, {"tensorflow-cpu": "2.19", "keras": "3.9", "torch": "2.7"})
    assert converting_versions("tensorflow", tmp_path / "none") == {"tensorflow-cpu": "2.19", "keras": "3.9"}


def test_without_the_framework_a_model_that_is_made_stays_as_it_is(tmp_path, monkeypatch):
    versions(monkeypatch, {})
    audit = tmp_path / "net.mlpackage.zip.json"
    assert converting_versions("torch", audit) == {}
    write_record(audit, {"scheme": "float", "frameworks": {"torch": "2.6"}})
    assert converting_versions("torch", audit) == {"torch": "2.6"}
    write_record(audit, {"scheme": "float"})
    assert converting_versions("torch", audit) == {}
