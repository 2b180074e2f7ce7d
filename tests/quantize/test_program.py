import dataclasses
import json

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.optimize import coreml as cto

from requant.coreml.audit import audit, signal_to_noise
from requant.coreml.description import inputs_of
from requant.coreml.inventory import each_weight
from requant.coreml.kind import Kind
from requant.coreml.model import WEIGHT_FILE, load, package_members
from requant.coreml.program import all_operations, constants, operation_name, stored_weights
from requant.errors import RequantError
from requant.quantize.lookup import evenly_spaced
from requant.quantize.scheme import SCHEMES, Scheme, default_schemes, needed_version
from requant.quantize.selection import Rule, Selection
from requant.quantize.variant import quantize, quantize_with_choices
from requant.runtime import open_model
from tests.building import (
    FLOAT16,
    FLOAT32,
    IOS15,
    IOS16,
    IOS17,
    IOS18,
    as_model,
    constants_of,
    numbers,
    package,
    program,
)
from tests.building import some_weights as some_weights_of
from tests.coreml.joining import programs
from tests.workflow.project import DIGITS

ALL = default_schemes(Kind.ML_PROGRAM, custom_lut=True)
# What else Core ML can store: each form once, and what is joined of them.
FORMS = [
    Scheme.parse(name)
    for name in """
    linear_8_signed linear_8_tensor linear_4_signed linear_4_block2 linear_4_signed_block2
    linear_symmetric_8_unsigned linear_symmetric_8_tensor linear_symmetric_4_unsigned_block2
    linear_lut_4_group2 kmeans_4_group2 kmeans_2_group1 kmeans_3_group2 custom_lut_4_group2
    kmeans_4_vector2 kmeans_4_group2_vector2 kmeans_4_scaled linear_lut_4_scaled kmeans_4_lut8
    kmeans_4_group2_scaled_lut8 kmeans_4_zeros prune_50 prune_2of4 prune_below_0.1
    prune_50_linear_8 prune_50_linear_4_block2 prune_2of4_linear_symmetric_8 prune_50_linear_8_tensor
    prune_50_kmeans_4 prune_50_linear_lut_3 prune_50_kmeans_4_group2 prune_50_kmeans_4_vector2 prune_50_kmeans_4_lut8
    prune_50_kmeans_4_scaled prune_50_kmeans_4_group2_vector2_scaled_lut8 prune_50_custom_lut_4
    """.split()  # noqa: SIM905
]
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


@pytest.fixture(scope="module", params=["float32", "float16", "iOS 18"])
def model(request, some_weights, some_weights_float16, some_weights_ios18):
    return {"float32": some_weights, "float16": some_weights_float16, "iOS 18": some_weights_ios18}[request.param]


@pytest.fixture(scope="session")
def some_weights_ios18():
    return some_weights_of(IOS18, FLOAT32)


@pytest.fixture(scope="module", params=[*ALL, *FORMS], ids=str)
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
    theirs = constants_of(cto.decompress_weights(package(variant, tmp_path)))
    assert set(ours) <= set(theirs)
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name].astype(np.float32), err_msg=name)
        assert theirs[name].dtype == (np.float16 if name.endswith("_to_fp16") else np.float32)


def test_the_runtime_computes_with_the_same_numbers(variant, tmp_path):
    decompressed = as_model(cto.decompress_weights(package(variant, tmp_path)))
    inputs = {"x": numbers(1, 8, 8, 8)}
    expected, found = (open_model(each).predict(inputs) for each in (decompressed, variant))
    assert len(found) == 1
    for name, value in found.items():
        np.testing.assert_array_equal(value, next(iter(expected.values())), err_msg=name)


