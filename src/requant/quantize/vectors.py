"""K-means of vectors, for tables whose entries are two or four numbers (Core ML's vector palettization).

The codebook grows by splitting, from one centre to all of them, with a few of Lloyd's iterations after each split
(Linde, Buzo and Gray 1980), on a sample of the vectors; it is then settled among all of them, or among `LIMIT` of them
where they are more. Nothing is random: up to that number the vectors are brought into one order first, so that the
result depends on the vectors alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SAMPLE = 256  # distinct vectors for each cluster
_GROWTH = 0.25  # new centres at once, of those there are: only the greatest errors are split
_GROWING_ITERATIONS = 4
_SAMPLE_ITERATIONS = 30
_ITERATIONS = 24
_LEAST_GAIN = 1e-4  # of the error; with less of it the iterations end
_FEW_CENTRES = 64  # up to so many, comparing all of them is faster than a tree
_CHUNK = 1 << 16  # vectors
LIMIT = 1 << 19  # vectors; of more, some are taken for the search of the centres

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class _Vectors:
    """Distinct vectors in lexicographic order with how often each occurs."""

    values: Floats
    counts: Floats

    def sample(self, size: int) -> _Vectors:
        stride = -(-len(self.values) // size)
        return _Vectors(self.values[::stride], self.counts[::stride])


@dataclass(frozen=True)
class _Clusters:
    """The index of the nearest centre of each vector, and the weight and error of each cluster."""

    indices: Indices
    weights: Floats
    errors: Floats

    @classmethod
    def of(cls, vectors: _Vectors, centres: Floats) -> _Clusters:
        indices, squares = _nearest(centres, vectors.values)
        size = len(centres)
        return cls(indices, _sums(indices, vectors.counts, size), _sums(indices, vectors.counts * squares, size))

    def means(self, values: Floats, counts: Floats) -> Floats:
        """Return the weighted mean of some numbers of the vectors in each cluster; 0 in an empty one."""
        sums = np.stack([_sums(self.indices, counts * column, len(self.weights)) for column in values.T], axis=1)
        sums /= np.where(self.weights > 0, self.weights, 1)[:, np.newaxis]
        return sums


def cluster_vectors(vectors: NDArray[Any], clusters: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Cluster vectors so that the sum of squared distances to the nearest centre is small.

    Args:
        vectors: float16 or float32, (n, dimension), at least one, all finite.
        clusters: 1 to 256.

    Returns:
        The centres in lexicographic order, float32 (clusters, dimension), the last one repeated where there are fewer
        distinct vectors than clusters, and the index of the nearest centre of each vector, uint8 (n,).
    """
    if len(vectors) > LIMIT:
        some = vectors[:: (len(vectors) // LIMIT + 1) | 1]  # an odd step: the sizes of tensors are even
        table, _ = cluster_vectors(some, clusters)
        if len(np.unique(table, axis=0)) == clusters:
            return table, nearest_vectors(table, vectors)
    vectors = vectors.astype(np.float32, copy=False)
    order = _lexicographic(vectors)
    ordered = vectors[order] + np.float32(0)  # -0.0 is 0.0
    new = np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))
    starts = np.flatnonzero(new)
    distinct = ordered[starts]
    if len(distinct) <= clusters:
        table = np.concatenate([distinct, np.repeat(distinct[-1:], clusters - len(distinct), axis=0)])
        found = np.arange(len(distinct))
    else:
        counts = np.diff(starts, append=len(ordered)).astype(np.float64)
        centres = _centres(_Vectors(distinct.astype(np.float64), counts), clusters).astype(np.float32)
        table = centres[_lexicographic(centres)]
        found = _nearest(table.astype(np.float64), distinct.astype(np.float64))[0]
    indices = np.empty(len(vectors), np.uint8)
    indices[order] = found[np.cumsum(new) - 1]
    return table, indices


