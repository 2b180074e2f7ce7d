from itertools import pairwise

import numpy as np
import pytest
from coremltools._deps import _kmeans1d
from hypothesis import given, settings
from hypothesis import strategies as st

from requant.quantize import kmeans as module
from requant.quantize.kmeans import Distribution, kmeans, kmeans_groups, kmeans_tables, nearest
from requant.quantize.lookup import evenly_spaced
from tests.building import numbers

SMALL = st.lists(st.floats(-100, 100, width=32, allow_subnormal=False), min_size=1, max_size=14).map(np.float32)
# Numbers on a coarse grid: many of them are equal.
COARSE = st.lists(st.integers(-8, 8), min_size=1, max_size=40).map(lambda x: np.array(x, np.float32) / 4)


def drawn(kind, seed, size):
    """Return random numbers: some smooth, some with gaps, outliers or ties."""
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=size)
    made = {
        "normal": normal,
        "laplace": rng.laplace(size=size),
        "uniform": rng.random(size),
        "two heaps": np.where(normal > 0.5, normal + 100, normal / 16),
        "outliers": np.append(normal[1:], 1e4) * rng.choice([1, 1, 1, 30], size),
        "cauchy": rng.standard_cauchy(size),
        "exponential": np.exp(5 * normal),
        "grid": rng.integers(-100, 100, size),
        "all of a grid": np.arange(size),
        "float16": normal.astype(np.float16),
        "mostly zeros": normal * (rng.random(size) < 0.2),
        "far from zero": normal + 1000,
    }
    return made[kind].astype(np.float32)


KINDS = st.sampled_from([
    "normal", "laplace", "uniform", "two heaps", "outliers", "cauchy", "exponential", "grid", "all of a grid",
    "float16", "mostly zeros", "far from zero",
])  # fmt: skip
DRAWN = st.builds(drawn, KINDS, st.integers(0, 999), st.integers(1, 600))
CLUSTERS = st.integers(1, 20) | st.integers(1, 256)


def reference(weights, clusters):
    """Return the least error, of the centres of a compiled solver, rounded as ours are."""
    distribution = Distribution.of(weights)
    values, counts = distribution.values.astype(np.float64), distribution.counts.astype(np.float64)
    if len(values) <= clusters:
        return 0.0
    centres = _kmeans1d.cluster(values, clusters, weights=counts)[1]
    table = np.sort(np.float32(centres))
    return error(weights, table, nearest(table, weights))


def rounding(weights):
    """Return what the rounding of the centres to float32 can add to the error."""
    return weights.size * np.square(2.0**-23 * np.abs(weights.astype(np.float64)).max())


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
    assert error(weights, table, indices) <= least_error(weights, clusters) * (1 + 1e-9) + rounding(weights)


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
    assert error(weights, table, indices) <= error(weights, even.table, even.indices) + rounding(weights)


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


@settings(max_examples=300, deadline=None)
@given(DRAWN, CLUSTERS)
def test_no_other_solver_finds_a_lesser_error(weights, clusters):
    found = error(weights, *kmeans(weights, clusters))
    assert found <= reference(weights, clusters) * (1 + 1e-9) + rounding(weights)


@pytest.mark.parametrize("clusters", [256, 64, 16, 8, 4, 2])
@pytest.mark.parametrize("kind", ["normal", "laplace", "uniform", "two heaps", "outliers", "cauchy", "far from zero"])
def test_no_other_solver_finds_a_lesser_error_for_many_numbers(kind, clusters):
    weights = drawn(kind, 1, 9000)
    table, indices = kmeans(weights, clusters)
    assert error(weights, table, indices) <= reference(weights, clusters) * (1 + 1e-9) + rounding(weights)
    even = evenly_spaced(clusters.bit_length() - 1, weights)
    assert error(weights, table, indices) <= error(weights, even.table, even.indices)


@pytest.mark.parametrize("clusters", [256, 16, 4])
def test_no_other_solver_finds_a_lesser_error_for_float16(clusters):
    weights = numbers(300, 400).astype(np.float16)
    table, indices = kmeans(weights, clusters)
    assert error(weights, table, indices) <= reference(weights, clusters) * (1 + 1e-9) + rounding(weights)
    same = kmeans(weights.astype(np.float32), clusters)
    np.testing.assert_array_equal(table, same[0])
    np.testing.assert_array_equal(indices, same[1])


@pytest.mark.parametrize("greatest", [3e38, 1e20, 1e6])
def test_digits_are_not_lost_to_outliers(greatest):
    weights = np.append(numbers(500), np.float32([greatest, -greatest, greatest / 1e3]))
    table = kmeans(weights, 11)[0]
    alone = kmeans(weights[:500], 8)[0]
    np.testing.assert_array_equal(table, [-weights[500], *alone, weights[502], weights[500]])