def test_every_tensor_is_audited_and_none_came_out_other_than_asked(model, scheme, custom):
    variant, choices = quantize_with_choices(model, scheme, custom)
    record = audit(variant, model, str(scheme), {n: (c.requested, c.reason) for n, c in choices.items()})
    assert {tensor["name"] for tensor in record["tensors"]} == set(values_of(model)) == set(choices)
    for tensor in record["tensors"]:
        large = tensor["name"].removesuffix("_to_fp16") in AXES and tensor["requested"] != "untouched"
        assert large or tensor["requested"] == "untouched"
        assert (tensor["reason"] != "") == (tensor["requested"] == "untouched")
        assert (tensor["max_error"] == 0) == (tensor["snr_db"] is None)
        assert large or tensor["max_error"] == 0
    pruning = scheme.pruning
    if pruning and pruning.percent:
        assert all(t["zeros"] >= pruning.percent / 100 for t in record["tensors"] if t["requested"] != "untouched")
    assert record["spec_version"] >= needed_version(scheme, Kind.ML_PROGRAM) or scheme.is_float16


def test_what_is_not_quantized_is_untouched(model, variant, tmp_path):
    (tmp_path / "before").mkdir()
    before = constants_of(package(model, tmp_path / "before"))
    after = constants_of(cto.decompress_weights(package(variant, tmp_path)))
    changed = compressed(variant)
    assert set(before) <= set(after)
    for name, value in before.items():
        if name not in changed:
            assert np.asarray(value).tobytes() == np.asarray(after[name]).tobytes(), name
    spec = variant.copy_spec()
    (function,) = spec.mlProgram.functions.values()
    (original,) = model.spec.mlProgram.functions.values()
    names = {o.outputs[0].name for o in original.block_specializations[original.opset].operations}
    made = function.block_specializations[function.opset].operations
    operations = zip(
        original.block_specializations[original.opset].operations,
        (operation for operation in made if operation.outputs[0].name in names),  # without the parts of chains
        strict=True,
    )
    for old, new in operations:
        if old.type != "const":
            assert new == old
        assert new.outputs == old.outputs


def form_named(scheme):
    """Return how a scheme is stored, in the words of an audit."""
    if scheme.is_float16:
        return "float16"
    words = ["sparse"] if scheme.pruning else []
    words += ["linear"] if scheme.is_linear or scheme.scaled or scheme.lut8 else []
    return " ".join([*words, *(["lookup table"] if scheme.is_table else [])])


def test_large_tensors_are_quantized_and_small_ones_are_not(model, scheme, variant):
    suffix = "_to_fp16" if "conv_bias_0_to_fp16" in values_of(model) else ""
    weights = {weight.name: weight for weight in stored_weights(variant)}
    form = form_named(scheme)
    for name in AXES:
        assert weights[name + suffix].form == form
        if scheme.mode:
            assert weights[name + suffix].bits == scheme.bits
    if form != "float16":
        assert set(compressed(variant)) >= {name + suffix for name in AXES}
    assert weights["small_y_0" + suffix].bits == (16 if suffix else 32)


@pytest.mark.parametrize(("shape", "quantized"), [((64, 32), False), ((3, 683), True), ((2, 3000), True)])
def test_what_has_more_than_2048_elements_is_large(shape, quantized):
    model = program(lambda x: mb.linear(x=x, weight=numbers(*shape), name="fc"), (1, shape[1]))
    if quantized:
        assert set(compressed(quantize(model, Scheme.of("linear", 8)))) == {"fc_weight_0"}
    else:
        with pytest.raises(RequantError, match="2,048 numbers; only tensors with more than 2,048 take a scheme"):
            quantize(model, Scheme.of("linear", 8))
    assert compressed(quantize(model, Scheme.of("linear", 8), selection=Selection(weight_threshold=2000)))


def test_16_bits_are_the_float16_of_each_number(some_weights):
    variant = quantize(some_weights, Scheme.of("linear", 16))
    assert set(compressed(variant)) == set(AXES)
    for name, values in values_of(variant).items():
        original = values_of(some_weights)[name]
        np.testing.assert_array_equal(
            values, original.astype(np.float16).astype(np.float32) if name in AXES else original
        )


def test_16_bits_of_a_float16_program_change_nothing(some_weights_float16):
    variant = quantize(some_weights_float16, Scheme.of("linear", 16))
    assert variant.weight_file == some_weights_float16.weight_file
    assert variant.spec.mlProgram == some_weights_float16.spec.mlProgram


