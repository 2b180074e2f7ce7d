import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import types
from coremltools.converters.mil.mil.ops.defs.iOS16 import constexpr_ops as ios16
from coremltools.converters.mil.mil.ops.defs.iOS18 import compression as ios18
from coremltools.optimize import coreml as cto

from requant.coreml.compression import decompress
from requant.coreml.inventory import require_float
from requant.coreml.program import all_operations, block_of, constant_values, functions, stored_weights
from requant.errors import RequantError
from tests.building import (
    FLOAT16,
    IOS16,
    IOS18,
    as_model,
    constants_of,
    numbers,
    package,
    program,
    some_weights,
)


def linear(**options):
    config = cto.OptimizationConfig(global_config=cto.OpLinearQuantizerConfig(**options))
    return lambda mlmodel, **joint: cto.linear_quantize_weights(mlmodel, config=config, **joint)


def table(**options):
    config = cto.OptimizationConfig(global_config=cto.OpPalettizerConfig(mode="uniform", **options))
    return lambda mlmodel, **joint: cto.palettize_weights(mlmodel, config=config, **joint)


def sparse(mlmodel):
    config = cto.OptimizationConfig(global_config=cto.OpMagnitudePrunerConfig(target_sparsity=0.7))
    return cto.prune_weights(mlmodel, config=config)


# What coremltools does to a program -> the oldest system, the function, the form and the bits that are to be found.
COREMLTOOLS = {
    "linear int8": (IOS16, linear(mode="linear_symmetric"), "linear", 8),
    "linear uint8": (IOS16, linear(mode="linear", dtype="uint8"), "linear", 8),
    "linear uint8 per tensor": (IOS16, linear(mode="linear", dtype="uint8", granularity="per_tensor"), "linear", 8),
    "linear int4": (IOS18, linear(mode="linear_symmetric", dtype="int4"), "linear", 4),
    "linear uint4": (IOS18, linear(mode="linear", dtype="uint4"), "linear", 4),
    "linear int4 blocks": (
        IOS18, linear(mode="linear", dtype="int4", granularity="per_block", block_size=2), "linear", 4,
    ),
    "linear int8 blocks": (IOS18, linear(mode="linear", granularity="per_block", block_size=2), "linear", 8),
    **{f"table {bits}": (IOS16, table(nbits=bits), "lookup table", bits) for bits in (8, 6, 4, 2, 1)},
    "table 3": (IOS18, table(nbits=3), "lookup table", 3),
    "table 4 groups": (
        IOS18, table(nbits=4, granularity="per_grouped_channel", group_size=4), "lookup table", 4,
    ),
    "sparse": (IOS16, sparse, "sparse", 0),
    "sparse iOS 18": (IOS18, sparse, "sparse", 0),
}  # fmt: skip


@pytest.fixture(scope="module", params=["float32", "float16"])
def floats(request):
    precision = {"precision": FLOAT16} if request.param == "float16" else {}
    return {target: some_weights(target, **precision) for target in (IOS16, IOS18)}


@pytest.mark.parametrize("name", COREMLTOOLS)
def test_what_coremltools_compressed_is_decompressed_as_coremltools_does(name, floats, tmp_path):
    target, compress, form, bits = COREMLTOOLS[name]
    compressed = compress(package(floats[target], tmp_path))
    model = as_model(compressed)
    found = constant_values(block_of(functions(model.spec)["main"]), model)
    expected = constants_of(compressed)
    plain = {k: v for k, v in constants_of(cto.decompress_weights(compressed)).items() if np.ndim(v) > 1}
    assert len(plain) == 6
    for tensor in plain.items():
        ours = found[tensor[0]]
        np.testing.assert_array_equal(ours, expected[tensor[0]])
        np.testing.assert_array_equal(ours, tensor[1])
        assert ours.dtype == tensor[1].dtype
    weights = {w.name: w for w in stored_weights(model)}
    weight = next(w for name, w in weights.items() if name.startswith("fc_weight_0"))
    assert (weight.form, weight.bits) == (form, bits)
    with pytest.raises(RequantError, match=rf"(?s)is quantized already.*{weight.name}: {form}"):
        require_float(model)


