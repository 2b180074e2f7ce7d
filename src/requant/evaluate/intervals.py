"""How sure a figure is: 95 % confidence intervals by a bootstrap over the samples.

The evaluation data is one draw of what could come; other samples of the same kind would give other figures. A bootstrap
draws as many samples from those at hand, again and again, and looks at how the figure varies (Efron & Tibshirani, An
Introduction to the Bootstrap, 1993). The ends are those of its bias-corrected and accelerated form (BCa, chapter 14),
which follows the skew of figures such as an accuracy close to 1. They are taken a little further out, because a
bootstrap of n samples is too narrow by a factor of about sqrt((n - 1) / n), and knows nothing of Student's distribution
(Hesterberg, What Teachers Should Know About the Bootstrap, 2015). It can't make up for samples that are not there: an
interval of fewer than ten samples is too narrow still.

Every figure here is a function of the means of some numbers per sample: the PSNR of the mean squared error, the SNR of
the mean powers of signal and noise, a drop in accuracy of two shares. So the means are drawn once for all figures of an
output, always with the same seed, and a draw keeps together what belongs to one sample (paired).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, ndtr, ndtri, stdtrit

Numbers = NDArray[np.float64]
Interval = tuple[float, float]

CONFIDENCE = 0.95
SEED = 20180604
MOST_NUMBERS = 20_000_000  # drawn for a figure: 10,000 samples then take about half a second
FEWEST_DRAWS, MOST_DRAWS = 1_999, 9_999
_BATCH = 2_000_000  # numbers that are held at a time


@dataclass(frozen=True)
class Statistic:
    """A figure as a function of means.

    Attributes:
        of: names of the numbers per sample whose means it is made of.
        function: takes these means as arrays, gives the figure as an array.
        share: 1 for a share of samples, 2 for the difference of two shares, of which is known what can happen to a
            sample even where it happened to none; 0 for any other figure.
    """

    of: tuple[str, ...]
    function: Callable[..., Any]
    share: int = 0

    def value(self, samples: Mapping[str, NDArray[Any]]) -> float:
        """Return the figure of some samples."""
        return float(self.function(*(np.asarray(samples[name], np.float64).mean() for name in self.of)))


def mean_of(mean: Any) -> Any:
    """Return a figure that is a mean itself."""
    return mean


def intervals(
    samples: Mapping[str, NDArray[Any]], statistics: Mapping[str, Statistic], seed: int = SEED
) -> dict[str, Interval]:
    """Return the 95 % confidence interval of each figure; a figure that has none is left out.

    There is none of a single sample, nor of a figure other than a share that is the same in whatever way samples are
    drawn.

    Args:
        samples: numbers per sample by name, all of the same samples.
        statistics: figures by name.
        seed: of the draws.
    """
    names = list(dict.fromkeys(name for statistic in statistics.values() for name in statistic.of))
    if not names or len(samples[names[0]]) < 2:
        return {}
    numbers = np.array([np.asarray(samples[name], np.float64) for name in names])
    means = drawn_means(numbers, seed)
    found = {}
    for figure, statistic in statistics.items():
        rows = [names.index(name) for name in statistic.of]
        interval = _interval(statistic, numbers[rows], means[rows])
        if interval is not None:
            found[figure] = interval
    return found


def drawn_means(numbers: Numbers, seed: int = SEED) -> Numbers:
    """Return the means of as many samples as there are, drawn with replacement, again and again.

    Args:
        numbers: (kinds of numbers, samples); a draw takes the same samples of all kinds.
        seed: of the draws.

    Returns:
        An array (kinds of numbers, draws).
    """
    samples = numbers.shape[1]
    draws = min(MOST_DRAWS, max(FEWEST_DRAWS, MOST_NUMBERS // samples))
    random = np.random.default_rng(seed)
    step = max(1, _BATCH // samples)
    means = np.empty((len(numbers), draws))
    for start in range(0, draws, step):
        chosen = random.integers(0, samples, (min(step, draws - start), samples))
        for row, values in enumerate(numbers):
            means[row, start : start + len(chosen)] = values[chosen].mean(axis=1)
    return means


def _interval(statistic: Statistic, numbers: Numbers, means: Numbers) -> Interval | None:
    samples = numbers.shape[1]
    value = float(statistic.function(*numbers.mean(axis=1)))
    distribution = np.sort(np.asarray(statistic.function(*means), np.float64))
    if np.isnan(distribution).any():
        return None
    if distribution[0] == distribution[-1]:
        ends = (value, value) if statistic.share else None
    else:
        left_out = (numbers.mean(axis=1, keepdims=True) * samples - numbers) / (samples - 1)
        tails = _tails(distribution, value, np.asarray(statistic.function(*left_out), np.float64))
        last = len(distribution) - 1
        low, high = (int(np.clip(round(tail * len(distribution)), 0, last)) for tail in tails)
        ends = min(float(distribution[low]), value), max(float(distribution[high]), value)
    return _with_unseen(ends, value, statistic, numbers) if ends and statistic.share else ends


def _with_unseen(ends: Interval, value: float, statistic: Statistic, numbers: Numbers) -> Interval:
    """Return the interval of a share, widened by what may happen but was not seen, which no bootstrap can draw.

    Of n samples without an exception, the share of exceptions may still be 1 - 0.025 ** (1 / n), about 3.7 / n (Clopper
    & Pearson 1934): where all are right, some would be wrong; where a variant lost no sample, it would lose some.
    """
    kinds = np.asarray(statistic.function(*numbers))
    samples, lowest, highest = len(kinds), 1.0 - statistic.share, 1.0
    unseen = 1 - ((1 - CONFIDENCE) / 2) ** (1 / samples)
    low = ends[0] if (kinds == lowest).any() else min(ends[0], max(lowest, value - unseen))
    high = ends[1] if (kinds == highest).any() else max(ends[1], min(highest, value + unseen))
    return low, high


def _tails(distribution: Numbers, value: float, left_out: Numbers) -> Interval:
    """Return the shares of the draws that lie below the ends of the interval (BCa, Efron & Tibshirani, 14.3).

    Args:
        distribution: the figure of every draw.
        value: the figure of all samples.
        left_out: the figure without each of the samples (jackknife), for the acceleration.
    """
    below = (np.mean(distribution < value) + np.mean(distribution <= value)) / 2
    bias = float(ndtri(np.clip(below, 1 / len(distribution), 1 - 1 / len(distribution))))
    acceleration = _acceleration(left_out)
    z = float(ndtri(expanded_tail(len(left_out))))
    low, high = (ndtr(bias + (bias + end) / (1 - acceleration * (bias + end))) for end in (z, -z))
    return float(low), float(high)


def _acceleration(left_out: Numbers) -> float:
    """Return how fast the spread of a figure changes with the figure, from its jackknife; 0 where that is unknown."""
    if not np.isfinite(left_out).all():
        return 0.0
    pull = left_out.mean() - left_out
    spread = float(np.square(pull).sum() ** 1.5)
    return float((pull**3).sum()) / (6 * spread) if spread > 0 else 0.0


@lru_cache
def expanded_tail(samples: int) -> float:
    """Return which share of the draws to leave out at each end, for 95 % of samples of this number (Hesterberg 2015).

    It is 2.5 % for very many samples and less for few, as the quantiles of Student's distribution have it.
    """
    t = stdtrit(samples - 1, (1 - CONFIDENCE) / 2)
    return float(ndtr(np.sqrt(samples / (samples - 1)) * t))


def mcnemar(first: Sequence[bool] | NDArray[np.bool_], second: Sequence[bool] | NDArray[np.bool_]) -> float:
    """Return the p value of McNemar's exact test: how likely two models as good as each other differ so much or more.

    Only samples count on which one of the two is right and the other wrong; between equals, it is chance which. The
    test is two-sided (McNemar 1947, exact as in Dietterich, Approximate Statistical Tests, 1998).

    Args:
        first: whether a model was right, for each sample.
        second: the same of the other model on the same samples.

    Returns:
        1 where there is no such sample.
    """
    a, b = np.asarray(first, bool), np.asarray(second, bool)
    only_first, only_second = int((a & ~b).sum()), int((b & ~a).sum())
    together = only_first + only_second
    return min(1.0, 2 * float(bdtr(min(only_first, only_second), together, 0.5)))


def wilcoxon(first: Sequence[float] | Numbers, second: Sequence[float] | Numbers) -> float:
    """Return the p value of the signed-rank test of a figure per sample, of two variants on the same samples.

    The test is two-sided (Wilcoxon 1945). Samples on which both have the same figure say nothing; an infinite figure is
    larger than every other.

    Returns:
        1 where no sample tells the two apart.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    different = a != b
    if not different.any():
        return 1.0
    a, b = a[different], b[different]
    with np.errstate(invalid="ignore"):
        differences = a - b
    finite = np.abs(differences[np.isfinite(differences)])
    beyond = 2 * finite.max(initial=0.0) + 1
    from scipy import stats  # takes longer to import than all that an evaluation needs

    return float(stats.wilcoxon(np.clip(differences, -beyond, beyond)).pvalue)