def test_a_tensor_beyond_the_range_of_float16_stays_float32():
    weights = numbers(60, 50)
    weights[3, 3] = -7e4

    def function(x):
        x = mb.linear(x=x, weight=weights, name="large")
        return mb.linear(x=x, weight=numbers(50, 60), name="fine")

    variant = quantize(program(function, (1, 50)), Scheme.of("linear", 16))
    forms = {weight.name: weight.form for weight in stored_weights(variant)}
    assert (forms["large_weight_0"], forms["fine_weight_0"]) == ("float32", "float16")


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("name", AXES)
def test_scales_are_per_output_channel(name, bits, some_weights):
    variant = quantize(some_weights, Scheme.of("linear", bits))
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

    variant = quantize(program(function, (60, 7)), Scheme.of("linear", 8))
    axes = {name: int(constants(o, variant, {})["axis"]) for name, o in compressed(variant).items()}
    assert axes == {"left_x_0": 0, "turned_x_0": 1}


@pytest.mark.parametrize("bits", [8, 4])
def test_small_numbers_in_float16_are_off_by_one_step_at_most(bits):
    # The scales are so small that float16 has few of them: codes have to be made for the scale as it is stored.
    weights = numbers(40, 60, scale=1e-4)
    model = program(lambda x: mb.linear(x=x, weight=weights, name="fc"), (1, 60), precision=FLOAT16)
    variant = quantize(model, Scheme.of("linear", bits))
    (before,) = (v for n, v in values_of(model).items() if "weight" in n)
    (after,) = (v for n, v in values_of(variant).items() if "weight" in n)
    parts = constants(next(iter(compressed(variant).values())), variant, {})
    steps = parts["scale"].astype(np.float64).reshape(-1, 1)
    assert (np.abs(after - before) <= steps * 1.01).all()


@pytest.mark.parametrize("bits", SCHEMES[Kind.ML_PROGRAM]["linear_lut"])
def test_tables_and_indices_are_those_of_the_arithmetic(bits, some_weights):
    variant = quantize(some_weights, Scheme.of("linear_lut", bits))
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
    variant = quantize(some_weights_of(target, FLOAT32), Scheme.parse(scheme))
    assert variant.spec.specificationVersion == version
    (function,) = variant.spec.mlProgram.functions.values()
    assert function.opset == {6: "CoreML5", 7: "CoreML6", 8: "CoreML7", 9: "CoreML8"}[version]
    assert list(function.block_specializations) == [function.opset]


def test_a_program_that_stays_as_it_is_keeps_its_operator_set(some_weights_float16):
    variant = quantize(some_weights_float16, Scheme.of("kmeans", 8))
    assert variant.spec.specificationVersion == 7
    variant = quantize(some_weights_float16, Scheme.of("linear", 16))
    assert variant.spec.specificationVersion == 6


def with_an_operation_that_changes(target):
    def function(x):
        x = mb.linear(x=x, weight=numbers(60, 50), name="fc")
        return mb.crop_resize(x=mb.reshape(x=x, shape=(1, 1, 6, 10)), roi=numbers(1, 1, 4, 1, 1), name="crop")

    return program(function, (1, 50), target=target)


def test_an_operation_that_changes_is_rewritten():
    model = with_an_operation_that_changes(IOS15)
    variant = quantize(model, Scheme.of("linear", 4))
    assert variant.spec.specificationVersion == 9
    x = numbers(1, 50)
    assert list(open_model(variant).predict({"x": x})) == list(open_model(model).predict({"x": x}))


def test_an_operation_that_can_not_be_raised_is_refused_by_name():
    def function(x):
        x = mb.linear(x=x, weight=numbers(60, 50), name="fc")
        boxes = mb.non_zero(x=mb.reshape(x=x, shape=(60,)), name="chosen")
        roi = mb.reshape(x=mb.cast(x=mb.tile(x=boxes, reps=(1, 4)), dtype="fp32"), shape=(-1, 1, 4, 1, 1))
        return mb.crop_resize(x=mb.reshape(x=x, shape=(1, 1, 6, 10)), roi=roi, name="crop")

    model = program(function, (1, 50), target=IOS15)
    with pytest.raises(RequantError, match=r"crop.*crop_resize.*deployment target, or use a scheme that runs"):
        quantize(model, Scheme.of("linear", 4))


