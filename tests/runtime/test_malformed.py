"""Models that are damaged or contradict themselves are refused by the name of what is wrong, and of the file."""

import dataclasses

import pytest

from requant.coreml.model import WEIGHT_FILE
from requant.errors import RequantError
from requant.runtime import open_model
from tests.building import add_convolution, mb, network, numbers, program


@pytest.fixture(scope="module")
def convolution():
    weights = numbers(16, 3, 3, 3)
    return program(lambda x: mb.conv(x=x, weight=weights, name="edges"), (1, 3, 8, 8))


def changed(model, change):
    """Return a model whose operation `conv` is changed."""
    spec = model.copy_spec()
    (function,) = spec.mlProgram.functions.values()
    operations = function.block_specializations[function.opset].operations
    change(next(operation for operation in operations if operation.type == "conv"))
    return dataclasses.replace(model, spec=spec)


def refusal(model):
    with pytest.raises(RequantError) as caught:
        open_model(model, "onnxruntime")
    assert str(model.path) in str(caught.value)
    return str(caught.value)


def test_a_weight_file_that_is_missing(convolution):
    message = refusal(dataclasses.replace(convolution, files={}))
    assert "weights/weight.bin is missing" in message
    assert "edges_weight_0" in message


@pytest.mark.parametrize("length", [0, 100, 500])
def test_a_weight_file_that_is_too_short(convolution, length):
    message = refusal(dataclasses.replace(convolution, files={WEIGHT_FILE: convolution.weight_file[:length]}))
    assert "is damaged" in message
    assert "edges_weight_0" in message


def test_an_operation_that_reads_what_nothing_makes(convolution):
    def change(operation):
        operation.inputs["x"].arguments[0].name = "nothing"

    assert "the operation 'edges' of type conv can't be run: it reads 'nothing'" in refusal(
        changed(convolution, change)
    )


def test_an_operation_without_an_input(convolution):
    def change(operation):
        del operation.inputs["x"]

    message = refusal(changed(convolution, change))
    assert "the operation 'edges' of type conv can't be run: its parts do not fit" in message
    assert "'x'" in message


def test_an_operation_whose_shapes_contradict_each_other(convolution):
    def change(operation):
        operation.inputs["weight"].arguments[0].name = operation.inputs["strides"].arguments[0].name

    assert "the operation 'edges' of type conv can't be run" in refusal(changed(convolution, change))


def test_a_layer_without_inputs_and_one_with_too_many_results():
    model = network(lambda n: add_convolution(n, numbers(4, 3, 3, 3)))
    spec = model.copy_spec()
    del spec.neuralNetwork.layers[0].input[:]
    message = refusal(dataclasses.replace(model, spec=spec))
    assert "the layer 'conv' of type convolution can't be run: its parts do not fit" in message
    spec = model.copy_spec()
    spec.neuralNetwork.layers[0].output.append("more")
    assert "'conv' of type convolution makes 1 arrays, but names 2" in refusal(dataclasses.replace(model, spec=spec))


def test_a_layer_whose_weights_are_too_few():
    model = network(lambda n: add_convolution(n, numbers(4, 3, 3, 3)))
    spec = model.copy_spec()
    del spec.neuralNetwork.layers[0].convolution.weights.floatValue[50:]
    message = refusal(dataclasses.replace(model, spec=spec))
    assert "the layer 'conv' of type convolution can't be run: the weights conv.weights are damaged" in message
