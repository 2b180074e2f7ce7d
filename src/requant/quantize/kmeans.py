"""K-means of numbers, that is, in one dimension, where the best clusters there are can be found.

Clusters are intervals of the sorted numbers, so that clusters of the least error are a shortest path from the first
border to the last with as many links as there are clusters, a link costing the squared error of the numbers that it
spans. That cost is Monge (Wu 1991; Gronlund et al. 2017, arXiv:1701.07204), from which two things follow:

- The least error is convex in the number of clusters. With a penalty for each link, a shortest path of any number of
  links is found in one pass; the penalty is searched at which it has the number asked for. Where the path jumps over
  that number, the two beside it are equally short, and one of the right number is spliced from them (Aggarwal,
  Schieber and Tokuyama 1994).
- The best last links of longer and longer paths begin further and further right. So a pass goes through the borders in
  blocks; for a block all links from borders before it are compared, which is a search for the minima of the rows of a
  totally monotone matrix. A link from inside of the block can only be better once a path has become longer by a whole
  penalty since the block's beginning: there the next block begins.

Errors are summed around a number next to the link's ends, so that no digits are lost to outliers or far from zero.
There is no randomness in it, and what is found depends on the numbers alone, not on their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

EXACT_LIMIT = 1 << 16  # distinct numbers, as many as float16 has; of more, the clusters are near the best
GROUPS, NUMBERS_A_GROUP = 1 << 14, 32  # that more numbers are merged into, at least; in one of them, on average
_ALONE = 512  # numbers at each end that are never merged
_GROUPS_OF_A_CLUSTER = 256  # groups, for few clusters
_GROUPS_A_CLUSTER, _COARSENESS = 16, 16  # of the merged problem that the first penalty of a large one is taken from
_LEVELLING_ROUNDS = 8
_MAX_ITERATIONS = 1000
_FREE_TRIES = 8  # of penalties, before those that are sure to narrow the search
LARGE = 1 << 20  # numbers; of more, neighbours are merged at once, where most are distinct
_BATCH = 1 << 19  # numbers whose clusters are searched at once
_CHUNK = 1 << 18  # numbers that are mapped to indices at once
_FEW_BORDERS, _FEW_NUMBERS = 128, 1 << 15  # that are compared one by one; at once: what the cache holds
_CELLS = 1 << 15  # of a matrix that is filled at once: what the cache holds
_BRANCHES = 8  # rows of a matrix whose minima are found first
_FEW_ROWS, _FEW_CELLS = 16, 1 << 13  # of a matrix whose minima are found by looking at all cells

Edges = NDArray[np.intp]
Floats = NDArray[np.float64]
Weights = NDArray[np.float16] | NDArray[np.float32]


@dataclass(frozen=True)
class Distribution:
    """The distinct numbers of a tensor; it can be made once for several numbers of clusters.

    Attributes:
        values: float32, ascending.
        counts: how often each occurs.
    """

    values: NDArray[np.float32]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, weights: Weights, *, used_up: bool = False) -> Distribution:
        """Return the distribution of float16 or float32 numbers, at least one, all finite.

        Where they are not needed afterwards (`used_up`), they may be sorted in place, which spares memory.
        """
        if weights.dtype == np.float16:
            return cls._of_patterns(weights.reshape(-1).view(np.uint16))
        ordered = weights.astype(np.float32, copy=False).reshape(-1)
        if used_up and ordered.flags.writeable:
            ordered.sort()
        else:
            ordered = np.sort(ordered)
        if ordered.size > LARGE and _count_distinct(ordered) > EXACT_LIMIT:
            return cls._of_runs(ordered)
        return cls._of_sorted(ordered)

    @classmethod
    def _of_patterns(cls, patterns: NDArray[np.uint16]) -> Distribution:
        counts = np.zeros(1 << 16, np.int64)
        for start in range(0, len(patterns), _CHUNK):
            counts += np.bincount(patterns[start : start + _CHUNK], minlength=1 << 16)
        counts[0] += counts[1 << 15]  # -0.0 is 0.0
        counts[1 << 15] = 0
        present = np.flatnonzero(counts)
        values = present.astype(np.uint16).view(np.float16).astype(np.float32)
        order = np.argsort(values)
        return cls(values[order], counts[present[order]])

    @classmethod
    def _of_runs(cls, ordered: NDArray[np.float32]) -> Distribution:
        """Return the means of short runs of very many sorted numbers, which spares memory.

        Zeros make a run of their own, and so does each number near the ends, where the clusters are of few numbers.
        """
        size, tail = len(ordered), LARGE // 8
        middle = np.arange(tail, size - tail, size // LARGE + 1)
        edges = np.concatenate([np.arange(tail), middle, np.arange(size - tail, size + 1)])
        for side in ("left", "right"):
            zero = np.searchsorted(ordered, np.float32(0), side)
            place = np.searchsorted(edges, zero)
            if edges[place] != zero:
                edges = np.insert(edges, place, zero)
        counts = np.diff(edges)
        starts, means = edges[:-1], np.empty(len(counts))
        for first in range(0, len(starts), _CHUNK):
            some = starts[first : first + _CHUNK]
            last = edges[min(first + _CHUNK, len(starts))]
            means[first : first + _CHUNK] = np.add.reduceat(ordered[some[0] : last], some - some[0], dtype=np.float64)
        means /= counts
        values = means.astype(np.float32)
        new = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
        return cls(values[new], np.add.reduceat(counts, new))

    @classmethod
    def _of_sorted(cls, ordered: NDArray[np.float32]) -> Distribution:
        edges = np.ones(len(ordered) + 1, np.bool_)
        np.not_equal(ordered[1:], ordered[:-1], out=edges[1:-1])
        starts = np.flatnonzero(edges)
        values = ordered[starts[:-1]]
        values += np.float32(0)  # -0.0 is 0.0
        return cls(values, np.diff(starts))


def _count_distinct(ordered: NDArray[np.float32]) -> int:
    """Return how many distinct numbers there are among sorted ones."""
    parts = (ordered[start : start + _CHUNK + 1] for start in range(0, len(ordered), _CHUNK))
    return 1 + sum(int((part[1:] != part[:-1]).sum()) for part in parts)


def kmeans(
    weights: Weights, clusters: int, *, keep_zeros: bool = False, distribution: Distribution | None = None
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Cluster numbers so that the sum of squared distances to the nearest centre is the least that there is.

    Of more than `EXACT_LIMIT` distinct numbers, it is the least for the numbers merged into `GROUPS` or more groups,
    with the borders then settled among all numbers by Lloyd's iterations. The error was then at most 1 + 5e-5 times the
    least for 256 clusters, and 1 + 7e-6 for 64 or fewer (70 thousand to 12 million numbers; normal, Laplace's,
    Student's).

    Args:
        weights: float16 or float32, any shape, at least one number, all finite.
        clusters: 1 to 256.
        keep_zeros: whether zeros, where there are any, must stay exactly zero. The centre of the zeros is then 0.0 and
            the others are settled around it by Lloyd's iterations.
        distribution: that of `weights`, if it has been made already.

    Returns:
        The centres in ascending order, float32 (clusters,), the last one repeated where there are fewer distinct
        numbers than clusters, and the index of the nearest centre of each number, uint8 in the shape of `weights`.
    """
    known = Distribution.of(weights) if distribution is None else distribution
    table = _tables([known], clusters, keep_zeros)[0]
    return table, nearest(table, weights)


