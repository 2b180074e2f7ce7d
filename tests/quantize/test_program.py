import dataclasses
import itertools
import json

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry
from coremltools.optimize import coreml as cto

from requant.coreml.kind import Kind
from requant.coreml.model import load, package_members
from requant.coreml.program import all_operations, constants, operation_name, stored_weights
from requant.errors import RequantError
from requant.quantize.lookup import evenly_spaced
from requant.quantize.program import CHANGED_OPERATIONS
from requant.quantize.scheme import SCHEMES, Scheme
from requant.quantize.variant import quantize
from tests.building import (
    FLOAT16,
    FLOAT32,
    IOS15,
    IOS16,
    IOS17,
    IOS18,
    constants_of,
    numbers,
    package,
    program,
    some_weights,
)
from tests.workflow.project import DIGITS

ALL = [Scheme(mode, bits) for mode, widths in SCHEMES[Kind.ML_PROGRAM].items() for bits in widths]
# The tensors of `some_weights` that are large enough, and the axis of their output channels.
AXES = {"conv_weight_0": 0, "up_weight_0": 1, "fc_weight_0": 0, "last_y_0": 1, "transposed_y_0": 0}


@pytest.fixture(scope="module")
def custom(tmp_path_factory):
    path = tmp_path_factory.mktemp("luts") / "luts.py"
    path.write_text(
        "import numpy as np\n"
        "def mine(bits, weights):\n"
        "    table = np.linspace(-1.5, 1.5, 1 << bits)\n"
        "    return table, np.abs(weights[..., None] - table).argmin(-1)\n"
    )
    return f"{path}:mine"


@pytest.fixture(scope="module", params=["float32", "float16"])
def model(request, some_weights, some_weights_float16):
    return some_weights if request.param == "float32" else some_weights_float16


@pytest.fixture(scope="module", params=ALL, ids=str)
def scheme(request):
    return request.param


@pytest.fixture(scope="module")
def variant(model, scheme, custom):
    return quantize(model, scheme, custom)


def values_of(model):
    return {weight.name: weight.values for weight in stored_weights(model)}


def compressed(model):
    return {operation_name(o): o for o in all_operations(model.spec) if o.type.startswith("constexpr_")}


def test_coremltools_decompresses_every_variant_to_the_same_numbers(variant, tmp_path):
    ours = values_of(variant)
    mlmodel = package(variant, tmp_path)
    for theirs in (constants_of(mlmodel), constants_of(cto.decompress_weights(mlmodel))):
        assert set(ours) <= set(theirs)
        for name, values in ours.items():
            np.testing.assert_array_equal(values, theirs[name].astype(np.float32), err_msg=name)
            assert theirs[name].dtype == (np.float16 if name.endswith("_to_fp16") else np.float32)


def test_what_is_not_quantized_is_untouched(model, variant, tmp_path):
    (tmp_path / "before").mkdir()
    before = constants_of(package(model, tmp_path / "before"))
    after = constants_of(package(variant, tmp_path))
    changed = compressed(variant)
    assert set(before) <= set(after)
    for name, value in before.items():
        if name not in changed:
            assert np.asarray(value).tobytes() == np.asarray(after[name]).tobytes(), name
    spec = variant.copy_spec()
    (function,) = spec.mlProgram.functions.values()
    (original,) = model.spec.mlProgram.functions.values()
    operations = zip(
        original.block_specializations[original.opset].operations,
        function.block_specializations[function.opset].operations,
        strict=True,
    )
    for old, new in operations:
        if old.type != "const":
            assert new == old
        assert new.outputs == old.outputs


def test_large_tensors_are_quantized_and_small_ones_are_not(model, scheme, variant):
    suffix = "_to_fp16" if "conv_bias_0_to_fp16" in values_of(model) else ""
    weights = {weight.name: weight for weight in stored_weights(variant)}
    form = "float16" if scheme.bits == 16 else "linear" if scheme.mode == "linear" else "lookup table"
    for name in AXES:
        assert (weights[name + suffix].form, weights[name + suffix].bits) == (form, scheme.bits)
    if form != "float16":
        assert set(compressed(variant)) == {name + suffix for name in AXES}
    assert weights["small_y_0" + suffix].bits == (16 if suffix else 32)


@pytest.mark.parametrize(("shape", "quantized"), [((64, 32), False), ((3, 683), True), ((2, 3000), True)])
def test_what_has_more_than_2048_elements_is_large(shape, quantized):
    model = program(lambda x: mb.linear(x=x, weight=numbers(*shape), name="fc"), (1, shape[1]))
    assert bool(compressed(quantize(model, Scheme("linear", 8)))) == quantized