def test_it_is_not_refused_where_the_operator_set_is_older():
    variant = quantize(with_an_operation_that_changes(IOS15), Scheme.of("kmeans", 4))
    assert variant.spec.specificationVersion == 7


def test_weights_in_nested_blocks_are_quantized():
    def function(x):
        return mb.cond(
            pred=mb.greater(x=mb.reduce_sum(x=x), y=0.0),
            _true_fn=lambda: mb.matmul(x=x, y=mb.const(val=numbers(40, 60), name="inside"), transpose_y=True),
            _false_fn=lambda: mb.identity(x=mb.fill(shape=(1, 40), value=0.0)),
        )

    model = program(function, (1, 60), plain=True)
    assert set(compressed(quantize(model, Scheme.of("kmeans", 4)))) == {"inside"}
    variant = quantize(model, Scheme.of("linear", 8))
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
    variant = quantize(some_weights, Scheme.of("kmeans", 4))
    used = sum(weight.stored_bytes for weight in stored_weights(variant))
    blobs = int.from_bytes(variant.weight_file[:4], "little")
    assert blobs == 2 * len(AXES) + 3  # indices and a table each, and what is not quantized
    assert used <= len(variant.weight_file) <= used + 64 + blobs * 127


def test_other_files_of_a_package_are_kept_and_listed():
    model = load(DIGITS)
    described = dataclasses.replace(model, files={**model.files, "FeatureDescriptions.json": b"{}"})
    variant = quantize(described, Scheme.of("kmeans", 4))
    assert variant.files["FeatureDescriptions.json"] == b"{}"
    manifest = json.loads(package_members(variant)["Manifest.json"])
    listed = {item["path"] for item in manifest["itemInfoEntries"].values()}
    assert "com.apple.CoreML/FeatureDescriptions.json" in listed


def test_functions_that_share_weights_still_share_them():
    model = load(DIGITS)
    spec = model.copy_spec()
    spec.mlProgram.functions["again"].CopyFrom(spec.mlProgram.functions["main"])
    twice = quantize(dataclasses.replace(model, spec=spec), Scheme.of("kmeans", 4))
    assert twice.weight_file == quantize(model, Scheme.of("kmeans", 4)).weight_file


def two_matrices(target=IOS15, precision=FLOAT32, **names):
    """Return a program with two matrices of 64 x 96 and 30 x 64 numbers."""

    def function(x):
        x = mb.linear(x=x, weight=numbers(64, 96), name="first")
        return mb.linear(x=x, weight=numbers(100, 64, seed=1), name="second")

    return program(function, (1, 96), target=target, precision=precision, **names)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("linear_8_block32", {"first_weight_0": (64, 3), "second_weight_0": (100, 2)}),
        ("linear_symmetric_4_block16", {"first_weight_0": (64, 6), "second_weight_0": (100, 4)}),
        ("linear_4", {"first_weight_0": (64, 1), "second_weight_0": (100, 1)}),
        ("linear_4_tensor", {"first_weight_0": (1, 1), "second_weight_0": (1, 1)}),
    ],
)
def test_each_block_has_a_scale(name, shapes):
    variant = quantize(two_matrices(), Scheme.parse(name))
    parts = {n: constants(o, variant, {}) for n, o in compressed(variant).items()}
    assert {n: found["scale"].shape for n, found in parts.items()} == shapes
    assert all(("offset" in found) == (Scheme.parse(name).mode == "linear") for found in parts.values())


