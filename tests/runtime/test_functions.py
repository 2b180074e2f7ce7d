"""Packages with several functions."""

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813

from requant.coreml.model import load as load_model
from requant.errors import RequantError
from requant.runtime import load
from tests.building import FLOAT32, IOS18, numbers
from tests.runtime.reference import close

WEIGHT = numbers(8, 3, 3, 3)
X, FLAT = numbers(1, 3, 6, 6), numbers(4, 3)


def saved(folder, name, function, *shapes, inputs=None):
    specs = [mb.TensorSpec(shape=shape) for shape in shapes]
    made = mb.program(input_specs=specs, opset_version=IOS18)(function)
    model = ct.convert(
        made, minimum_deployment_target=IOS18, compute_precision=FLOAT32, skip_model_load=True, inputs=inputs
    )
    path = folder / f"{name}.mlpackage"
    model.save(str(path))
    return path


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """Return a package of two functions with other inputs and outputs, which share a weight, and its default one."""
    folder = tmp_path_factory.mktemp("functions")
    picture = saved(folder, "picture", lambda x: mb.conv(x=x, weight=WEIGHT, name="features"), X.shape)
    flat = saved(
        folder, "flat", lambda row, other: mb.add(x=mb.relu(x=row), y=other, name="sum"), FLAT.shape, FLAT.shape
    )
    functions = ct.utils.MultiFunctionDescriptor()
    functions.add_function(str(picture), "main", "picture")
    functions.add_function(str(flat), "main", "flat")
    functions.default_function_name = "picture"
    path = folder / "both.mlpackage"
    ct.utils.save_multifunction(functions, str(path))
    return path


def test_each_function_has_its_own_inputs_and_outputs(package):
    picture, flat = load(package, "onnxruntime", function="picture"), load(package, "onnxruntime", function="flat")
    assert [feature.name for feature in picture.inputs] == ["x"]
    assert [feature.name for feature in flat.inputs] == ["row", "other"]
    assert [feature.name for feature in flat.outputs] == ["sum"]
    close(flat.predict({"row": FLAT, "other": FLAT})["sum"], np.maximum(FLAT, 0) + FLAT)
    assert picture.predict({"x": X})["features"].shape == (1, 8, 4, 4)


def test_the_default_function_runs_where_none_is_named(package):
    named, default = load(package, "onnxruntime", function="picture"), load(package, "onnxruntime")
    np.testing.assert_array_equal(named.predict({"x": X})["features"], default.predict({"x": X})["features"])


def test_an_unknown_function_is_named_with_those_that_there_are(package):
    with pytest.raises(RequantError, match="no function other; it has flat, picture"):
        load(package, "onnxruntime", function="other")


def test_the_inputs_of_another_function_are_refused(package):
    with pytest.raises(RequantError, match=r"no input 'row'. Its inputs are x"):
        load(package, "onnxruntime", function="picture").predict({"row": FLAT})


def test_a_network_has_no_functions():
    from requant.runtime import open_model
    from tests.building import network

    model = network(lambda b: b.add_activation("relu", "RELU", "x", "y"))
    with pytest.raises(RequantError, match="no functions to choose from"):
        open_model(model, "onnxruntime", function="main")


def test_both_functions_are_in_the_file(package):
    assert sorted(load_model(package).spec.mlProgram.functions) == ["flat", "picture"]
