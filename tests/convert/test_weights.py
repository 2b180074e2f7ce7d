import subprocess
import sys

import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813

from requant.convert import kind_of_float_model, weights
from requant.convert.weights import has_weights
from requant.coreml.kind import Kind
from requant.coreml.model import save, unpack_package
from tests.building import add_inner_product, network, numbers, program
from tests.coreml.joining import joined, network_stage, scaler


def relu(builder):
    builder.add_activation("relu", "RELU", "x", "y")


def found(path):
    return has_weights(path, kind_of_float_model(path))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (network(relu), False),
        (network(lambda b: b.add_scale("scale", numbers(3), None, False, "x", "y", [3])), True),
        (network(lambda b: add_inner_product(b, numbers(4, 5))), True),
        (joined([scaler()]), False),
        (joined([scaler(), network(relu).spec]), False),
        (joined([scaler("x", "a"), network_stage("a", "y")]), True),
    ],
)
def test_small_files_are_looked_into(model, expected, tmp_path):
    save(model, tmp_path / "m.mlmodel")
    assert found(tmp_path / "m.mlmodel") is expected


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: mb.relu(x=x), False),
        (lambda x: mb.linear(x=x, weight=numbers(40, 50)), True),
    ],
)
def test_small_packages_are_looked_into(function, expected, tmp_path):
    unpack_package(program(function, (1, 50)), tmp_path / "m.mlpackage")
    assert found(tmp_path / "m.mlpackage") is expected


def test_a_large_model_is_taken_to_have_weights(tmp_path, monkeypatch):
    save(network(relu), tmp_path / "m.mlmodel")
    monkeypatch.setattr(weights, "LARGEST_WITHOUT_WEIGHTS", (tmp_path / "m.mlmodel").stat().st_size - 1)
    assert found(tmp_path / "m.mlmodel")


@pytest.mark.parametrize(("kind", "expected"), [(Kind.ML_PROGRAM, True), (Kind.OTHER, False)])
def test_other_formats_are_not_looked_into(kind, expected, tmp_path):
    assert has_weights(tmp_path / "m.onnx", kind) is expected


def test_what_is_damaged_is_left_to_the_conversion_to_tell(tmp_path):
    save(network(relu), tmp_path / "m.mlmodel")
    (tmp_path / "m.mlmodel").write_bytes((tmp_path / "m.mlmodel").read_bytes()[:-3])
    assert has_weights(tmp_path / "m.mlmodel", Kind.NEURAL_NETWORK)


def test_a_small_network_with_weights_is_found_without_coremltools(tmp_path):
    save(network(lambda b: add_inner_product(b, numbers(4, 5))), tmp_path / "m.mlmodel")
    program = (
        "import sys; from pathlib import Path; from requant.convert.weights import has_weights;"
        "from requant.coreml.kind import Kind;"
        "print(has_weights(Path(sys.argv[1]), Kind.NEURAL_NETWORK), 'coremltools' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "m.mlmodel")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
