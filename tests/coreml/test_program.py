import dataclasses

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil.backend.mil.helper import create_scalar_value, create_tensor_value
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import get_new_symbol

from requant.coreml.model import WEIGHT_FILE
from requant.coreml.program import (
    all_operations,
    blob_bytes,
    block_of,
    constant_values,
    functions,
    is_constant,
    operation_name,
    shape_of,
    stored_weights,
    value_of,
)
from requant.errors import RequantError
from tests.building import constants_of, numbers, package, program


def constants(model):
    return constant_values(block_of(functions(model.spec)["main"]), model)


@pytest.fixture(params=["some_weights", "some_weights_float16"])
def model(request):
    return request.getfixturevalue(request.param)


def test_constants_are_those_that_coremltools_reads(model, tmp_path):
    expected = constants_of(package(model, tmp_path))
    found = constants(model)
    assert set(found) == set(expected)
    for name, value in expected.items():
        if isinstance(value, str):
            assert found[name].item() == value
        else:
            assert found[name].dtype == np.asarray(value).dtype, name
            np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_weights_keep_name_shape_form_and_size(some_weights, some_weights_float16):
    found = {w.name: w for w in stored_weights(some_weights)}
    weight = found["fc_weight_0"]
    assert (weight.form, weight.bits, weight.stored_bytes, weight.quantizable) == ("float32", 32, 4 * 16000, True)
    np.testing.assert_array_equal(weight.values, numbers(20, 800, scale=0.1))
    assert not found["fc_bias_0"].quantizable
    half = {w.name: w for w in stored_weights(some_weights_float16)}["fc_weight_0_to_fp16"]
    assert (half.form, half.bits, half.stored_bytes) == ("float16", 16, 2 * 16000)
    np.testing.assert_array_equal(half.values, numbers(20, 800, scale=0.1).astype(np.float16).astype(np.float32))


def test_blob_bytes_add_up_to_the_weight_file(model):
    size = sum(blob_bytes(operation, model) for operation in all_operations(model.spec))
    count = sum(blob_bytes(operation, model) > 0 for operation in all_operations(model.spec))
    assert size <= len(model.weight_file) <= 64 + size + count * 127


@pytest.mark.parametrize(
    "value",
    [
        np.array([True, False]),
        np.array([3, -4], np.int32),
        np.array([[1.5, -2.25]], np.float32),
        np.array([[0.1, 65504]], np.float16),
        np.array([200, 3], np.uint8),
        np.array([-7, 100], np.int8),
        np.array([1, 60000], np.uint16),
        np.array([-300, 300], np.int16),
        np.float32(0.25),
        np.int32(-9),
        np.bool_(True),
    ],
    ids=lambda value: f"{value.dtype}-{value.ndim}",
)
def test_a_constant_in_the_program_is_read_in_its_type(value, some_weights):
    message = create_tensor_value(value) if value.ndim else create_scalar_value(value)
    found = value_of(message, some_weights)
    assert found.dtype == value.dtype
    np.testing.assert_array_equal(found, value)


def test_empty_constants_are_read(some_weights):
    assert value_of(create_tensor_value(np.zeros((0, 3), np.float32)), some_weights).shape == (0, 3)


def test_strings_are_read():
    model = program(lambda x: mb.cast(x=x, dtype="int32", name="y"), (2,), plain=True)
    assert constants(model)["y_dtype_0"].item() == "int32"


@pytest.mark.parametrize("labels", [["cat", "dog"], [7, 9]])
def test_labels_are_read_as_a_list(labels):
    config = ct.ClassifierConfig(labels)
    model = program(lambda x: mb.softmax(x=x, axis=-1), (1, 2), classifier_config=config)
    (classify,) = (operation for operation in all_operations(model.spec) if operation.type == "classify")
    found = value_of(classify.inputs["classes"].arguments[0].value, model)
    assert [label.item() for label in found] == labels


def test_constants_in_nested_blocks_are_found():
    weights = numbers(60, 40)

    def function(x):
        flag = mb.greater(x=mb.reduce_sum(x=x), y=0.0)
        return mb.cond(
            pred=flag,
            _true_fn=lambda: mb.matmul(x=x, y=mb.const(val=weights, name="inside")),
            _false_fn=lambda: mb.identity(x=mb.fill(shape=(1, 40), value=0.0)),
        )

    model = program(function, (1, 60), plain=True)
    np.testing.assert_array_equal(constants(model)["inside"], weights)
    assert "inside" in {weight.name for weight in stored_weights(model)}


def test_an_open_dimension_is_minus_one():
    model = program(lambda x: mb.relu(x=x), (1, get_new_symbol(), 4), inputs=[
        ct.TensorType("x", ct.Shape((1, ct.RangeDim(1, 8, default=2), 4)))
    ])  # fmt: skip
    assert shape_of(functions(model.spec)["main"].inputs[0].type) == (1, -1, 4)


def test_only_what_is_known_before_the_run_is_a_constant(some_weights):
    kinds = {operation.type: is_constant(operation) for operation in all_operations(some_weights.spec)}
    assert kinds == dict.fromkeys(kinds, False) | {"const": True}


def test_a_missing_weight_file_is_named(some_weights):
    with pytest.raises(RequantError, match=r"is incomplete: Data/com.apple.CoreML/weights/weight.bin is missing"):
        stored_weights(dataclasses.replace(some_weights, files={}))


def test_a_truncated_weight_file_is_named(some_weights):
    files = {WEIGHT_FILE: some_weights.weight_file[:300]}
    with pytest.raises(RequantError, match="is damaged: the weight file has no whole blob at"):
        stored_weights(dataclasses.replace(some_weights, files=files))


def test_a_blob_that_is_too_short_for_its_shape_is_named(some_weights):
    spec = some_weights.copy_spec()
    for operation in all_operations(spec):
        if operation_name(operation) == "fc_weight_0":
            value = operation.attributes["val"]
            value.type.tensorType.dimensions[0].constant.size = 21
    with pytest.raises(RequantError, match="is damaged"):
        value_of(value, dataclasses.replace(some_weights, spec=spec))
