import numpy as np
import pytest
from coremltools.optimize.coreml._quantization_passes import prune_weights
from hypothesis import given
from hypothesis import strategies as st

from requant.errors import RequantError
from requant.quantize.pruning import kept, least_zeros, require_sparsity
from requant.quantize.scheme import Pruning
from requant.quantize.selection import UnstorableError
from tests.building import numbers


def distinct(*shape, dtype=np.float32):
    """Return weights of distinct magnitudes and both signs."""
    random = np.random.default_rng(list(shape))
    count = int(np.prod(shape))
    values = random.permutation(np.arange(1, count + 1)) / count
    return (values * random.choice([-1, 1], count)).astype(dtype).reshape(shape)


@pytest.mark.parametrize("percent", [1, 25, 50, 75, 90, 99])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_share_is_reached_exactly(percent, dtype):
    weights = numbers(40, 25).astype(dtype)
    mask = kept(weights, Pruning(percent=percent), (0, 1))
    assert (~mask).sum() == 10 * percent
    assert np.abs(weights[~mask]).max() <= np.abs(weights[mask]).min()


def test_the_least_magnitudes_go_as_in_coremltools():
    weights = distinct(20, 10, 3, 3)
    theirs = prune_weights.compress_by_magnitude(weights, 0.6)
    np.testing.assert_array_equal(weights[kept(weights, Pruning(percent=60), (0, 1))], theirs.nonzero_data)


def test_a_large_float16_tensor_is_pruned():
    weights = numbers(300, 300, scale=1000).astype(np.float16)  # a percentile of so many float16 numbers is NaN
    assert kept(weights, Pruning(percent=50), (0, 1)).mean() == 0.5


def test_equal_magnitudes_are_pruned_up_to_the_share():
    weights = np.ones((10, 10), np.float32)
    mask = kept(weights, Pruning(percent=30), (0, 1))
    assert mask.reshape(-1).tolist() == [False] * 30 + [True] * 70


def test_exact_zeros_are_never_kept():
    weights = np.zeros((10, 10), np.float32)
    weights[0] = 1
    assert kept(weights, Pruning(percent=50), (0, 1)).sum() == 10
    assert kept(weights, Pruning(n=1, m=4), (0, 1)).sum() <= 10


@pytest.mark.parametrize(("n", "m"), [(1, 2), (2, 4), (3, 4), (1, 4), (5, 8)])
@pytest.mark.parametrize("axis", [0, 1])
def test_n_of_m_as_in_coremltools(n, m, axis):
    weights = distinct(16, 24, 3, 2)
    theirs = prune_weights.compress_by_nm_sparsity(weights, (n, m), axis)
    mask = kept(weights, Pruning(n=n, m=m), (1 - axis, axis))
    np.testing.assert_array_equal(weights[mask], theirs.nonzero_data)


def test_n_of_m_of_channels_that_m_does_not_divide():
    weights = distinct(6, 10)
    theirs = prune_weights.compress_by_nm_sparsity(weights, (2, 4), 1)
    mask = kept(weights, Pruning(n=2, m=4), (0, 1))
    np.testing.assert_array_equal(weights[mask], theirs.nonzero_data)
    assert (~mask).sum() == least_zeros(weights.shape, Pruning(n=2, m=4), (0, 1)) == 6 * 4
    with pytest.raises(UnstorableError, match="it has 10 input channels, fewer than 16"):
        kept(weights, Pruning(n=2, m=16), (0, 1))


def test_below_a_threshold():
    weights = np.array([[0.1, -0.1, 0.2, -0.3]], np.float32)
    assert kept(weights, Pruning(below=0.1), (0, 1)).tolist() == [[False, False, True, True]]


def test_vectors_are_pruned_by_their_norm_together():
    weights = distinct(8, 6)
    mask = kept(weights, Pruning(percent=50), (0, 1), vector=2)
    np.testing.assert_array_equal(mask[::2], mask[1::2])
    norms = np.sqrt(weights[::2].astype(np.float64) ** 2 + weights[1::2] ** 2)
    assert mask[::2].sum() == 12
    assert norms[mask[::2]].min() >= norms[~mask[::2]].max()


def test_too_little_sparsity_is_an_error():
    with pytest.raises(RequantError, match="pruning made 10 of 100 weights zero, not 50"):
        require_sparsity(np.arange(100).reshape(10, 10) >= 10, Pruning(percent=50), (0, 1))


@given(
    st.integers(1, 9), st.integers(1, 20), st.sampled_from(["float16", "float32"]), st.integers(0, 5),
    st.one_of(
        st.integers(1, 99).map(lambda percent: Pruning(percent=percent)),
        st.tuples(st.integers(1, 3), st.integers(1, 4)).map(lambda x: Pruning(n=x[0], m=x[0] + x[1])),
        st.floats(0.01, 3).map(lambda below: Pruning(below=below)),
    ),
)  # fmt: skip
def test_what_is_asked_for_is_always_reached(outputs, inputs, dtype, seed, pruning):
    weights = np.round(numbers(outputs, inputs, 3, seed=seed), 1).astype(dtype)  # with zeros and equal numbers
    if pruning.m > inputs:
        return
    mask = kept(weights, pruning, (0, 1))
    require_sparsity(mask, pruning, (0, 1))
    assert not (mask & (weights == 0)).any()
