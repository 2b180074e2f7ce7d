import numpy as np
import pytest
from coremltools.models.neural_network.quantization_utils import _quantize_channelwise_linear
from coremltools.optimize._utils import compute_qparams, quantize_weight
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from requant.quantize.linear import quantize_affine, quantize_linear, quantize_symmetric
from tests.building import numbers

BITS = range(1, 9)
# Numbers so small that their scale has no float32 with all its digits are left out.
FLOATS = st.floats(-1000, 1000, width=32).map(lambda x: 0.0 if abs(x) < 1e-30 else x)
TENSORS = arrays.arrays(np.float32, arrays.array_shapes(min_dims=2, max_dims=4, max_side=5), elements=FLOATS)


def columns(values, axis, rank):
    return values.astype(np.float64).reshape([-1 if i == axis % rank else 1 for i in range(rank)])


def decoded(codes, axis, rank):
    return codes.codes * columns(codes.scale, axis, rank) + columns(codes.bias, axis, rank)


def per_channel(shape, axis):
    return tuple(size if i == axis % len(shape) else 1 for i, size in enumerate(shape))


def decoded_affine(codes):
    """Return the numbers of codes with a scale per channel, or one for all."""
    return (codes.codes.astype(np.float64) - codes.zero_point) * codes.scale.astype(np.float64)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("axis", [0, 1])
def test_linear_is_what_coremltools_computes(bits, axis):
    weights = numbers(6, 8, 3, 3)
    codes, scale, bias = _quantize_channelwise_linear(weights.astype(np.float64), bits, axis)
    found = quantize_linear(weights, bits, axis)
    np.testing.assert_array_equal(found.codes, codes)  # random numbers do not lie halfway between two codes
    np.testing.assert_array_equal(found.scale, scale.astype(np.float32))
    np.testing.assert_array_equal(found.bias, bias.astype(np.float32))


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("axis", [0, 1])
def test_symmetric_is_what_coremltools_computes(bits, axis):
    weights = numbers(6, 8, 3, 3)
    codes, scale, bias = _quantize_channelwise_linear(weights.astype(np.float64), bits, axis, symmetric=True)
    found = quantize_symmetric(weights, bits, axis)
    np.testing.assert_array_equal(found.codes, codes)
    np.testing.assert_array_equal(found.scale, scale.astype(np.float32))
    np.testing.assert_array_equal(found.bias, bias.astype(np.float32))


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("axis", [0, 1])
def test_affine_is_what_coremltools_computes(bits, axis):
    weights = numbers(6, 400)
    codes, scale, zero_point = quantize_weight(weights, (1 - axis,), bits, False, "LINEAR", np.uint8)
    found = quantize_affine(weights, bits, per_channel(weights.shape, axis))
    # coremltools divides in float32, so that a number within its rounding of a border can fall to the other side
    differences = np.abs(found.codes.astype(int) - codes.astype(int))
    assert differences.max() <= 1
    assert (differences > 0).mean() < 0.002
    np.testing.assert_allclose(found.scale.reshape(-1), scale, rtol=1e-6)
    np.testing.assert_array_equal(found.zero_point.reshape(-1), zero_point)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("mode", ["LINEAR", "LINEAR_SYMMETRIC"])