def nearest_vectors(table: NDArray[np.float32], vectors: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the index of the entry of a table (clusters, d) that is nearest to each vector (n, d)."""
    indices = np.empty(len(vectors), np.uint8)
    for start in range(0, len(vectors), _CHUNK):
        part = vectors[start : start + _CHUNK].astype(np.float64)
        indices[start : start + _CHUNK] = _nearest(table.astype(np.float64), part)[0]
    return indices


def _lexicographic(vectors: NDArray[np.float32]) -> Indices:
    """Return the order of vectors by their first number, then by the second and so on."""
    order: Indices = np.lexsort((vectors + np.float32(0)).T[::-1])
    return order


def _centres(vectors: _Vectors, clusters: int) -> Floats:
    sample = vectors.sample(_SAMPLE * clusters)
    centres = np.average(sample.values, axis=0, weights=sample.counts)[np.newaxis]
    while len(centres) < clusters:
        centres = _grown(sample, centres, min(len(centres) + max(1, int(len(centres) * _GROWTH)), clusters))
        centres = _settled(sample, centres, _GROWING_ITERATIONS)
    if len(sample.values) < len(vectors.values):
        centres = _settled(sample, centres, _SAMPLE_ITERATIONS)
    return _settled(vectors, centres, _ITERATIONS)


def _settled(vectors: _Vectors, centres: Floats, iterations: int) -> Floats:
    """Run Lloyd's iterations; a centre without vectors moves into the cluster with the greatest error."""
    before = np.inf
    for _ in range(iterations):
        found = _Clusters.of(vectors, centres)
        empty = np.flatnonzero(found.weights == 0)
        centres = found.means(vectors.values, vectors.counts)
        error = float(found.errors.sum())
        if len(empty):
            centres = _split(vectors, found, centres, empty)
        elif error >= before * (1 - _LEAST_GAIN):
            break
        before = error
    return centres


def _grown(vectors: _Vectors, centres: Floats, size: int) -> Floats:
    """Return more centres, by splitting the clusters with the greatest errors."""
    found = _Clusters.of(vectors, centres)
    more = np.concatenate([centres, np.zeros((size - len(centres), centres.shape[1]))])
    return _split(vectors, found, more, np.arange(len(centres), size))


def _split(vectors: _Vectors, found: _Clusters, centres: Floats, free: Indices) -> Floats:
    """Put free centres beside the centres of the clusters with the greatest errors.

    The two centres of a cluster then lie on both sides of its mean, along the axis on which it is widest, at the mean
    distance of its numbers from that mean. That never makes the error greater.
    """
    widths = found.means(np.abs(vectors.values - centres[found.indices]), vectors.counts)
    widest = np.argsort(-found.errors, kind="stable")[: len(free)]
    free = free[: len(widest)]
    axis = widths[widest].argmax(axis=1)
    shift = np.zeros((len(widest), centres.shape[1]))
    shift[np.arange(len(widest)), axis] = widths[widest, axis]
    moved = centres.copy()
    moved[free] = centres[widest] + shift
    moved[widest] = centres[widest] - shift
    return moved


def _sums(indices: Indices, terms: Floats, size: int) -> Floats:
    return np.bincount(indices, weights=terms, minlength=size).astype(np.float64, copy=False)


def _nearest(centres: Floats, values: Floats) -> tuple[Indices, Floats]:
    """Return the index of the nearest centre of each vector and the square of the distance."""
    from scipy.cluster.vq import vq  # takes longer to import than most variants, which have no vectors, to make
    from scipy.spatial import cKDTree

    indices, distances = np.empty(len(values), np.intp), np.empty(len(values))
    tree = cKDTree(centres) if len(centres) > _FEW_CENTRES else None
    for start in range(0, len(values), _CHUNK):
        part = slice(start, start + _CHUNK)
        if tree is None:
            indices[part], distances[part] = vq(values[part], centres, check_finite=False)
        else:
            distances[part], indices[part] = tree.query(values[part])
    return indices, distances**2
