import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import types
from coremltools.optimize import coreml as cto

from requant.coreml.compression import decompress
from requant.coreml.inventory import require_float
from requant.coreml.program import block_of, constant_values, functions, stored_weights
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
    return lambda mlmodel: cto.linear_quantize_weights(mlmodel, config=config)


def table(**options):
    config = cto.OptimizationConfig(global_config=cto.OpPalettizerConfig(mode="uniform", **options))
    return lambda mlmodel: cto.palettize_weights(mlmodel, config=config)


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
    model = program(lambda x: mb.add(x=x, y=make()), (1,), target=target, plain=True)
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
    found = decompress("constexpr_lut_to_dense", {"indices": indices, "lut": numbers(1, 1, 4, 1)}, "w")
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


def test_an_unknown_form_is_refused_by_name():
    with pytest.raises(RequantError, match="the tensor w is stored as constexpr_magic, which requant can't read yet"):
        decompress("constexpr_magic", {}, "w")
