"""The plan of the house, held: what a room may import, and what has to stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "requant"
# The ground floor first: a room imports only from rooms before it.
ROOMS = (
    "errors", "progress", "resources", "single_run", "records", "caching", "frameworks", "user_function",
    "handing_over", "warm", "job", "run", "coreml", "originals", "convert", "quantize", "runtime", "evaluate",
    "report", "archive", "configuration", "fingerprint", "cli",
)  # fmt: skip


def room_of(module):
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("requant."):
            yield room_of(node.module)
        elif isinstance(node, ast.Import):
            yield from (room_of(name.name) for name in node.names if name.name.startswith("requant."))


def test_every_module_is_in_a_room_of_the_plan():
    found = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")}
    assert found - {"__init__"} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_from_rooms_below_it(room):
    files = [*PACKAGE.glob(f"{room}.py"), *(PACKAGE / room).rglob("*.py")]
    allowed = set(ROOMS[: ROOMS.index(room) + 1])
    assert {name for file in files for name in imports(file)} <= allowed


def test_no_room_knows_snakemake():
    for path in PACKAGE.rglob("*.py"):
        assert "import snakemake" not in path.read_text()
        assert "from snakemake" not in path.read_text()


def test_what_the_workflow_reads_for_every_job_is_light():
    modules = (
        "requant.caching, requant.configuration, requant.evaluate.data, requant.fingerprint, requant.quantize.custom, "
        "requant.resources, requant.run.events, requant.run.summary"
    )
    program = (
        f"import sys, {modules}; print(*{{'coremltools', 'onnxruntime', 'pandas', 'matplotlib'}} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