def test_16_bits_are_the_float16_of_each_number(some_weights):
    variant = quantize(some_weights, Scheme("linear", 16))
    assert set(compressed(variant)) == set(AXES)
    for name, values in values_of(variant).items():
        original = values_of(some_weights)[name]
        np.testing.assert_array_equal(
            values, original.astype(np.float16).astype(np.float32) if name in AXES else original
        )


def test_16_bits_of_a_float16_program_change_nothing(some_weights_float16):
    variant = quantize(some_weights_float16, Scheme("linear", 16))
    assert variant.weight_file == some_weights_float16.weight_file
    assert variant.spec.mlProgram == some_weights_float16.spec.mlProgram


def test_a_tensor_beyond_the_range_of_float16_stays_float32():
    weights = numbers(60, 50)
    weights[3, 3] = -7e4

    def function(x):
        x = mb.linear(x=x, weight=weights, name="large")
        return mb.linear(x=x, weight=numbers(50, 60), name="fine")

    variant = quantize(program(function, (1, 50)), Scheme("linear", 16))
    forms = {weight.name: weight.form for weight in stored_weights(variant)}
    assert (forms["large_weight_0"], forms["fine_weight_0"]) == ("float32", "float16")


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("name", AXES)
def test_scales_are_per_output_channel(name, bits, some_weights):
    variant = quantize(some_weights, Scheme("linear", bits))
    operation = compressed(variant)[name]
    parts = constants(operation, variant, {})
    weights = values_of(some_weights)[name]
    axis = AXES[name]
    if bits == 8:
        assert operation.type == "constexpr_affine_dequantize"
        assert int(parts["axis"]) == axis
        assert parts["scale"].shape == parts["zero_point"].shape == (weights.shape[axis],)
    else:
        assert operation.type == "constexpr_blockwise_shift_scale"
        shape = tuple(size if i == axis else 1 for i, size in enumerate(weights.shape))
        assert parts["scale"].shape == parts["offset"].shape == shape
    others = tuple(i for i in range(weights.ndim) if i != axis)
    steps = (np.maximum(weights.max(others), 0) - np.minimum(weights.min(others), 0)) / ((1 << bits) - 1)
    np.testing.assert_allclose(parts["scale"].reshape(-1), steps, rtol=1e-6)


def test_a_constant_on_the_left_of_a_matrix_product_has_its_channels_in_rows():
    def function(x):
        left = mb.matmul(x=numbers(40, 60), y=x, name="left")
        return mb.matmul(x=numbers(40, 60, seed=1), y=left, transpose_x=True, name="turned")

    variant = quantize(program(function, (60, 7)), Scheme("linear", 8))
    axes = {name: int(constants(o, variant, {})["axis"]) for name, o in compressed(variant).items()}
    assert axes == {"left_x_0": 0, "turned_x_0": 1}


@pytest.mark.parametrize("bits", [8, 4])
def test_small_numbers_in_float16_are_off_by_one_step_at_most(bits):
    # The scales are so small that float16 has few of them: codes have to be made for the scale as it is stored.
    weights = numbers(40, 60, scale=1e-4)
    model = program(lambda x: mb.linear(x=x, weight=weights, name="fc"), (1, 60), precision=FLOAT16)
    variant = quantize(model, Scheme("linear", bits))
    (before,) = (v for n, v in values_of(model).items() if "weight" in n)
    (after,) = (v for n, v in values_of(variant).items() if "weight" in n)
    parts = constants(next(iter(compressed(variant).values())), variant, {})
    steps = parts["scale"].astype(np.float64).reshape(-1, 1)
    assert (np.abs(after - before) <= steps * 1.01).all()


@pytest.mark.parametrize("bits", SCHEMES[Kind.ML_PROGRAM]["linear_lut"])
def test_tables_and_indices_are_those_of_the_arithmetic(bits, some_weights):
    variant = quantize(some_weights, Scheme("linear_lut", bits))
    expected = evenly_spaced(bits, values_of(some_weights)["fc_weight_0"])
    np.testing.assert_array_equal(values_of(variant)["fc_weight_0"], expected.table[expected.indices])


@pytest.mark.parametrize(
    ("scheme", "target", "version"),
    [
        ("linear_16", IOS15, 7),
        ("linear_8", IOS15, 7),
        ("kmeans_4", IOS15, 7),
        ("kmeans_1", IOS16, 7),
        ("linear_8", IOS17, 8),
        ("linear_8", IOS18, 9),
        ("linear_4", IOS15, 9),
        ("linear_4", IOS18, 9),
        ("kmeans_3", IOS15, 9),
        ("linear_lut_3", IOS17, 9),
    ],
)
def test_the_operator_set_is_raised_as_needed_and_only_then(scheme, target, version):
    variant = quantize(some_weights(target, FLOAT32), Scheme.parse(scheme))
    assert variant.spec.specificationVersion == version
    (function,) = variant.spec.mlProgram.functions.values()
    assert function.opset == {6: "CoreML5", 7: "CoreML6", 8: "CoreML7", 9: "CoreML8"}[version]
    assert list(function.block_specializations) == [function.opset]