def only_constant(make, target):
    """Return what we read and what coremltools reads of a program with one compressed constant."""

    def function(x):
        made = make()
        return mb.add(x=x, y=made if made.dtype == types.fp32 else mb.cast(x=made, dtype="fp32"))

    model = program(function, (1,), target=target, plain=True)
    return constant_values(block_of(functions(model.spec)["main"]), model)["w"], model


@pytest.mark.parametrize("axis", [0, 1])
def test_tables_of_vectors_are_read(axis, tmp_path):
    indices = np.random.default_rng(0).integers(0, 4, (6, 8)).astype(types.np_uint2_dtype)
    lut = numbers(3, 2, 4, 5)
    found, model = only_constant(
        lambda: mb.constexpr_lut_to_dense(indices=indices, lut=lut, vector_axis=axis, name="w"), IOS18
    )
    np.testing.assert_array_equal(found, constants_of(package(model, tmp_path))["w"])
    assert found.shape == ((30, 8) if axis == 0 else (6, 40))


def test_a_table_without_blocks_is_read_by_hand():
    indices = np.array([[0, 1], [3, 2]], np.uint8)
    (found,) = decompress("constexpr_lut_to_dense", {"indices": indices, "lut": numbers(1, 1, 4, 1)}, "w")
    np.testing.assert_array_equal(found, numbers(1, 1, 4, 1).reshape(4)[indices])


def test_a_cast_is_read(tmp_path):
    values = numbers(40, 60).astype(np.float16)
    found, model = only_constant(lambda: mb.constexpr_cast(source_val=values, output_dtype="fp32", name="w"), IOS16)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values.astype(np.float32))
    np.testing.assert_array_equal(found, constants_of(package(model, tmp_path))["w"])
    (weight,) = stored_weights(model)
    assert (weight.form, weight.bits, weight.stored_bytes) == ("float16", 16, 2 * 2400)


