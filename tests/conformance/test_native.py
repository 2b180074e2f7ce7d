"""The harness told honestly: tests written for this purpose, of every outcome, run with the plugin."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance import record
from tests.conformance.run import run_share
from tests.conformance.suites import Suite

ROOT = Path(__file__).parents[2]
TESTS = """
import tempfile
from pathlib import Path
import numpy as np
import pytest
import coremltools as ct
from coremltools._deps import _IS_MACOS
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil import testing_utils
from coremltools.models import datatypes
from coremltools.models.neural_network import NeuralNetworkBuilder
from coremltools.models.utils import _is_macos, _macos_version


def program(operation):
    @mb.program(input_specs=[mb.TensorSpec(shape=(2, 3))], opset_version=ct.target.iOS15)
    def prog(x):
        return operation(x)
    return ct.convert(prog, convert_to="mlprogram", compute_precision=ct.precision.FLOAT32)


def network():
    builder = NeuralNetworkBuilder([("x", datatypes.Array(3))], [("y", None)], disable_rank5_shape_mapping=True)
    builder.add_custom("own", ["x"], ["y"])
    return ct.models.MLModel(builder.spec)


def test_imitated_mac():
    assert _IS_MACOS and testing_utils._IS_MACOS and _is_macos() and ct.utils._macos_version() >= (15, 0)


def test_right():
    x = np.array([[1, -2, 3], [-4, 5, -6]], np.float32)
    model = program(lambda x: mb.relu(x=x))
    (y,) = model.predict({"x": x}).values()
    np.testing.assert_allclose(y, np.maximum(x, 0))
    assert len(model.predict([{"x": x}, {"x": x}])) == 2


def test_compared_by_apple():
    x = np.ones((2, 3), np.float32)
    model = program(lambda x: mb.relu(x=x, name="y"))
    testing_utils.compare_backend(model, {"x": x}, {"y": x + 1})


def test_wrong_name():
    program(lambda x: mb.relu(x=x)).predict({"x": np.ones((2, 3), np.float32)})["nothing"]


def test_refused():
    network().predict({"x": np.ones(3)})


def test_refusal_swallowed():
    with pytest.raises(Exception):
        network().predict({"x": np.ones(3)})


def test_defect(monkeypatch):
    model = program(lambda x: mb.relu(x=x))
    monkeypatch.setattr(model.__proxy__, "_runner", object())
    model.predict({"x": np.ones((2, 3), np.float32)})


def test_compiled():
    program(lambda x: mb.relu(x=x)).get_compiled_model_path()


def test_elsewhere():
    program(lambda x: mb.relu(x=undefined))


def test_no_prediction():
    program(lambda x: mb.relu(x=x))


@pytest.mark.xfail
def test_expected_failure():
    assert False


def test_skipped():
    pytest.skip("because")


def test_endless():
    while True:
        pass


def test_random():
    print("RANDOM", np.random.rand())


@pytest.mark.parametrize("number", range(20))
def test_many(number):
    assert len(list(Path(tempfile.gettempdir()).iterdir())) == 0
    tempfile.mkdtemp()
"""
EXPECTED = {
    "test_imitated_mac": ("passed-without-prediction", "", 0),
    "test_right": ("passed-with-prediction", "", 3),
    "test_compared_by_apple": ("failed", "values", 1),
    "test_wrong_name": ("failed", "afterwards", 1),
    "test_refused": ("failed", "refused", 0),
    "test_refusal_swallowed": ("passed-without-prediction", "", 0),
    "test_defect": ("failed", "defect", 0),
    "test_compiled": ("failed", "apple", 0),
    "test_elsewhere": ("failed", "elsewhere", 0),
    "test_no_prediction": ("passed-without-prediction", "", 0),
    "test_expected_failure": ("expected-failure", "", 0),
    "test_skipped": ("skipped", "", 0),
    "test_endless": ("failed", "time", 0),
}


def run(folder, *options):
    """Run the tests above and return the finished process."""
    (folder / "test_outcomes.py").write_text(TESTS)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))}
    configuration = ["-c", str(Path(__file__).with_name("pytest.ini")), "--rootdir", str(folder)]
    command = [sys.executable, "-m", "pytest", "-p", "tests.conformance.plugin", *configuration, *options]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outcomes")
    run(folder, "--records=all.jsonl", "--per-function=2", "--time-limit=5", "test_outcomes.py")
    return folder


@pytest.fixture(scope="module")
def by_name(folder):
    return {one.node.partition("::")[2]: one for one in record.read(folder / "all.jsonl")}


@pytest.mark.parametrize("name", EXPECTED)
def test_every_outcome_is_told_apart(by_name, name):
    one = by_name[name]
    assert (one.category, one.kind, one.predictions) == EXPECTED[name], one


def test_a_refusal_names_the_layer(by_name):
    assert by_name["test_refused"].named == "custom"
    assert by_name["test_refused"].operations == ["custom"]


def test_a_swallowed_refusal_is_on_record(by_name):
    assert by_name["test_refusal_swallowed"].errors == 1


def test_the_sample_is_even_and_the_temporary_folder_clean(by_name):
    many = [one for name, one in by_name.items() if name.startswith("test_many")]
    assert len(many) == 2
    assert {one.outcome for one in many} == {"passed"}


def test_the_size_of_the_whole_is_kept(folder):
    assert (folder / "all.size").read_text() == str(len(EXPECTED) + 1 + 20)


def test_going_on_runs_only_what_is_not_on_record(folder):
    process = run(folder, "--records=all.jsonl", "--per-function=2", "--go-on", "test_outcomes.py")
    assert process.returncode == 5, process.stdout


def test_random_numbers_repeat(folder):
    first, second = (run(folder, "-s", "-k", "test_random", "test_outcomes.py").stdout for _ in range(2))
    lines = [[line for line in text.splitlines() if "RANDOM" in line] for text in (first, second)]
    assert lines[0]
    assert lines[0] == lines[1]


def test_a_test_that_ends_the_process_is_recorded_and_the_others_go_on(tmp_path):
    file = tmp_path / "test_end.py"
    file.write_text("import os\ndef test_a(): pass\ndef test_b(): os._exit(9)\ndef test_c(): pass\n")
    run_share(Suite("", (str(file),)), tmp_path / "end.jsonl", "1/1", 0)
    found = {one.node.partition("::")[2]: (one.outcome, one.kind) for one in record.read(tmp_path / "end.jsonl")}
    assert found == {"test_a": ("passed", ""), "test_b": ("failed", "crash"), "test_c": ("passed", "")}


def test_a_run_that_can_not_start_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="pytest ended with 4"):
        run_share(Suite("", (str(tmp_path / "test_missing.py"),)), tmp_path / "none.jsonl", "1/1", 0)
