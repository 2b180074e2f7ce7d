import numpy as np
import pytest
from coremltools.models.neural_network.quantization_utils import _convert_array_to_nbit_quantized_bytes
from coremltools.optimize._utils import pack_elements_into_bits
from hypothesis import given
from hypothesis import strategies as st

from requant.coreml.packing import pack, packed_size, unpack

ORDERS = ("most significant first", "least significant first")
BITS = range(1, 9)


@st.composite
def codes_and_bits(draw):
    bits = draw(st.integers(1, 8))
    codes = draw(st.lists(st.integers(0, 2**bits - 1), min_size=1, max_size=70))
    return np.array(codes, np.uint8), bits


@given(codes_and_bits(), st.sampled_from(ORDERS))
def test_what_is_packed_is_unpacked(codes_bits, order):
    codes, bits = codes_bits
    data = pack(codes, bits, order)
    assert len(data) == packed_size(codes.size, bits) == -(-codes.size * bits // 8)
    np.testing.assert_array_equal(unpack(data, codes.size, bits, order), codes)


@given(codes_and_bits())
def test_most_significant_first_is_what_coremltools_writes_in_a_network(codes_bits):
    codes, bits = codes_bits
    expected = _convert_array_to_nbit_quantized_bytes(codes, bits).tobytes()
    assert pack(codes, bits, "most significant first") == expected[: packed_size(codes.size, bits)]
    assert not any(expected[packed_size(codes.size, bits) :])  # coremltools pads very short arrays with more zeros


@given(codes_and_bits())
def test_least_significant_first_is_what_coremltools_writes_in_a_program(codes_bits):
    codes, bits = codes_bits
    expected = pack_elements_into_bits(codes, bits).tobytes()
    assert pack(codes, bits, "least significant first") == expected


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("order", ORDERS)
def test_no_codes_take_no_bytes(order, bits):
    assert pack(np.array([], np.uint8), bits, order) == b""
    assert unpack(b"", 0, bits, order).shape == (0,)


@pytest.mark.parametrize(("order", "byte"), [(ORDERS[0], 0b10000000), (ORDERS[1], 0b00000001)])
def test_the_order_names_the_bit_that_is_filled_first(order, byte):
    assert pack(np.array([1, 0, 0], np.uint8), 1, order) == bytes([byte])


def test_codes_of_any_shape_are_read_row_by_row():
    codes = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert pack(codes.T, 4, ORDERS[0]) == pack(codes.T.reshape(-1).copy(), 4, ORDERS[0])


@pytest.mark.parametrize("bits", BITS[:-1])
def test_a_code_that_does_not_fit_is_refused(bits):
    with pytest.raises(ValueError, match=f"code {1 << bits} does not fit {bits} bits"):
        pack(np.array([0, 1 << bits], np.uint8), bits, ORDERS[0])


@pytest.mark.parametrize("bits", BITS)
def test_too_few_bytes_are_refused(bits):
    with pytest.raises(ValueError, match="take"):
        unpack(bytes(packed_size(9, bits) - 1), 9, bits, ORDERS[1])