@pytest.mark.parametrize("sizes", [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 4, 0), (2, 3, 0), (1, 6, 1)])
def test_blocks_are_what_coremltools_computes(bits, signed, mode, sizes):
    weights = numbers(6, 12, 50)
    data, scale, offset = compute_qparams(weights, bits, signed, mode, np.int8, sizes)
    blocks = tuple(size // (block or size) for size, block in zip(weights.shape, sizes, strict=True))
    found = quantize_affine(weights, bits, blocks, signed=signed, symmetric=mode == "LINEAR_SYMMETRIC")
    assert found.codes.dtype == (np.int8 if signed else np.uint8)
    differences = np.abs(found.codes.astype(int) - data.astype(int))
    assert differences.max() <= 1
    assert (differences > 0).mean() < 0.002
    np.testing.assert_allclose(found.scale, scale, rtol=1e-6)
    np.testing.assert_array_equal(found.zero_point, np.zeros(blocks) if offset is None else offset)


@given(TENSORS, st.sampled_from(BITS), st.integers(0, 1))
def test_linear_is_off_by_half_a_step_at_most(weights, bits, axis):
    found = quantize_linear(weights, bits, axis)
    assert found.codes.shape == weights.shape
    assert found.codes.max(initial=0) < 1 << bits
    step = columns(found.scale, axis, weights.ndim)
    rounding = 1e-6 * np.abs(weights).max()
    assert (np.abs(decoded(found, axis, weights.ndim) - weights) <= step / 2 * (1 + 1e-5) + rounding).all()


@given(TENSORS, st.integers(2, 8), st.integers(0, 1))
def test_symmetric_keeps_zero_and_is_off_by_half_a_step_at_most(weights, bits, axis):
    weights.reshape(-1)[0] = 0
    found = quantize_symmetric(weights, bits, axis)
    back = decoded(found, axis, weights.ndim)
    assert abs(back.reshape(-1)[0]) <= 1e-6 * np.abs(weights).max()
    step = columns(found.scale, axis, weights.ndim)
    assert (np.abs(back - weights) <= step / 2 * (1 + 1e-5) + 1e-6 * np.abs(weights).max()).all()


@given(
    TENSORS, st.sampled_from([8, 4]), st.integers(-1, 1), st.sampled_from([np.float16, np.float32]), st.booleans(),
    st.booleans(),
)  # fmt: skip
def test_affine_keeps_zero_and_is_off_by_half_a_step_at_most(weights, bits, axis, dtype, signed, symmetric):
    weights.reshape(-1)[0] = 0
    blocks = per_channel(weights.shape, axis)
    found = quantize_affine(weights, bits, blocks, dtype, signed=signed, symmetric=symmetric)
    back = decoded_affine(found)
    assert found.scale.dtype == dtype
    assert back.reshape(-1)[0] == 0
    if symmetric and signed:
        assert not found.zero_point.any()
    rounding = 1e-6 * np.abs(weights).max()
    assert (np.abs(back - weights) <= found.scale.astype(np.float64) / 2 * (1 + 1e-5) + rounding).all()


def test_blocks_that_do_not_divide_a_tensor_are_refused():
    with pytest.raises(ValueError, match=r"blocks \(1, 5\) for a tensor of shape \(2, 6\)"):
        quantize_affine(numbers(2, 6), 8, (1, 5))


@pytest.mark.parametrize("scale", [1, 1e-3, 1e-5, 2e-6])
def test_a_scale_in_float16_costs_nothing_but_its_coarseness(scale):
    weights = numbers(4, 500, scale=scale)
    found = quantize_affine(weights, 8, (4, 1), np.float16)
    assert (np.abs(decoded_affine(found) - weights) <= found.scale.astype(np.float64) / 2 * (1 + 1e-5)).all()
    ranges = weights.max(axis=1, keepdims=True) - weights.min(axis=1, keepdims=True)
    assert (found.scale.astype(np.float64) <= ranges / 255 * 1.001 + 6e-8).all()


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("value", [0.0, 0.3, -7.25])
def test_equal_numbers_are_stored_exactly(bits, value):
    weights = np.full((3, 4), value, np.float32)
    np.testing.assert_array_equal(decoded(quantize_linear(weights, bits), 0, 2), weights)


@pytest.mark.parametrize("bits", BITS)
def test_the_ends_of_each_channel_are_codes(bits):
    weights = numbers(5, 30)
    found = quantize_linear(weights, bits)
    assert (found.codes.min(axis=1) == 0).all()
    assert (found.codes.max(axis=1) == (1 << bits) - 1).all()


def test_a_channel_of_tiny_numbers_keeps_them():
    # coremltools gives all of these the code 0, because the scale is below 1e-6
    weights = numbers(1, 50, scale=1e-7)
    found = decoded(quantize_linear(weights, 8), 0, 2)
    assert np.abs(found - weights).max() < 0.01 * np.abs(weights).max()


def test_channels_are_quantized_on_their_own():
    weights = numbers(4, 6, 3, 3)
    together = quantize_linear(weights, 4, 1)
    for channel in range(6):
        alone = quantize_linear(weights[:, channel : channel + 1], 4, 1)
        np.testing.assert_array_equal(together.codes[:, channel], alone.codes[:, 0])
        assert together.scale[channel] == alone.scale[0]


def test_the_weights_are_not_touched():
    weights = numbers(4, 6)
    quantize_linear(weights, 3)
    quantize_symmetric(weights, 3)
    quantize_affine(weights, 4, (4, 2))
    np.testing.assert_array_equal(weights, numbers(4, 6))