@settings(max_examples=25, deadline=None)
@given(DRAWN)
def test_more_clusters_never_leave_more_error(weights):
    errors = [error(weights, *kmeans(weights, clusters)) for clusters in (1, 2, 3, 4, 7, 8, 9, 30, 31, 100, 256)]
    assert all(more <= less * (1 + 1e-12) + rounding(weights) for less, more in pairwise(errors))


@settings(max_examples=50, deadline=None)
@given(DRAWN, CLUSTERS, st.integers(0, 99))
def test_the_order_and_shape_of_the_numbers_do_not_matter(weights, clusters, seed):
    order = np.random.default_rng(seed).permutation(weights.size)
    table, indices = kmeans(weights, clusters)
    moved, moved_indices = kmeans(weights[order].reshape(1, -1, 1), clusters)
    np.testing.assert_array_equal(moved, table)
    np.testing.assert_array_equal(moved_indices.reshape(-1), indices[order])


@settings(max_examples=50, deadline=None)
@given(DRAWN, CLUSTERS, st.integers(-60, 60), st.booleans())
def test_a_power_of_two_scales_the_table(weights, clusters, power, keep_zeros):
    table, indices = kmeans(weights, clusters, keep_zeros=keep_zeros)
    scaled, scaled_indices = kmeans(np.ldexp(weights, power), clusters, keep_zeros=keep_zeros)
    np.testing.assert_array_equal(scaled, np.ldexp(table, power))
    np.testing.assert_array_equal(scaled_indices, indices)


@settings(max_examples=50, deadline=None)
@given(DRAWN | COARSE, CLUSTERS)
def test_zeros_can_be_kept(weights, clusters):
    table, indices = kmeans(weights, clusters, keep_zeros=True)
    assert (np.diff(table) >= 0).all()
    assert (table[indices][weights == 0] == 0).all()
    distances = np.abs(weights[:, np.newaxis].astype(np.float64) - table)
    np.testing.assert_array_equal(distances[np.arange(weights.size), indices], distances.min(axis=1))
    free = kmeans(weights, clusters)
    if (weights != 0).all():
        np.testing.assert_array_equal(table, free[0])
    with_zero = free[0].copy()
    with_zero[nearest(with_zero, np.float32([0]))] = 0
    bound = error(weights, with_zero, nearest(with_zero, weights))
    assert error(weights, table, indices) <= bound * (1 + 1e-6) + rounding(weights)


def test_kept_zeros_cost_little():
    weights = np.where(np.arange(20000) % 3, numbers(20000), 0).astype(np.float32)
    free, kept = (error(weights, *kmeans(weights, 16, keep_zeros=keep)) for keep in (False, True))
    assert free <= kept < 1.01 * free


@settings(max_examples=50, deadline=None)
@given(KINDS, st.integers(0, 99), st.integers(1, 9), st.integers(1, 200), CLUSTERS, st.booleans())
def test_every_row_is_clustered_by_itself(kind, seed, groups, size, clusters, keep_zeros):
    weights = np.stack([drawn(kind, seed + row, size) * np.float32(1 + row) for row in range(groups)])
    tables, indices = kmeans_groups(weights, clusters, keep_zeros=keep_zeros)
    for row in range(groups):
        table, row_indices = kmeans(weights[row], clusters, keep_zeros=keep_zeros)
        np.testing.assert_array_equal(tables[row], table)
        np.testing.assert_array_equal(indices[row], row_indices)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_rows_of_all_kinds_go_side_by_side(dtype, monkeypatch):
    monkeypatch.setattr(module, "_BATCH", 6 * 3000)
    kinds = ["normal", "grid", "uniform", "two heaps", "mostly zeros", "laplace", "float16", "all of a grid"]
    weights = np.stack([drawn(kind, 3, 3000) for kind in kinds] + [np.full(3000, 0.5, np.float32)]).astype(dtype)
    tables, indices = kmeans_groups(weights, 16)
    assert (tables.dtype, tables.shape, indices.dtype, indices.shape) == (np.float32, (9, 16), np.uint8, (9, 3000))
    for row, table, row_indices in zip(weights, tables, indices, strict=True):
        np.testing.assert_array_equal(table, kmeans(row, 16)[0])
        assert error(row, table, row_indices) <= reference(row, 16) * (1 + 1e-9) + rounding(row)


