"""K-means of numbers, that is, in one dimension, where it is a different and much easier problem.

Clusters are intervals, so that all that matters is where one ends and the next begins. The numbers are sorted once;
with prefix sums the sum and the squared error of any interval cost two look-ups. The start is the exact optimum, by
dynamic programming (Wu 1991; Gronlund et al. 2017, arXiv:1701.07204), of the numbers merged into at most `GROUPS`
groups; Lloyd's iterations on all numbers then settle the borders. There is no randomness in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GROUPS = 1024
LEVELLING_ROUNDS = 8
MAX_ITERATIONS = 1000


@dataclass(frozen=True)
class _Points:
    """Sorted distinct numbers with how often each occurs, and prefix sums, one longer, that start with 0."""

    values: NDArray[np.float64]
    count: NDArray[np.float64]
    total: NDArray[np.float64]
    squares: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.float64], weight: NDArray[np.float64]) -> _Points:
        def prefix(x: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.concatenate([[0.0], np.cumsum(x)])

        return cls(values, prefix(weight), prefix(weight * values), prefix(weight * values**2))

    def means(self, edges: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the mean of each interval between two edges; NaN for an empty one."""
        with np.errstate(invalid="ignore"):
            return np.asarray(np.diff(self.total[edges]) / np.diff(self.count[edges]), np.float64)

    def errors(self, edges: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the squared error of each interval around its mean; 0 for an empty one."""
        count, total = np.diff(self.count[edges]), np.diff(self.total[edges])
        mean_part = np.divide(total**2, count, out=np.zeros_like(total), where=count > 0)
        return np.asarray(np.diff(self.squares[edges]) - mean_part, np.float64)


def kmeans(weights: NDArray[np.float32], clusters: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Cluster numbers so that the sum of squared distances to the nearest centre is small.

    Args:
        weights: float32, any shape, at least one number, all finite.
        clusters: 1 to 256.

    Returns:
        The centres in ascending order, float32 (clusters,), the last one repeated where there are fewer distinct
        numbers than clusters, and the index of the nearest centre of each number, uint8 in the shape of `weights`.
    """
    flat = weights.reshape(-1)
    values, counts = np.unique(flat, return_counts=True)
    if len(values) <= clusters:
        table = np.concatenate([values, np.repeat(values[-1:], clusters - len(values))])
        return table, np.searchsorted(values, flat).astype(np.uint8).reshape(weights.shape)
    shift = float(flat.astype(np.float64).mean())  # centred: prefix sums of squares keep their digits
    points = _Points.of(values.astype(np.float64) - shift, counts.astype(np.float64))
    edges = _settle(points, _optimal_start(points, clusters))
    table = (points.means(edges) + shift).astype(np.float32)
    return table, nearest(table, flat).reshape(weights.shape)


def nearest(table: NDArray[np.float32], numbers: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the index, uint8, of the entry of an ascending table that is nearest to each number."""
    borders = (table[1:].astype(np.float64) + table[:-1]) / 2
    return np.searchsorted(borders, numbers.astype(np.float64)).astype(np.uint8)


def _settle(points: _Points, edges: NDArray[np.intp]) -> NDArray[np.intp]:
    """Run Lloyd's iterations: borders halfway between means, means of the new intervals, until nothing moves."""
    for _ in range(MAX_ITERATIONS):
        edges = _refill(points, edges)
        centres = points.means(edges)
        inner = np.searchsorted(points.values, (centres[1:] + centres[:-1]) / 2)
        moved = np.concatenate([[0], inner, [len(points.values)]]).astype(np.intp)
        if np.array_equal(moved, edges):
            break
        edges = moved
    return _refill(points, edges)


def _refill(points: _Points, edges: NDArray[np.intp]) -> NDArray[np.intp]:
    """Give every empty interval one end of the interval with the greatest error that can be split."""
    while (np.diff(edges) == 0).any():
        splittable = np.where(np.diff(edges) > 1, points.errors(edges), -1.0)
        widest = int(splittable.argmax())
        middle = (edges[widest] + edges[widest + 1]) // 2
        empty = int(np.flatnonzero(np.diff(edges) == 0)[0])
        edges = np.sort(np.concatenate([np.delete(edges, empty), [middle]]))
    return edges


def _optimal_start(points: _Points, clusters: int) -> NDArray[np.intp]:
    """Return the edges of the best clusters of the numbers merged into groups of about equal weight."""
    groups = _group_edges(points, max(GROUPS, 2 * clusters))
    count, total, squares = points.count[groups], points.total[groups], points.squares[groups]
    size = len(groups)
    with np.errstate(divide="ignore", invalid="ignore"):  # cost[j, i]: the error of the groups from i to j as one
        cost = squares[:, None] - squares - (total[:, None] - total) ** 2 / (count[:, None] - count)
    cost[np.triu_indices(size)] = np.inf
    best = cost[:, 0].copy()
    choices = np.zeros((clusters, size), np.intp)
    candidates = np.empty_like(cost)
    rows = np.arange(size)
    for cluster in range(1, clusters):
        np.add(cost, best, out=candidates)
        choices[cluster] = candidates.argmin(axis=1)
        best = candidates[rows, choices[cluster]]
    edge = size - 1
    edges = [edge]
    for cluster in range(clusters - 1, -1, -1):
        edge = int(choices[cluster, edge]) if cluster else 0
        edges.append(edge)
    return groups[np.array(edges[::-1], np.intp)]


def _group_edges(points: _Points, groups: int) -> NDArray[np.intp]:
    """Return edges that cut the distinct numbers into at most `groups` groups.

    The groups are even in the cube root of the density, the spacing of good quantizers (Panter and Dite 1951). Between
    two neighbours that is the cube root of the weight times the gap to the power of 2/3; no gap counts for more than a
    group, so that the empty space beside an outlier takes no groups from the rest.
    """
    size = len(points.values)
    if size <= groups:
        return np.arange(size + 1)
    measure = np.cbrt(np.diff(points.count)[:-1]) * np.diff(points.values) ** (2 / 3)
    for _ in range(LEVELLING_ROUNDS):
        measure = np.minimum(measure, measure.sum() / groups)
    position = np.concatenate([[0.0], np.cumsum(measure)])
    cuts = np.searchsorted(position, np.linspace(0, position[-1], groups + 1)[1:-1])
    return np.unique(np.concatenate([[0, size], cuts])).astype(np.intp)
