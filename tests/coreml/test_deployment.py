import coremltools as ct
import pytest
from coremltools.models.neural_network import quantization_utils
from coremltools.optimize import coreml as cto

from requant.coreml.deployment import oldest_system
from requant.coreml.systems import OPSETS, SYSTEMS, opset_of, system_of
from tests.building import (
    IOS15,
    IOS16,
    IOS17,
    IOS18,
    add_inner_product,
    as_model,
    network,
    numbers,
    package,
    some_weights,
)
from tests.coreml.joining import joined, scaler

# From Apple's Model.proto: the versions and the systems that brought them.
APPLE = {
    1: ("11", "10.13"), 2: ("11.2", "10.13.2"), 3: ("12", "10.14"), 4: ("13", "10.15"), 5: ("14", "11"),
    6: ("15", "12"), 7: ("16", "13"), 8: ("17", "14"), 9: ("18", "15"), 10: ("26", "26"),
}  # fmt: skip


def inner_product():
    return network(lambda b: add_inner_product(b, numbers(4, 5), numbers(4)), {"x": (5,)})


def test_the_table_of_systems_is_apples():
    assert {number: (system.ios, system.macos) for number, system in SYSTEMS.items()} == APPLE


@pytest.mark.parametrize(
    ("target", "name"), [(IOS15, "CoreML5"), (IOS16, "CoreML6"), (IOS17, "CoreML7"), (IOS18, "CoreML8")]
)
def test_operator_sets_are_those_that_coremltools_names(target, name):
    model = some_weights(target)
    (function,) = model.spec.mlProgram.functions.values()
    assert function.opset == name == opset_of(model.spec.specificationVersion)
    assert OPSETS[name] == target.value == model.spec.specificationVersion
    assert oldest_system(model).ios == target.name.removeprefix("iOS")


@pytest.mark.parametrize(("bits", "ios"), [(None, "11"), (16, "11.2"), (8, "12"), (1, "12")])
def test_a_network_needs_what_its_weights_need(bits, ios):
    model = inner_product()
    if bits:
        mlmodel = ct.models.MLModel(model.spec, skip_model_load=True)
        model = type(model)(quantization_utils.quantize_weights(mlmodel, bits, "linear").get_spec())
    model.spec.specificationVersion = 1  # what it declares is too low
    assert oldest_system(model).ios == ios


def test_signed_weights_of_dynamic_layers_need_ios_14():
    model = network(lambda b: add_inner_product(b, numbers(4, 5)), {"x": (5,)}, exact=True)
    quantization_utils.activate_int8_int8_matrix_multiplications(model.spec)
    model.spec.specificationVersion = 1
    assert oldest_system(model).ios == "14"


@pytest.mark.parametrize(("versions", "ios"), [((1, 1), "11"), ((4, 1), "13"), ((1, 5), "14")])
def test_a_model_with_nothing_to_quantize_needs_what_it_and_those_in_it_declare(versions, ios):
    model = joined([scaler()])
    model.spec.specificationVersion, model.spec.pipeline.models[0].specificationVersion = versions
    assert oldest_system(model).ios == ios


def test_what_a_model_declares_is_the_least():
    model = inner_product()
    model.spec.specificationVersion = 5
    assert oldest_system(model).ios == "14"


def test_a_compressed_program_needs_what_its_constants_need(some_weights, tmp_path):
    config = cto.OptimizationConfig(global_config=cto.OpLinearQuantizerConfig(mode="linear"))
    model = as_model(cto.linear_quantize_weights(package(some_weights, tmp_path), config=config))
    assert (oldest_system(some_weights).ios, oldest_system(model).ios) == ("15", "16")
    model.spec.specificationVersion = 6
    model.spec.mlProgram.functions["main"].opset = "CoreML5"
    block = model.spec.mlProgram.functions["main"].block_specializations
    block["CoreML5"].CopyFrom(block["CoreML6"])
    assert oldest_system(model).ios == "16"


def test_blocks_of_scales_need_ios_18(tmp_path):
    config = cto.OptimizationConfig(global_config=cto.OpLinearQuantizerConfig(dtype="int4", granularity="per_block"))
    model = as_model(cto.linear_quantize_weights(package(some_weights(IOS18), tmp_path), config=config))
    model.spec.specificationVersion = 6
    assert oldest_system(model).ios == "18"


def test_an_unknown_version_counts_as_the_newest():
    assert system_of(99) == SYSTEMS[10]
    assert system_of(3) < system_of(9)