@pytest.mark.parametrize(
    ("name", "tables"),
    [
        ("kmeans_4_group4", {"first_weight_0": (16, 1, 16, 1), "second_weight_0": (25, 1, 16, 1)}),
        ("kmeans_4_vector4", {"first_weight_0": (1, 1, 16, 4), "second_weight_0": (1, 1, 16, 4)}),
        ("kmeans_2_group4_vector2", {"first_weight_0": (16, 1, 4, 2), "second_weight_0": (25, 1, 4, 2)}),
        ("kmeans_3", {"first_weight_0": (1, 1, 8, 1), "second_weight_0": (1, 1, 8, 1)}),
    ],
)
def test_each_group_has_a_table(name, tables):
    variant = quantize(two_matrices(), Scheme.parse(name))
    assert {n: constants(o, variant, {})["lut"].shape for n, o in compressed(variant).items()} == tables


def test_what_does_not_divide_is_reported_and_the_rest_is_stored():
    model = two_matrices()
    variant, choices = quantize_with_choices(model, Scheme.parse("kmeans_4_group16"))
    assert set(compressed(variant)) == {"first_weight_0"}
    assert choices["second_weight_0"].scheme is None
    assert choices["second_weight_0"].reason == (
        "kmeans_4_group16 can't be stored: its 100 output channels can't be divided into groups of 16"
    )
    _, choices = quantize_with_choices(model, Scheme.parse("linear_4_block48"))
    assert "its 64 input channels can't be divided into blocks of 48" in choices["second_weight_0"].reason
    _, choices = quantize_with_choices(model, Scheme.parse("prune_2of4"))
    assert choices["second_weight_0"].reason == ""


def test_what_can_not_be_stored_becomes_float16_or_is_refused_as_configured():
    scheme = Scheme.parse("kmeans_4_group16")
    variant = quantize(two_matrices(), scheme, selection=Selection(unstorable="float16"))
    forms = {w.name: w.form for w in stored_weights(variant)}
    assert (forms["first_weight_0"], forms["second_weight_0"]) == ("lookup table", "float16")
    with pytest.raises(RequantError, match=r"the tensor second_weight_0: kmeans_4_group16 can't be stored: its 100"):
        quantize(two_matrices(), scheme, selection=Selection(unstorable="refuse"))


def test_a_variant_that_no_tensor_takes_is_an_error_that_says_why():
    with pytest.raises(RequantError) as caught:
        quantize(two_matrices(), Scheme.parse("kmeans_4_group7"))
    message = str(caught.value)
    assert "no tensor of" in message
    assert "takes kmeans_4_group7; there would be nothing to ship" in message
    assert "first_weight_0: kmeans_4_group7 can't be stored: its 64 output channels" in message


def test_rules_give_tensors_other_schemes():
    rules = (Rule("8", name="second*"), Rule("untouched", type="conv"))
    model = two_matrices()
    with pytest.raises(RequantError, match=r"a rule of tensors \(name: \*, type: conv, store: untouched\) fits no"):
        quantize(model, Scheme.parse("kmeans_4"), selection=Selection(rules))
    variant, choices = quantize_with_choices(model, Scheme.parse("kmeans_4"), selection=Selection(rules[:1]))
    bits = {w.name: w.bits for w in stored_weights(variant)}
    assert (bits["first_weight_0"], bits["second_weight_0"]) == (4, 8)
    assert choices["second_weight_0"].requested == "kmeans_8"
    assert choices["second_weight_0"].reason == "rule 1 of tensors: 8"
    variant = quantize(model, Scheme.parse("linear_8"), selection=Selection((Rule("linear_4_block32", type="linear"),)))
    assert variant.spec.specificationVersion == 9


def test_convolutions_with_groups_keep_vectors_within_a_group():
    def function(x):
        return mb.conv(x=x, weight=numbers(36, 32, 3, 3), groups=2, pad_type="same", name="conv")

    model = program(function, (1, 64, 8, 8))
    with pytest.raises(RequantError, match="its 18 output channels can't be divided into vectors of 4"):
        quantize(model, Scheme.parse("kmeans_4_vector4"))
    assert quantize(model, Scheme.parse("kmeans_4_vector2"))


