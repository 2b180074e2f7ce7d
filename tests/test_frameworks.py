import subprocess
import sys
from importlib.util import find_spec

import pytest

from requant.frameworks import FRAMEWORKS, is_installed, only


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