def test_parts_that_are_in_the_program_count_as_stored():
    data = np.random.default_rng(0).integers(0, 16, (4, 600)).astype(types.np_uint4_dtype)
    _, model = only_constant(
        lambda: mb.constexpr_blockwise_shift_scale(data=data, scale=numbers(4, 1), name="w"), IOS18
    )
    (weight,) = stored_weights(model)
    assert (weight.form, weight.bits, weight.stored_bytes) == ("linear", 4, 4 * 600 // 2 + 4 * 4)


def codes(dtype, shape, seed=0):
    """Return numbers over the whole range of an integer type, in coremltools' numpy type for it."""
    kind = types.string_to_builtin(dtype)
    limits = types.type_mapping.builtin_to_range(kind)
    drawn = np.random.default_rng(seed).integers(limits.low, limits.high + 1, shape)
    return drawn.astype(types.nptype_from_builtin(kind))


def some_mask(shape, seed=0):
    return (np.random.default_rng(seed).random(shape) < 0.4).astype(types.np_uint1_dtype)


def scaled_table(lut, scale, offset):
    return mb.constexpr_blockwise_shift_scale(data=lut, scale=scale, offset=offset)


SHAPE = (6, 7, 5)  # an odd number of elements, so that the last byte of every sub-byte type is not full
CODES = ["uint4", "int4", "uint8", "int8"]
BITS = [1, 2, 3, 4, 6, 8]


@pytest.mark.parametrize("floating", [np.float16, np.float32])
@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("blocks", [(1, 1, 1), (3, 1, 5), (6, 7, 5), (2, 7, 1)])
def test_blocks_of_any_size_are_read(blocks, dtype, floating):
    data, offset = codes(dtype, SHAPE), codes(dtype, blocks, seed=1)
    scale = numbers(*blocks).astype(floating)
    for given in (offset, None):
        found, model = only_constant(
            lambda given=given: mb.constexpr_blockwise_shift_scale(data=data, scale=scale, offset=given, name="w"),
            IOS18,
        )
        expected = ios18.constexpr_blockwise_shift_scale.decompress(data, scale, given)
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype
        (weight,) = stored_weights(model)
        assert (weight.form, weight.bits) == ("linear", int(dtype.removeprefix("u").removeprefix("int")))


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("where", ["program", "file"])
def test_codes_of_any_width_are_read_from_the_program_and_from_the_weight_file(bits, where):
    shape = (3, 1, 1) if where == "program" else SHAPE  # coremltools keeps what is small in the program
    indices, lut = codes(f"uint{bits}", shape), numbers(3, 1, 1, 2**bits, 1)
    found, model = only_constant(lambda: mb.constexpr_lut_to_dense(indices=indices, lut=lut, name="w"), IOS18)
    (operation,) = (o for o in all_operations(model.spec) if o.type == "constexpr_lut_to_dense")
    value = operation.inputs["indices"].arguments[0].value
    assert value.WhichOneof("value") == ("immediateValue" if where == "program" else "blobFileValue")
    np.testing.assert_array_equal(found, ios18.constexpr_lut_to_dense.decompress(indices, lut, None))


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("length", [1, 4])
@pytest.mark.parametrize("dtype", [None, *CODES])
def test_a_table_that_is_itself_quantized_is_read(dtype, length, axis, bits):
    groups = (3, 1, 1) if axis else (1, 1, 1)
    table_shape = (*groups, 2**bits, length)
    indices, scale = codes(f"uint{bits}", SHAPE), numbers(*(1,) * 5)
    table = numbers(*table_shape) if dtype is None else codes(dtype, table_shape)
    offset = None if dtype is None else codes(dtype, (1,) * 5, seed=3)
    vector_axis = axis if length > 1 else None
    found, model = only_constant(
        lambda: mb.constexpr_lut_to_dense(
            indices=indices,
            lut=table if dtype is None else scaled_table(table, scale, offset),
            vector_axis=vector_axis,
            name="w",
        ),
        IOS18,
    )
    if dtype is not None:
        table = ios18.constexpr_blockwise_shift_scale.decompress(table, scale, offset)
    expected = ios18.constexpr_lut_to_dense.decompress(indices, table, vector_axis)
    np.testing.assert_array_equal(found, expected)
    (weight,) = stored_weights(model)
    assert (weight.form, weight.bits) == ("lookup table" if dtype is None else "linear lookup table", bits)


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_a_table_of_codes_that_are_scaled_afterwards_is_read(bits):
    indices, table, scale = codes(f"uint{bits}", SHAPE), codes("int8", (1, 1, 1, 2**bits, 1)), numbers(6, 1, 1)
    found, model = only_constant(
        lambda: mb.constexpr_blockwise_shift_scale(
            data=mb.constexpr_lut_to_dense(indices=indices, lut=table), scale=scale, name="w"
        ),
        IOS18,
    )
    dense = ios18.constexpr_lut_to_dense.decompress(indices, table, None)
    np.testing.assert_array_equal(found, ios18.constexpr_blockwise_shift_scale.decompress(dense, scale, None))
    (weight,) = stored_weights(model)
    assert (weight.form, weight.bits) == ("linear lookup table", bits)


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize(("length", "axis"), [(1, None), (4, 0), (2, 1), (3, -1)])
@pytest.mark.parametrize("bits", BITS)
def test_a_sparse_table_is_read(bits, length, axis, quantized, tmp_path):
    mask = some_mask(SHAPE)
    indices = codes(f"uint{bits}", int(mask.sum()))
    groups = (2, 7, 1) if axis is None else (1, 1, 1)
    table, scale = numbers(*groups, 2**bits, length), numbers(*(1,) * 5)
    table_codes, offset = codes("int8", (*groups, 2**bits, length)), codes("int8", (1,) * 5, seed=3)

    def weight():
        lut = scaled_table(table_codes, scale, offset) if quantized else table
        made = mb.constexpr_lut_to_sparse(
            indices_mask=mask, indices_nonzero_data=indices, lut=lut, vector_axis=axis, name="made"
        )
        return mb.constexpr_sparse_to_dense(mask=made[0], nonzero_data=made[1], name="w")

    found, model = only_constant(weight, IOS18)
    lut = ios18.constexpr_blockwise_shift_scale.decompress(table_codes, scale, offset) if quantized else table
    made = ios18.constexpr_lut_to_sparse.decompress(mask, indices, lut, axis)
    np.testing.assert_array_equal(found, ios18.constexpr_sparse_to_dense.decompress(made[1], made[0]))
    form = "sparse linear lookup table" if quantized else "sparse lookup table"
    (stored,) = stored_weights(model)
    assert (stored.name, stored.form, stored.bits) == ("w", form, bits)
    assert stored.stored_bytes == pytest.approx(
        mask.size / 8 + indices.size * bits / 8 + table.size * (1 if quantized else 4) + 5 * quantized, abs=2
    )
    with pytest.raises(RequantError, match=f"is quantized already(?s:.)*w: {form}, {bits} bits"):
        require_float(model)
    if not quantized:
        np.testing.assert_array_equal(found, constants_of(package(model, tmp_path))["w"])


@pytest.mark.parametrize("dtype", [*CODES, "fp16"])
@pytest.mark.parametrize("blocks", [(1, 1, 1), (3, 1, 5), (6, 7, 5)])
def test_sparse_codes_are_read(blocks, dtype, tmp_path):
    mask = some_mask(SHAPE)
    count = int(mask.sum())
    data = numbers(count).astype(np.float16) if dtype == "fp16" else codes(dtype, count)
    offset = numbers(*blocks).astype(np.float16) if dtype == "fp16" else codes(dtype, blocks, seed=1)
    for given in (offset, None):
        for floating in (np.float16, np.float32):
            scale = numbers(*blocks).astype(floating)

            def weight(given=given, scale=scale):
                made = mb.constexpr_sparse_blockwise_shift_scale(
                    data_mask=mask, nonzero_data=data, scale=scale, offset=given
                )
                return mb.constexpr_sparse_to_dense(mask=made[0], nonzero_data=made[1], name="w")

            found, model = only_constant(weight, IOS18)
            made = ios18.constexpr_sparse_blockwise_shift_scale.decompress(mask, data, scale, given)
            expected = ios18.constexpr_sparse_to_dense.decompress(made[1], made[0])
            np.testing.assert_array_equal(found, expected)
            assert found.dtype == expected.dtype == floating
            (stored,) = stored_weights(model)
            bits = 16 if dtype == "fp16" else int(dtype.removeprefix("u").removeprefix("int"))
            assert (stored.form, stored.bits) == ("sparse linear", bits)
    np.testing.assert_array_equal(found, constants_of(package(model, tmp_path))["w"])


@pytest.mark.parametrize("dtype", CODES)
def test_sparse_codes_that_are_scaled_afterwards_are_read(dtype):
    mask, scale = some_mask(SHAPE), numbers(1, 7, 1)
    data, offset = codes(dtype, int(mask.sum())), codes(dtype, (1, 7, 1), seed=1)
    found, model = only_constant(
        lambda: mb.constexpr_blockwise_shift_scale(
            data=mb.constexpr_sparse_to_dense(mask=mask, nonzero_data=data), scale=scale, offset=offset, name="w"
        ),
        IOS18,
    )
    dense = ios18.constexpr_sparse_to_dense.decompress(data, mask)
    np.testing.assert_array_equal(found, ios18.constexpr_blockwise_shift_scale.decompress(dense, scale, offset))
    (stored,) = stored_weights(model)
    assert (stored.form, stored.bits) == ("sparse linear", int(dtype.removeprefix("u").removeprefix("int")))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("floating", [np.float16, np.float32])
def test_codes_of_ios_16_are_read(floating, dtype, axis):
    data = codes(dtype, SHAPE)
    for shape in ((), (SHAPE[axis],)):
        scale, zero_point = np.asarray(abs(numbers(*shape)), floating), np.asarray(codes(dtype, shape, seed=1))
        found, _ = only_constant(
            lambda scale=scale, zero_point=zero_point: mb.constexpr_affine_dequantize(
                quantized_data=data, scale=scale[()], zero_point=zero_point[()], axis=axis % 3, name="w"
            ),
            IOS16,
        )
        expected = ios16.constexpr_affine_dequantize.decompress(data, zero_point, scale, axis % 3)
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == floating


JOINT = {
    "sparse linear": [sparse, linear(mode="linear_symmetric")],
    "sparse lookup table": [sparse, table(nbits=3)],
    "linear lookup table": [table(nbits=4), linear(mode="linear_symmetric", granularity="per_tensor")],
    "sparse linear lookup table": [
        sparse, table(nbits=4), linear(mode="linear_symmetric", granularity="per_tensor"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("form", JOINT)
def test_what_coremltools_compressed_twice_is_decompressed_as_coremltools_does(form, floats, tmp_path):
    compressed = package(floats[IOS18], tmp_path)
    for number, step in enumerate(JOINT[form]):
        compressed = step(compressed, **({"joint_compression": True} if number else {}))
    model = as_model(compressed)
    found = constant_values(block_of(functions(model.spec)["main"]), model)
    operations = [o.type for o in all_operations(model.spec)]
    assert any(kind.startswith("constexpr_") for kind in operations)
    plain = {k: v for k, v in constants_of(cto.decompress_weights(compressed)).items() if np.ndim(v) > 1}
    assert len(plain) == 6
    for name, expected in plain.items():
        np.testing.assert_array_equal(found[name], expected)
        assert found[name].dtype == expected.dtype
    weight = next(w for w in stored_weights(model) if w.name.startswith("fc_weight_0"))
    assert weight.form == form
    with pytest.raises(RequantError, match=rf"(?s)is quantized already.*: {form}"):
        require_float(model)


def test_parts_that_do_not_fit_are_named():
    parts = {"mask": np.ones((2, 3), np.uint8), "nonzero_data": numbers(5)}
    with pytest.raises(RequantError, match="the tensor w, stored as constexpr_sparse_to_dense, is damaged"):
        decompress("constexpr_sparse_to_dense", parts, "w")
    parts = {"data": np.ones((2, 3), np.uint8), "scale": numbers(2, 2)}
    with pytest.raises(RequantError, match=r"is damaged: .*blocks of shape \(2, 2\) for a tensor of shape \(2, 3\)"):
        decompress("constexpr_blockwise_shift_scale", parts, "w")
    parts = {"indices": np.ones((2, 3), np.uint8), "lut": numbers(2, 4, 1)}
    with pytest.raises(RequantError, match="is damaged"):
        decompress("constexpr_lut_to_dense", parts, "w")
    with pytest.raises(RequantError, match="has no constant scale"):
        decompress("constexpr_blockwise_shift_scale", {"data": np.ones(3, np.uint8)}, "w")
    with pytest.raises(RequantError, match="a cast to fp16 instead of fp32"):
        decompress("constexpr_cast", {"source_val": np.ones(3), "output_dtype": np.array("fp16", object)}, "w")


def test_an_unknown_form_is_refused_by_name():
    with pytest.raises(RequantError, match="the tensor w is stored as constexpr_magic, which requant can't read yet"):
        decompress("constexpr_magic", {}, "w")