@pytest.mark.parametrize("precision", [FLOAT32, FLOAT16])
@pytest.mark.parametrize(
    ("count", "bits", "scheme"), [(2, 1, 8), (13, 4, 4), (40, 6, 8), (7, 3, 3), (7, 4, 8), (250, 8, 8)]
)
def test_distinct_numbers_are_stored_without_loss_in_as_few_bits_as_hold_them(count, bits, scheme, precision):
    values = numbers(count)[np.random.default_rng(0).integers(0, count, (60, 50))]
    model = program(lambda x: mb.linear(x=x, weight=values, name="fc"), (1, 50), precision=precision)
    variant = quantize(model, Scheme.of("unique", scheme))
    (before,) = (w for w in stored_weights(model) if w.values.ndim == 2)
    (after,) = (w for w in stored_weights(variant) if w.values.ndim == 2)
    np.testing.assert_array_equal(after.values, before.values)
    assert (after.form, after.bits) == ("lookup table", bits)


def test_too_many_distinct_numbers_are_reported():
    with pytest.raises(RequantError, match=r"it has [\d,]+ distinct numbers, a table of 8 bits holds 256"):
        quantize(two_matrices(), Scheme.of("unique", 8))
    with pytest.raises(RequantError, match=r"it has [\d,]+ distinct vectors, a table of 4 bits holds 16"):
        quantize(two_matrices(), Scheme.parse("unique_4_vector2"))


def test_distinct_vectors_are_stored_without_loss():
    pairs = numbers(16, 2)[np.random.default_rng(0).integers(0, 16, (32, 50))]
    weights = np.ascontiguousarray(pairs.transpose(0, 2, 1).reshape(64, 50))
    model = program(lambda x: mb.linear(x=x, weight=weights, name="fc"), (1, 50))
    variant = quantize(model, Scheme.parse("unique_4_vector2"))
    np.testing.assert_array_equal(values_of(variant)["fc_weight_0"], weights)


def test_zeros_stay_zeros_where_the_scheme_says_so():
    weights = numbers(60, 50)
    weights[np.abs(weights) < 0.02] = 0
    model = program(lambda x: mb.linear(x=x, weight=weights, name="fc"), (1, 50))
    for name, kept in (("kmeans_4_zeros", True), ("kmeans_4", False), ("prune_10_kmeans_4", True)):
        found = values_of(quantize(model, Scheme.parse(name)))["fc_weight_0"]
        assert (found[weights == 0] == 0).all() == kept


def test_what_a_constant_cast_stores_in_float16_is_quantized_too():
    half = quantize(two_matrices(), Scheme.of("linear", 16))
    variant = quantize(half, Scheme.parse("kmeans_4_group4"))
    assert {w.name: w.form for w in stored_weights(variant)}["first_weight_0"] == "lookup table"


def test_parts_of_a_weight_have_names_of_their_own():
    def function(x):
        x = mb.linear(x=x, weight=numbers(64, 96), name="fc")
        return mb.relu(x=x, name="fc_weight_0_nonzero")

    model = program(function, (1, 96))
    variant = quantize(model, Scheme.parse("prune_50_kmeans_4"))
    names = [output.name for o in all_operations(variant.spec) for output in o.outputs]
    assert len(set(names)) == len(names)
    open_model(variant).predict({"x": numbers(1, 96)})


def test_a_pipeline_of_programs_is_quantized_stage_by_stage(tmp_path):
    pipeline = programs(tmp_path)
    names = {weight.name for weight in each_weight(pipeline)}
    assert len(names) == 2
    assert len(pipeline.files) == 2
    variant, choices = quantize_with_choices(
        pipeline, Scheme.parse("kmeans_4_group2"), selection=Selection(weight_threshold=0)
    )
    assert {name for name, choice in choices.items() if choice.scheme} == names
    assert {w.form for w in each_weight(variant)} == {"lookup table"}
    assert [stage.specificationVersion for stage in variant.spec.pipeline.models] == [9, 9]
    assert variant.spec.specificationVersion == 9
    assert set(variant.files) == {WEIGHT_FILE}
    inputs = {feature.name: numbers(*feature.shape) for feature in inputs_of(pipeline)}
    expected, found = (open_model(each).predict(inputs) for each in (pipeline, variant))
    for name, value in expected.items():
        assert 10 < signal_to_noise(value, found[name]) < 60