def kmeans_groups(
    weights: Weights, clusters: int, *, keep_zeros: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Cluster the numbers of each row of a matrix by themselves, as `kmeans` does.

    Args:
        weights: float16 or float32, (groups, n).
        clusters: 1 to 256.
        keep_zeros: as for `kmeans`; a row without zeros is not concerned.

    Returns:
        The table of each row, float32 (groups, clusters), and the indices into it, uint8 (groups, n).
    """
    groups, size = weights.shape
    if size > _BATCH:
        found = [kmeans(row, clusters, keep_zeros=keep_zeros) for row in weights]
        return np.stack([table for table, _ in found]), np.stack([indices for _, indices in found])
    tables = np.empty((groups, clusters), np.float32)
    indices = np.empty((groups, size), np.uint8)
    rows = max(1, _BATCH // size)
    for start in range(0, groups, rows):
        ordered = np.sort(weights[start : start + rows].astype(np.float32), axis=1)
        tables[start : start + rows] = _tables([Distribution._of_sorted(r) for r in ordered], clusters, keep_zeros)
    for group in range(groups):
        indices[group] = nearest(tables[group], weights[group])
    return tables, indices


def kmeans_tables(tensors: Iterable[Weights], clusters: int, *, keep_zeros: bool = False) -> list[NDArray[np.float32]]:
    """Return the table of each of some tensors, those that `kmeans` gives.

    The clusters of several tensors are searched side by side, which is quicker; quickest where tensors of about the
    same size follow one another.

    Args:
        tensors: as for `kmeans`; each is used up: needed only until the next one, and sorted in place if it can be.
        clusters: 1 to 256.
        keep_zeros: as for `kmeans`.
    """
    tables: list[NDArray[np.float32]] = []
    batch: list[Distribution] = []
    largest = 0
    for tensor in tensors:
        one = Distribution.of(tensor, used_up=True)
        if batch and max(largest, len(one.values)) * (len(batch) + 1) > _BATCH:
            tables += _tables(batch, clusters, keep_zeros)
            batch, largest = [], 0
        batch.append(one)
        largest = max(largest, len(one.values))
    return tables + _tables(batch, clusters, keep_zeros)


def nearest(table: NDArray[np.float32], numbers: Weights) -> NDArray[np.uint8]:
    """Return the index, uint8, of the entry of an ascending table that is nearest to each number."""
    borders = (table[1:].astype(np.float64) + table[:-1]) / 2
    flat = numbers.reshape(-1)
    indices = np.empty(len(flat), np.uint8)
    if flat.dtype == np.float16 and len(flat) > 1 << 16:
        every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
        indices_of = np.searchsorted(borders, every.astype(np.float64)).astype(np.uint8)
        for start in range(0, len(flat), _CHUNK):
            indices[start : start + _CHUNK] = indices_of[flat[start : start + _CHUNK].view(np.uint16)]
    elif flat.dtype == np.float32 and len(borders) < _FEW_BORDERS:
        _count_borders(borders, flat, indices)
    else:
        for start in range(0, len(flat), _CHUNK):
            part = flat[start : start + _CHUNK].astype(np.float64)
            indices[start : start + _CHUNK] = np.searchsorted(borders, part)
    return indices.reshape(numbers.shape)


def _count_borders(borders: Floats, numbers: NDArray[Any], counts: NDArray[np.uint8]) -> None:
    """Count the borders below each float32 number: quicker than a search where they are few.

    A border is rounded down to float32, which changes no comparison with a float32 number.
    """
    rounded = borders.astype(np.float32)
    below = np.nextafter(rounded, np.float32(-np.inf))
    rounded = np.where(rounded > borders, below, rounded)
    for start in range(0, len(numbers), _FEW_NUMBERS):
        part = numbers[start : start + _FEW_NUMBERS]
        count = counts[start : start + _FEW_NUMBERS]
        count[:] = 0
        for border in rounded:
            count += part > border


def _tables(distributions: Sequence[Distribution], clusters: int, keep_zeros: bool) -> list[NDArray[np.float32]]:
    """Return the centres of each distribution, all of them searched together."""
    many = [one for one in distributions if len(one.values) > clusters]
    edges = iter(_best_edges(many, clusters))
    tables = []
    for one in distributions:
        if len(one.values) <= clusters:
            tables.append(np.concatenate([one.values, np.repeat(one.values[-1:], clusters - len(one.values))]))
        else:
            tables.append(_centres(one, next(edges), keep_zeros))
    return tables


def _groups(clusters: int) -> int:
    """Return how many groups at least the numbers are merged into, for so many clusters."""
    return min(max(GROUPS // 4, _GROUPS_OF_A_CLUSTER * clusters), GROUPS)


def _best_edges(distributions: Sequence[Distribution], clusters: int) -> list[Edges]:
    """Return where the clusters of each distribution begin, and at last its end."""
    if not distributions:
        return []
    groups = [
        _group_edges(x.values, x.counts, max(_groups(clusters), len(x.values) // NUMBERS_A_GROUP))
        if len(x.values) > EXACT_LIMIT
        else None
        for x in distributions
    ]
    pairs = [_merged(_scaled(x.values), x.counts, cuts) for x, cuts in zip(distributions, groups, strict=True)]
    found, _ = _best_paths(_Problems.of(pairs), clusters)
    return [edges if cuts is None else cuts[edges] for cuts, edges in zip(groups, found, strict=True)]


def _centres(distribution: Distribution, edges: Edges, keep_zeros: bool) -> NDArray[np.float32]:
    """Return the means of the clusters, settled first where they need not be the best or one has to be zero."""
    values = distribution.values
    zero = int(np.searchsorted(values, 0)) if keep_zeros else len(values)
    has_zero = zero < len(values) and values[zero] == 0
    if has_zero or len(values) > EXACT_LIMIT:
        edges = _settle(distribution, edges, zero if has_zero else None)
    starts = edges[:-1]
    totals = np.add.reduceat(distribution.counts * values, starts, dtype=np.float64)
    centres: NDArray[np.float32] = (totals / np.add.reduceat(distribution.counts, starts)).astype(np.float32)
    if has_zero:
        centres[np.searchsorted(edges, zero, side="right") - 1] = 0
    return centres


# The search for the penalty


@dataclass(frozen=True)
class _Problems:
    """Ascending numbers with how often each occurs: a row for each problem, filled up with zeros after its size."""

    values: Floats
    counts: Floats
    sizes: NDArray[np.intp]

    @classmethod
    def of(cls, pairs: Sequence[tuple[Floats, Floats]]) -> _Problems:
        sizes = np.array([len(values) for values, _ in pairs], np.intp)
        values, counts = np.zeros((2, len(pairs), int(sizes.max())))
        for row, (numbers, weights) in enumerate(pairs):
            values[row, : len(numbers)] = numbers
            counts[row, : len(numbers)] = weights
        return cls(values, counts, sizes)

    def __len__(self) -> int:
        return len(self.sizes)

    def row(self, problem: int) -> tuple[Floats, Floats]:
        size = self.sizes[problem]
        return self.values[problem, :size], self.counts[problem, :size]

    def some(self, rows: Sequence[int]) -> _Problems:
        if len(rows) == len(self):
            return self
        return _Problems(self.values[rows], self.counts[rows], self.sizes[rows])


@dataclass(frozen=True)
class _Path:
    """The edges of the best clusters for some penalty, and their error without it; no edges: each number by itself."""

    links: int
    error: float
    edges: Edges | None


class _Search:
    """The search for the best path of a number of links, given the best paths of other numbers of links.

    Attributes:
        penalty: the one to try next; at the end the one that was tried last.
        found: the edges, at the end.
    """

    def __init__(self, clusters: int, values: Floats, counts: Floats, penalty: float | None) -> None:
        self.clusters = clusters
        self.values, self.counts = values, counts
        self.whole = self._path(np.array([0, len(values)]))
        self.few, self.many = self.whole, _Path(len(values), 0.0, None)
        self.penalty = self._high_resolution() if penalty is None else penalty
        self.bounds = (0.0, np.inf)  # of the penalties that give the right number of links
        self.on_chord = False
        self.tries = 0
        self.best: _Path | None = None
        self.found = self.whole.edges if clusters == 1 else None

    def tell(self, edges: Edges) -> None:
        """Take the shortest path for the penalty."""
        path = self._path(edges)
        self.tries += 1
        if path.links == self.clusters or self.best is not None:
            self._finish(path)
            return
        if self.on_chord and not self.few.links < path.links < self.many.links:
            self.found = self._splice()
            return
        self._narrow(path)
        self.penalty = self._next(path.links)

    def _finish(self, path: _Path) -> None:
        """Take a path of the right number of links, if its error is not lost in the rounding of a great penalty.

        If it may be, the penalty becomes the error: another link cannot save more, and one link less costs more.
        """
        better = self.best is None or (path.links == self.clusters and path.error < self.best.error)
        if better:
            self.best = path
        if better and 0 < path.error < self.penalty:
            self.penalty = path.error
        else:
            assert self.best is not None
            self.found = self.best.edges

    def _narrow(self, path: _Path) -> None:
        if path.links < self.clusters:
            self.few = max(self.few, path, key=lambda x: x.links)
            self.bounds = (self.bounds[0], min(self.bounds[1], self.penalty))
        else:
            self.many = min(self.many, path, key=lambda x: x.links)
            self.bounds = (max(self.bounds[0], self.penalty), self.bounds[1])

    def _next(self, links: int) -> float:
        """Return the penalty to try after one that gave a number of links.

        It goes by the third power of the number, as for many clusters of a smooth density. Where that does not help it
        is the penalty at which the two paths beside are equally long. With it there is a shorter path, of a number of
        links between theirs, or all such paths are as long as theirs.
        """
        few, many = self.few, self.many
        penalty = self.penalty * ((links + 1) / (self.clusters + 1)) ** 3
        helps = self.tries < _FREE_TRIES and self.bounds[0] < penalty < self.bounds[1]
        self.on_chord = many.links - few.links == 2 or not helps
        return (few.error - many.error) / (many.links - few.links) if self.on_chord else penalty

    def _path(self, edges: Edges) -> _Path:
        starts, sizes = edges[:-1], np.diff(edges)
        means = np.add.reduceat(self.counts * self.values, starts) / np.add.reduceat(self.counts, starts)
        errors = self.counts * (self.values - np.repeat(means, sizes)) ** 2
        return _Path(len(sizes), float(errors.sum()), edges)

    def _high_resolution(self) -> float:
        """Return the penalty by the error of many clusters of a smooth density (Panter and Dite 1951)."""
        density = float(np.cbrt(self.counts[:-1] * np.diff(self.values) ** 2).sum()) ** 3 / 12
        offset = (density / self.whole.error) ** 0.5 - 1
        return float(2 * density / (self.clusters + offset) ** 3)

    def _splice(self) -> Edges:
        """Return the beginning of the path of many links and the end of that of few, where a link spans another."""
        few, many = self.few.edges, self.many.edges
        assert few is not None
        many = np.arange(len(self.values) + 1) if many is None else many
        ahead = self.clusters - self.few.links
        spans = (few[:-1] <= many[ahead : ahead + len(few) - 1]) & (many[ahead + 1 : ahead + len(few)] <= few[1:])
        link = int(spans.argmax())
        return np.concatenate([many[: link + ahead + 1], few[link + 1 :]])


def _best_paths(problems: _Problems, clusters: int) -> tuple[list[Edges], list[float]]:
    """Return the edges of the best clusters of each problem, and the penalties that gave them."""
    searches = [
        _Search(clusters, *problems.row(row), penalty)
        for row, penalty in enumerate(_first_penalties(problems, clusters))
    ]
    while rows := [row for row, search in enumerate(searches) if search.found is None]:
        forward = _Pass(problems.some(rows), np.array([searches[row].penalty for row in rows]), clusters)
        for place, row in enumerate(rows):
            searches[row].tell(forward.path(place))
    return [search.found for search in searches if search.found is not None], [search.penalty for search in searches]


def _first_penalties(problems: _Problems, clusters: int) -> list[float | None]:
    """Return the penalties that large problems have when their numbers are merged, None for the others."""
    groups = np.maximum(_GROUPS_A_CLUSTER * clusters, problems.sizes // _COARSENESS)
    large = np.flatnonzero(problems.sizes > 4 * groups)
    penalties: list[float | None] = [None] * len(problems)
    if clusters > 1 and len(large):
        rows = [(*problems.row(row), int(groups[row])) for row in large]
        coarse = [_merged(values, counts, _group_edges(values, counts, count)) for values, counts, count in rows]
        for row, penalty in zip(large, _best_paths(_Problems.of(coarse), clusters)[1], strict=True):
            penalties[row] = penalty
    return penalties


# A pass


class _Pass:
    """The shortest paths from the first border to every border, for each problem with its own penalty for a link."""

    def __init__(self, problems: _Problems, penalties: Floats, clusters: int) -> None:
        self.problems = problems
        self.penalties = penalties
        groups, size = problems.values.shape
        self.lengths = np.zeros((groups, size + 1))
        self.last = np.zeros((groups, size + 1), np.int32)  # where the last link begins
        self.done = np.zeros(groups, np.intp)
        self.steps = np.maximum(problems.sizes // (2 * clusters), _BRANCHES)
        active = np.arange(groups)
        while len(active):
            self._advance(active)
            active = active[self.done[active] < problems.sizes[active]]

    def path(self, problem: int) -> Edges:
        last = self.last[problem]
        edges = [int(self.problems.sizes[problem])]
        while edges[-1]:
            edges.append(int(last[edges[-1]]))
        return np.array(edges[::-1], np.intp)

    def _advance(self, active: Edges) -> None:
        """Find as many further paths as the links from borders before them can tell."""
        done, penalties = self.done[active], self.penalties[active, np.newaxis]
        steps = np.minimum(self.steps[active], self.problems.sizes[active] - done)
        first = self.last[active, done]
        begin = -int((done - first).max())
        left, right = self._sums(active, begin, int(steps.max()))
        origins = done[:, np.newaxis] + np.arange(begin, 1)
        lengths = self.lengths[active[:, np.newaxis], np.maximum(origins, 0)]
        lengths[origins < first[:, np.newaxis]] = np.inf
        choices, shortest = _row_minima(_Matrix(lengths + left[2], left[1], left[0], right[1], right[0]))
        shortest += right[2] + penalties
        sure = shortest <= shortest[:, :1] + penalties
        sure[:, 0] = True
        accepted = np.minimum(np.where(sure.all(axis=1), sure.shape[1], sure.argmin(axis=1)), steps)
        problem, row = np.nonzero(np.arange(sure.shape[1]) < accepted[:, np.newaxis])
        place = active[problem], done[problem] + 1 + row
        self.lengths[place] = shortest[problem, row]
        self.last[place] = choices[problem, row] + (done + begin)[problem]
        self.steps[active] = accepted + np.where(accepted == steps, accepted // 2, accepted // 16) + 1
        self.done[active] = done + accepted

    def _sums(self, active: Edges, begin: int, end: int) -> tuple[Floats, Floats]:
        """Return sums of the weights, the numbers and their squares from a middle to the left and to the right.

        The middle is the border up to which paths are known, and the number right of it is taken for zero. It lies
        within all of the links, so that their errors, from the sums of both sides, come out with all their digits.
        """
        done = self.done[active]
        rows = active[:, np.newaxis]
        points = np.clip(done[:, np.newaxis] + np.arange(begin, end), 0, self.problems.values.shape[1] - 1)
        numbers = self.problems.values[rows, points] - self.problems.values[active, done][:, np.newaxis]
        weights = self.problems.counts[rows, points]
        terms = np.stack([weights, weights * numbers, weights * numbers**2])
        left = np.zeros((3, len(active), 1 - begin))
        np.cumsum(terms[:, :, :-begin][:, :, ::-1], axis=2, out=left[:, :, :-1][:, :, ::-1])
        return left, np.cumsum(terms[:, :, -begin:], axis=2)


class _Matrix(NamedTuple):
    """The lengths of paths to borders (rows), less what is the same in a row, by where their last link begins.

    A cell is base - (left_total + right_total)**2 / (left_weight + right_weight). There is a matrix for each problem;
    `base` and the left sums are (problems, columns), the right sums (problems, rows).
    """

    base: Floats
    left_total: Floats
    left_weight: Floats
    right_total: Floats
    right_weight: Floats

    def rows(self, rows: NDArray[np.intp]) -> _Matrix:
        return self._replace(right_total=self.right_total[:, rows], right_weight=self.right_weight[:, rows])

    def part(self, problems: Edges, columns: Edges, rows: Edges) -> _Matrix:
        """Return a matrix for each of some windows: a problem, its columns and its rows."""
        at = problems[:, np.newaxis]
        return _Matrix(*(x[at, columns] for x in self[:3]), *(x[at, rows] for x in self[3:]))


def _row_minima(matrix: _Matrix) -> tuple[Edges, Floats]:
    """Return the column of the minimum of each row, which never moves left from row to row, and the minimum."""
    (problems, width), height = matrix.base.shape, matrix.right_total.shape[1]
    if height <= _FEW_ROWS or height * width <= _FEW_CELLS:
        return _minima_of_all(matrix)
    stride = -(-height // _BRANCHES)
    picked = np.minimum(np.arange(1, -(-height // stride) + 1) * stride, height) - 1
    columns, minima = np.empty((problems, height), np.intp), np.empty((problems, height))
    columns[:, picked], minima[:, picked] = _minima_of_all(matrix.rows(picked))
    bounds = np.maximum.accumulate(np.pad(columns[:, picked], ((0, 0), (1, 0))), axis=1)
    first, last = bounds[:, :-1].ravel(), bounds[:, 1:].ravel()
    problem = np.repeat(np.arange(problems), len(picked))
    rows = np.tile(np.concatenate([[0], picked[:-1] + 1]), problems)[:, np.newaxis] + np.arange(stride - 1)
    rows = np.minimum(rows, height - 1)
    sizes = np.frexp(last - first)[1]
    for size in np.unique(sizes):  # windows of up to twice the width at once
        some = np.flatnonzero(sizes == size)
        window = first[some, np.newaxis] + np.arange(int((last - first)[some].max()) + 1)
        window = np.minimum(window, last[some, np.newaxis])
        found, least = _row_minima(matrix.part(problem[some], window, rows[some]))
        place = problem[some, np.newaxis], rows[some]
        columns[place] = np.minimum(first[some, np.newaxis] + found, last[some, np.newaxis])
        minima[place] = least
    return columns, minima


def _minima_of_all(matrix: _Matrix) -> tuple[Edges, Floats]:
    """Return the column of the minimum of each row, and the minimum, by looking at all cells."""
    (problems, width), height = matrix.base.shape, matrix.right_total.shape[1]
    columns, minima = np.empty((problems, height), np.intp), np.empty((problems, height))
    for first in range(0, problems, step := max(1, _CELLS // (height * width))):
        some = slice(first, first + step)
        for top in range(0, height, down := max(1, _CELLS // width)):
            rows = slice(top, top + down)
            cells = matrix.left_total[some, np.newaxis] + matrix.right_total[some, rows, np.newaxis]
            cells *= cells
            cells /= matrix.left_weight[some, np.newaxis] + matrix.right_weight[some, rows, np.newaxis]
            np.subtract(matrix.base[some, np.newaxis], cells, out=cells)
            least = cells.argmin(axis=2)
            columns[some, rows] = least
            first_cells = np.arange(0, cells.size, width).reshape(least.shape)
            minima[some, rows] = cells.reshape(-1)[first_cells + least]
    return columns, minima


# Merged numbers and Lloyd's iterations


def _scaled(values: NDArray[np.float32]) -> Floats:
    """Return ascending numbers times the power of two that brings the greatest magnitude to 1/2 to 1."""
    exponent = int(np.frexp(np.abs(values[[0, -1]]).max())[1])
    return np.ldexp(values, -exponent, dtype=np.float64)


def _merged(values: NDArray[Any], counts: NDArray[Any], edges: Edges | None) -> tuple[Floats, Floats]:
    """Return the means and weights of the groups of numbers between edges; of each number without edges."""
    if edges is None:
        return values.astype(np.float64), counts.astype(np.float64)
    weights = np.add.reduceat(counts, edges[:-1]).astype(np.float64)
    return np.add.reduceat(counts * values, edges[:-1]) / weights, weights


def _group_edges(values: NDArray[Any], counts: NDArray[Any], groups: int) -> Edges:
    """Return edges that cut the distinct numbers into about `groups` groups.

    Half of them are even in the cube root of the density, the spacing of good quantizers (Panter and Dite 1951).
    Between two neighbours that is the cube root of the weight times the gap to the power of 2/3; no gap counts for more
    than a group, so that the empty space beside an outlier takes no groups from the rest. Half of the cuts are even in
    the number of distinct numbers. The outermost numbers are groups of their own: they may be clusters of their own.
    """
    size, half = len(values), groups // 2
    if size <= groups:
        return np.arange(size + 1)
    measure = np.subtract(values[1:], values[:-1], dtype=np.float64)
    measure *= measure
    measure *= counts[:-1]
    np.cbrt(measure, out=measure)
    for _ in range(_LEVELLING_ROUNDS):
        np.minimum(measure, measure.sum() / half, out=measure)
    position = np.cumsum(measure)
    cuts = np.searchsorted(position, np.linspace(0, position[-1], half + 1)[1:-1]) + 1
    alone = np.arange(min(_ALONE, groups // 8))
    even = np.linspace(0, size, half + 1).astype(np.intp)
    return np.unique(np.concatenate([alone, cuts, even, size - alone]))


def _settle(distribution: Distribution, edges: Edges, zero: int | None) -> Edges:
    """Run Lloyd's iterations: borders halfway between centres, means of the new clusters, until nothing moves.

    The centre of the cluster that holds the number `zero` stays 0.
    """
    values = distribution.values
    totals = _outward_sums(distribution.counts * values)
    weights = _outward_sums(distribution.counts)
    for _ in range(_MAX_ITERATIONS):
        centres = np.diff(totals[edges]) / np.diff(weights[edges])
        if zero is not None:
            centres[np.searchsorted(edges, zero, side="right") - 1] = 0
        inner = np.searchsorted(values, (centres[1:] + centres[:-1]) / 2)
        moved = _refill(distribution, np.concatenate([[0], inner, [len(values)]]))
        if np.array_equal(moved, edges):
            break
        edges = moved
    return edges


def _outward_sums(x: NDArray[Any]) -> Floats:
    """Return prefix sums less their middle one, so that those near the middle are exact whatever the ends hold."""
    middle = len(x) // 2
    sums = np.zeros(len(x) + 1)
    np.cumsum(x[middle:], out=sums[middle + 1 :])
    left = sums[:middle]
    np.cumsum(x[:middle][::-1], out=left[::-1])
    np.negative(left, out=left)
    return sums


def _refill(distribution: Distribution, edges: Edges) -> Edges:
    """Give every empty cluster one end of the widest and heaviest cluster."""
    while (np.diff(edges) == 0).any():
        values, weights = distribution.values, np.diff(edges)
        ends = values[np.maximum(edges[1:] - 1, 0)].astype(np.float64)
        spread = ends - values[np.minimum(edges[:-1], len(values) - 1)]
        widest = int((weights * spread**2).argmax())
        middle = (edges[widest] + edges[widest + 1]) // 2
        empty = int(np.flatnonzero(weights == 0)[0])
        edges = np.sort(np.concatenate([np.delete(edges, empty), [middle]]))
    return edges