def test_a_program_that_stays_as_it_is_keeps_its_operator_set(some_weights_float16):
    variant = quantize(some_weights_float16, Scheme("kmeans", 8))
    assert variant.spec.specificationVersion == 7
    variant = quantize(some_weights_float16, Scheme("linear", 16))
    assert variant.spec.specificationVersion == 6


def test_operations_that_lost_a_parameter_are_those_of_coremltools():
    lost = {}
    for name, versions in SSAOpRegistry.core_ops.items():
        targets = sorted(target for target in versions if target >= IOS15)
        for old, new in itertools.pairwise(targets):
            inputs = [set(versions[target].input_spec.input_types) for target in (old, new)]
            if inputs[0] - inputs[1] and not name.startswith("constexpr_"):
                lost[name] = new.value
    assert lost == CHANGED_OPERATIONS


def with_an_operation_that_changes(target):
    def function(x):
        x = mb.linear(x=x, weight=numbers(60, 50), name="fc")
        return mb.crop_resize(x=mb.reshape(x=x, shape=(1, 1, 6, 10)), roi=numbers(1, 1, 4, 1, 1), name="crop")

    return program(function, (1, 50), target=target)


def test_an_operation_with_another_meaning_in_the_newer_operator_set_is_refused():
    with pytest.raises(RequantError, match=r"the operation crop of type crop_resize has another meaning .* CoreML7"):
        quantize(with_an_operation_that_changes(IOS15), Scheme("linear", 4))


def test_it_is_not_refused_where_the_operator_set_is_older():
    variant = quantize(with_an_operation_that_changes(IOS15), Scheme("kmeans", 4))
    assert variant.spec.specificationVersion == 7


def test_weights_in_nested_blocks_are_quantized():
    def function(x):
        return mb.cond(
            pred=mb.greater(x=mb.reduce_sum(x=x), y=0.0),
            _true_fn=lambda: mb.matmul(x=x, y=mb.const(val=numbers(40, 60), name="inside"), transpose_y=True),
            _false_fn=lambda: mb.identity(x=mb.fill(shape=(1, 40), value=0.0)),
        )

    model = program(function, (1, 60), plain=True)
    assert set(compressed(quantize(model, Scheme("kmeans", 4)))) == {"inside"}
    variant = quantize(model, Scheme("linear", 8))
    assert int(constants(compressed(variant)["inside"], variant, {})["axis"]) == 0


@pytest.mark.parametrize("scheme", ["linear_16", "linear_8", "linear_4", "kmeans_4"])
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(scheme, number):
    weights = numbers(60, 50)
    weights[2, 2] = number
    model = program(lambda x: mb.linear(x=x, weight=weights, name="fc"), (1, 50))
    with pytest.raises(RequantError, match="the weights fc_weight_0 hold numbers that are not finite"):
        quantize(model, Scheme.parse(scheme))


def test_the_weight_file_holds_just_what_the_program_names(some_weights):
    variant = quantize(some_weights, Scheme("kmeans", 4))
    used = sum(weight.stored_bytes for weight in stored_weights(variant))
    blobs = int.from_bytes(variant.weight_file[:4], "little")
    assert blobs == 2 * len(AXES) + 3  # indices and a table each, and what is not quantized
    assert used <= len(variant.weight_file) <= used + 64 + blobs * 127


def test_other_files_of_a_package_are_kept_and_listed():
    model = load(DIGITS)
    described = dataclasses.replace(model, files={**model.files, "FeatureDescriptions.json": b"{}"})
    variant = quantize(described, Scheme("kmeans", 4))
    assert variant.files["FeatureDescriptions.json"] == b"{}"
    manifest = json.loads(package_members(variant)["Manifest.json"])
    listed = {item["path"] for item in manifest["itemInfoEntries"].values()}
    assert "com.apple.CoreML/FeatureDescriptions.json" in listed


def test_functions_that_share_weights_still_share_them():
    model = load(DIGITS)
    spec = model.copy_spec()
    spec.mlProgram.functions["again"].CopyFrom(spec.mlProgram.functions["main"])
    twice = quantize(dataclasses.replace(model, spec=spec), Scheme("kmeans", 4))
    assert twice.weight_file == quantize(model, Scheme("kmeans", 4)).weight_file
