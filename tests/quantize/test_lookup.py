import numpy as np
import pytest
from coremltools.models.neural_network.quantization_utils import _get_linear_lookup_table_and_weight
from hypothesis import given
from hypothesis import strategies as st

from requant.quantize.lookup import clustered, evenly_spaced
from tests.building import numbers

BITS = range(1, 9)


@pytest.mark.parametrize("bits", BITS)
def test_an_even_table_is_what_coremltools_computes(bits):
    weights = numbers(7, 30)
    table, codes = _get_linear_lookup_table_and_weight(bits, weights.astype(np.float64))
    found = evenly_spaced(bits, weights)
    np.testing.assert_array_equal(found.indices.reshape(1, -1), codes)
    np.testing.assert_allclose(found.table, table, rtol=0, atol=5e-7)  # its step is rounded to float32 first


@given(st.lists(st.floats(-100, 100, width=32, allow_subnormal=False), min_size=2, max_size=30), st.sampled_from(BITS))
def test_an_even_table_reaches_from_the_least_to_the_greatest_number(values, bits):
    weights = np.float32(values)
    found = evenly_spaced(bits, weights)
    assert found.table.shape == (1 << bits,)
    assert found.table[0] == weights.min()
    assert abs(found.table[-1] - weights.max()) <= 1e-6 * np.abs(weights).max()
    step = (float(weights.max()) - float(weights.min())) / ((1 << bits) - 1)
    assert (np.abs(found.table[found.indices] - weights) <= step / 2 * 1.0001 + 1e-6 * np.abs(weights).max()).all()


@pytest.mark.parametrize("function", [evenly_spaced, clustered])
@pytest.mark.parametrize("bits", BITS)
def test_every_table_has_two_to_the_bits_entries(function, bits):
    found = function(bits, numbers(4, 5, 6))
    assert (found.table.shape, found.table.dtype) == ((1 << bits,), np.float32)
    assert (found.indices.shape, found.indices.dtype) == ((4, 5, 6), np.uint8)
    assert found.indices.max() < 1 << bits
