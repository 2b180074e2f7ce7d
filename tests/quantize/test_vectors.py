from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from requant.quantize.kmeans import kmeans
from requant.quantize.vectors import cluster_vectors
from tests.building import numbers

DIMENSIONS = st.sampled_from([1, 2, 4])
SHAPES = st.tuples(st.integers(1, 40), DIMENSIONS)
FREE = SHAPES.flatmap(lambda x: arrays(np.float32, x, elements=st.floats(-100, 100, width=32, allow_subnormal=False)))
# Vectors on a coarse grid: many of them are equal.
COARSE = SHAPES.flatmap(lambda x: arrays(np.float32, x, elements=st.integers(-2, 2)))


def distances(vectors, table):
    return np.square(vectors[:, np.newaxis].astype(np.float64) - table).sum(axis=2)


def error(vectors, table, indices):
    return float(np.square(table.astype(np.float64)[indices] - vectors).sum())


def distinct(vectors):
    return np.unique(vectors + np.float32(0), axis=0)


@given(FREE | COARSE, st.sampled_from([1, 2, 3, 16, 256]))
def test_indices_name_the_nearest_entry_of_an_ordered_table(vectors, clusters):
    table, indices = cluster_vectors(vectors, clusters)
    assert table.shape == (clusters, vectors.shape[1])
    assert (table.dtype, indices.dtype) == (np.float32, np.uint8)
    assert sorted(table.tolist()) == table.tolist()
    every = distances(vectors, table)
    chosen = every[np.arange(len(vectors)), indices]
    np.testing.assert_allclose(chosen, every.min(axis=1), rtol=1e-12, atol=0)


@given(COARSE, st.integers(1, 256))
def test_few_distinct_vectors_are_stored_exactly(vectors, clusters):
    if len(distinct(vectors)) > clusters:
        return
    table, indices = cluster_vectors(vectors, clusters)
    np.testing.assert_array_equal(table[indices], vectors)
    np.testing.assert_array_equal(table[: len(distinct(vectors))], distinct(vectors))


@given(FREE | COARSE, st.integers(1, 8), st.randoms(use_true_random=False))
def test_the_order_of_the_vectors_does_not_matter(vectors, clusters, random):
    order = random.sample(range(len(vectors)), len(vectors))
    table, indices = cluster_vectors(vectors, clusters)
    moved, moved_indices = cluster_vectors(vectors[order], clusters)
    np.testing.assert_array_equal(moved, table)
    np.testing.assert_array_equal(moved_indices, indices[order])


@given(FREE | COARSE, st.integers(2, 16))
def test_it_is_no_worse_than_the_mean(vectors, clusters):
    rounding = 1e-6 * (1 + np.square(vectors).sum())
    assert (
        error(vectors, *cluster_vectors(vectors, clusters)) <= error(vectors, *cluster_vectors(vectors, 1)) + rounding
    )


def test_one_cluster_is_the_mean():
    table, indices = cluster_vectors(np.float32([[1, 2], [3, 6], [5, 1]]), 1)
    np.testing.assert_array_equal(table, [[3, 3]])
    np.testing.assert_array_equal(indices, [0, 0, 0])


def test_clusters_far_from_each_other_are_found():
    heap = np.float32([[-1, 0], [1, 0], [0, -1], [0, 1]])
    vectors = np.concatenate([heap + 100, heap * [1, 2] + [-50, 80], heap, heap / 2 - [30, 300]]).astype(np.float32)
    table, indices = cluster_vectors(vectors, 4)
    np.testing.assert_array_equal(table, [[-50, 80], [-30, -300], [0, 0], [100, 100]])
    np.testing.assert_array_equal(indices, np.repeat([3, 0, 2, 1], 4))


@pytest.mark.parametrize("dimension", [2, 4])
@pytest.mark.parametrize("scale", [1, 1e-3])
def test_more_clusters_leave_less_error(dimension, scale):
    vectors = numbers(6000, dimension, scale=scale)
    errors = [error(vectors, *cluster_vectors(vectors, 1 << bits)) for bits in range(9)]
    assert all(more < less for less, more in pairwise(errors))
    # High resolution: a vector of d numbers has 2**(2 / d) times less error with twice the clusters, or nearly so.
    assert errors[4] < 1.7 * errors[8] * 2 ** (4 * 2 / dimension)


@pytest.mark.parametrize("clusters", [4, 16])
def test_pairs_beat_single_numbers_with_as_many_bits(clusters):
    vectors = numbers(8000, 2)
    table, indices = kmeans(vectors, clusters)
    single = float(np.square(table.astype(np.float64)[indices] - vectors).sum())
    assert error(vectors, *cluster_vectors(vectors, clusters**2)) < single


@pytest.mark.parametrize("dimension", [2, 4])
def test_numbers_are_not_touched_and_every_entry_is_used(dimension):
    vectors = numbers(5000, dimension)
    indices = cluster_vectors(vectors, 64)[1]
    np.testing.assert_array_equal(vectors, numbers(5000, dimension))
    assert len(np.unique(indices)) == 64


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_it_comes_near_to_the_best_for_single_numbers(seed):
    vectors = numbers(2000, 1, seed=seed)
    assert error(vectors, *cluster_vectors(vectors, 8)) < 1.05 * error(vectors, *kmeans(vectors, 8))
