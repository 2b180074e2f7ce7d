import numpy as np
import pytest
from coremltools._deps import _kmeans1d
from hypothesis import given
from hypothesis import strategies as st

from requant.quantize.kmeans import GROUPS, kmeans, nearest
from requant.quantize.lookup import evenly_spaced
from tests.building import numbers

SMALL = st.lists(st.floats(-100, 100, width=32, allow_subnormal=False), min_size=1, max_size=14).map(np.float32)
# Numbers on a coarse grid: many of them are equal.
COARSE = st.lists(st.integers(-8, 8), min_size=1, max_size=40).map(lambda x: np.array(x, np.float32) / 4)


def error(weights, table, indices):
    return float(np.square(table.astype(np.float64)[indices] - weights.astype(np.float64)).sum())


def least_error(weights, clusters):
    """Return the least sum of squared errors, by trying all ways to cut the sorted numbers."""
    ordered = np.sort(weights.astype(np.float64).reshape(-1))
    count = len(ordered)

    def cost(start, end):
        part = ordered[start:end]
        return np.square(part - part.mean()).sum() if len(part) else 0.0

    best = [cost(0, end) for end in range(count + 1)]
    for _ in range(1, clusters):
        best = [min(best[cut] + cost(cut, end) for cut in range(end + 1)) for end in range(count + 1)]
    return best[count]


@given(SMALL | COARSE, st.integers(1, 6))
def test_the_error_is_the_least_that_there_is(weights, clusters):
    table, indices = kmeans(weights, clusters)
    rounding = 1e-6 * np.square(np.abs(weights).max()) * weights.size
    assert error(weights, table, indices) <= least_error(weights, clusters) + rounding


@given(SMALL | COARSE, st.sampled_from([1, 2, 4, 16, 256]))
def test_tables_ascend_and_indices_name_the_nearest_entry(weights, clusters):
    table, indices = kmeans(weights, clusters)
    assert table.shape == (clusters,)
    assert table.dtype == np.float32
    assert (np.diff(table) >= 0).all()
    distances = np.abs(weights[:, np.newaxis].astype(np.float64) - table)
    np.testing.assert_array_equal(distances[np.arange(weights.size), indices], distances.min(axis=1))


@given(SMALL | COARSE, st.integers(1, 8))
def test_it_is_never_worse_than_an_even_table(weights, bits):
    table, indices = kmeans(weights, 1 << bits)
    even = evenly_spaced(bits, weights)
    rounding = 1e-6 * np.square(np.abs(weights).max()) * weights.size
    assert error(weights, table, indices) <= error(weights, even.table, even.indices) + rounding


@given(st.lists(st.sampled_from([-1.5, 0.0, 0.25, 3.0, 8.0]), min_size=1, max_size=50).map(np.float32))
def test_fewer_distinct_numbers_than_clusters_are_stored_exactly(weights):
    table, indices = kmeans(weights, 8)
    np.testing.assert_array_equal(table[indices], weights)
    distinct = np.unique(weights)
    np.testing.assert_array_equal(table, np.append(distinct, [distinct[-1]] * (8 - len(distinct))))


@pytest.mark.parametrize("value", [0.0, -3.5, 1e-30, 6e4])
@pytest.mark.parametrize("clusters", [1, 2, 256])
def test_a_constant_array_is_stored_exactly(value, clusters):
    weights = np.full((3, 5), value, np.float32)
    table, indices = kmeans(weights, clusters)
    assert indices.shape == (3, 5)
    np.testing.assert_array_equal(table[indices], weights)


DISTRIBUTIONS = {
    "normal": numbers(6000),
    "heavy tails": np.random.default_rng(1).standard_t(2, 6000).astype(np.float32),
    "two heaps": np.concatenate([numbers(3000, scale=0.01), 5 + numbers(3000, seed=1, scale=0.001)]),
    "one outlier": np.append(numbers(5999, scale=0.01), np.float32(100)),
    "far from zero": 1000 + numbers(6000),
    "float16": numbers(6000).astype(np.float16).astype(np.float32),
}


@pytest.mark.parametrize("bits", [8, 6, 4, 3, 2, 1])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_large_arrays_come_close_to_the_least_error(name, bits):
    weights = DISTRIBUTIONS[name]
    assert len(np.unique(weights)) > GROUPS
    clusters, centres = _kmeans1d.cluster(weights.astype(np.float64), 1 << bits)  # the exact optimum
    least = error(weights, np.array(centres), np.array(clusters))
    table, indices = kmeans(weights, 1 << bits)
    assert error(weights, table, indices) <= 1.01 * least
    assert (np.diff(table) >= 0).all()
    even = evenly_spaced(bits, weights)
    assert error(weights, table, indices) <= error(weights, even.table, even.indices)


def test_the_same_array_gives_the_same_table():
    first, second = (kmeans(numbers(5000, seed=3), 16) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_the_order_of_the_numbers_does_not_matter():
    weights = numbers(5000)
    table, indices = kmeans(weights, 16)
    mirrored, mirrored_indices = kmeans(weights[::-1], 16)
    np.testing.assert_array_equal(mirrored, table)
    np.testing.assert_array_equal(mirrored_indices[::-1], indices)


def test_numbers_are_not_touched_and_indices_keep_the_shape():
    weights = numbers(4, 5, 6)
    assert kmeans(weights, 4)[1].shape == (4, 5, 6)
    np.testing.assert_array_equal(weights, numbers(4, 5, 6))


def test_nearest_is_the_nearest():
    table = np.float32([-1, 0, 0.5, 4])
    np.testing.assert_array_equal(
        nearest(table, np.float32([-9, -0.6, -0.4, 0.2, 0.3, 2.2, 2.3])), [0, 0, 1, 1, 2, 2, 3]
    )