@pytest.mark.parametrize("clusters", [2, 16, 100])
@pytest.mark.parametrize("kind", ["normal", "laplace", "two heaps", "cauchy"])
def test_of_very_many_numbers_the_error_is_near_the_least(kind, clusters, monkeypatch):
    weights = drawn(kind, 2, 30000)
    least = error(weights, *kmeans(weights, clusters))
    monkeypatch.setattr(module, "EXACT_LIMIT", 10000)
    monkeypatch.setattr(module, "GROUPS", 8000)
    assert error(weights, *kmeans(weights, clusters)) <= least * (1 + 1e-4)


@given(SMALL | COARSE)
def test_a_distribution_counts_each_number(weights):
    for numbers_ in (weights, weights.astype(np.float16)):
        distribution = Distribution.of(numbers_)
        values, counts = np.unique(numbers_.astype(np.float32), return_counts=True)
        np.testing.assert_array_equal(distribution.values, values)
        np.testing.assert_array_equal(distribution.counts, counts)
        assert not np.signbit(distribution.values[distribution.values == 0]).any()


def test_a_distribution_serves_several_numbers_of_clusters():
    weights = numbers(40, 50)
    distribution = Distribution.of(weights)
    for clusters in (4, 16):
        ready, indices = kmeans(weights, clusters, distribution=distribution)
        np.testing.assert_array_equal(ready, kmeans(weights, clusters)[0])
        np.testing.assert_array_equal(indices, kmeans(weights, clusters)[1])


def test_the_same_array_gives_the_same_table():
    first, second = (kmeans(numbers(5000, seed=3), 16) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_numbers_are_not_touched_and_indices_keep_the_shape():
    weights = numbers(4, 5, 6)
    assert kmeans(weights, 4)[1].shape == (4, 5, 6)
    np.testing.assert_array_equal(weights, numbers(4, 5, 6))


def test_nearest_is_the_nearest():
    table = np.float32([-1, 0, 0.5, 4])
    np.testing.assert_array_equal(
        nearest(table, np.float32([-9, -0.6, -0.4, 0.2, 0.3, 2.2, 2.3])), [0, 0, 1, 1, 2, 2, 3]
    )


@given(SMALL)
def test_nearest_maps_many_float16_numbers_as_it_maps_few(entries):
    table = np.sort(entries)
    many = np.random.default_rng(0).normal(size=70000).astype(np.float16) * np.float16(30)
    np.testing.assert_array_equal(nearest(table, many), nearest(table, many.astype(np.float32)))


@pytest.mark.parametrize("keep_zeros", [False, True])
def test_tables_of_several_tensors_are_those_of_each(keep_zeros):
    tensors = [numbers(40, 50, seed=1), numbers(7, 3).astype(np.float16), np.round(numbers(900), 1), numbers(3)]
    tables = kmeans_tables(iter(tensors), 16, keep_zeros=keep_zeros)
    for table, tensor in zip(tables, tensors, strict=True):
        np.testing.assert_array_equal(table, kmeans(tensor, 16, keep_zeros=keep_zeros)[0])


def test_more_tensors_than_are_searched_at_once_have_the_same_tables(monkeypatch):
    tensors = [numbers(200 + 10 * i, seed=i) for i in range(8)]
    expected = kmeans_tables(tensors, 8)
    monkeypatch.setattr(module, "_BATCH", 500)
    for one, other in zip(kmeans_tables(tensors, 8), expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("seed", range(4))
def test_outliers_among_very_many_numbers_keep_clusters_of_their_own(seed, monkeypatch):
    random = np.random.default_rng(seed)
    outliers = random.uniform(5, 9, 4) * [-3, -2, 2, 3]
    weights = np.concatenate([random.normal(size=30000), outliers]).astype(np.float32)
    best, _ = kmeans(weights, 64)
    for limit, large in ((10000, 1 << 20), (10000, 8000)):
        monkeypatch.setattr(module, "EXACT_LIMIT", limit)
        monkeypatch.setattr(module, "LARGE", large)
        found, indices = kmeans(weights, 64)
        np.testing.assert_allclose(found[[0, 1, -2, -1]], best[[0, 1, -2, -1]])
        assert error(weights, found, indices) <= error(weights, best, nearest(best, weights)) * (1 + 1e-3)


@pytest.mark.parametrize("clusters", [2, 3, 16, 31, 32, 127, 128, 129, 200])
def test_the_nearest_entry_is_the_same_however_it_is_found(clusters):
    table = np.sort(numbers(clusters))
    weights = np.concatenate([numbers(5000, seed=1), table, (table[1:] + table[:-1]) / 2])
    borders = (table[1:].astype(np.float64) + table[:-1]) / 2
    np.testing.assert_array_equal(nearest(table, weights), np.searchsorted(borders, weights.astype(np.float64)))
