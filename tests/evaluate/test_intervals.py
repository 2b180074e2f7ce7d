import math
import time

import numpy as np
import pytest
from scipy import stats

from requant.evaluate import intervals as module
from requant.evaluate.intervals import Statistic, drawn_means, expanded_tail, intervals, mcnemar, mean_of, wilcoxon
from requant.evaluate.metrics import psnr_of, snr_of

REPETITIONS = 400
MEAN = {"figure": Statistic(("x",), mean_of)}
SHARE = {"figure": Statistic(("x",), mean_of, share=1)}
DROP = {"figure": Statistic(("float", "variant"), np.subtract, share=2)}


def interval(statistics=MEAN, **samples):
    return intervals({name: np.asarray(values) for name, values in samples.items()}, statistics)["figure"]


@pytest.fixture
def _few_draws(monkeypatch):
    monkeypatch.setattr(module, "MOST_DRAWS", 1_999)


def coverage(truth, draw, statistics):
    """Return in how many of many repetitions the interval holds the truth."""
    random = np.random.default_rng(7)
    found = [interval(statistics, **draw(random)) for _ in range(REPETITIONS)]
    return np.mean([low - 1e-12 <= truth <= high + 1e-12 for low, high in found])


@pytest.mark.usefixtures("_few_draws")
@pytest.mark.parametrize(("samples", "accuracy"), [(200, 0.5), (450, 0.9), (1000, 0.97)])
def test_the_interval_of_an_accuracy_holds_the_truth_19_times_in_20(samples, accuracy):
    assert 0.9 <= coverage(accuracy, lambda random: {"x": random.random(samples) < accuracy}, SHARE) <= 0.98


@pytest.mark.parametrize("accuracy", [0.8, 0.9, 0.95, 0.99])
def test_of_few_samples_the_interval_of_an_accuracy_holds_the_truth_no_less_often(accuracy):
    right = np.arange(51)
    held = [
        low - 1e-12 <= accuracy <= high + 1e-12 for low, high in (interval(SHARE, x=np.arange(50) < k) for k in right)
    ]
    assert (stats.binom.pmf(right, 50, accuracy) * held).sum() >= 0.95


@pytest.mark.usefixtures("_few_draws")
@pytest.mark.parametrize("samples", [10, 20, 200])
def test_the_interval_of_a_mean_holds_the_truth_19_times_in_20(samples):
    assert 0.9 <= coverage(3.0, lambda random: {"x": random.normal(3, 2, samples)}, MEAN) <= 0.98


@pytest.mark.usefixtures("_few_draws")
def test_the_interval_of_a_skewed_error_holds_the_truth_in_decibels():
    truth = 10 * math.log10(255**2 / 8)  # of squared errors that follow a gamma distribution with mean 4 * 2
    statistics = {"figure": Statistic(("error",), psnr_of)}
    assert 0.9 <= coverage(truth, lambda random: {"error": random.gamma(4, 2, 60)}, statistics) <= 0.98


@pytest.mark.usefixtures("_few_draws")
@pytest.mark.parametrize(("losses", "gains"), [(0.05, 0.02), (0.01, 0.005)])
def test_the_interval_of_a_drop_in_accuracy_holds_the_truth(losses, gains):
    def draw(random):
        what = random.random(450)
        return {
            "float": (what < losses) | (what > 0.1),
            "variant": (what >= losses) & (what < losses + gains) | (what > 0.1),
        }

    assert 0.9 <= coverage(losses - gains, draw, DROP) <= 0.98


def test_the_ends_are_those_of_scipys_bootstrap():
    values = np.random.default_rng(1).lognormal(size=80)
    level = 1 - 2 * expanded_tail(80)
    wanted = stats.bootstrap(
        (values,), np.mean, method="BCa", n_resamples=9_999, confidence_level=level, batch=500,
        random_state=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    low, high = interval(x=values)
    assert (low, high) == pytest.approx((wanted.low, wanted.high), abs=0.03 * (wanted.high - wanted.low))


def test_the_ends_of_a_ratio_are_those_of_scipys_paired_bootstrap():
    random = np.random.default_rng(2)
    signal = random.gamma(3, 1, 60)
    noise = 0.01 * signal * random.gamma(2, 1, 60)
    wanted = stats.bootstrap(
        (signal, noise), lambda a, b, axis: snr_of(a.mean(axis), b.mean(axis)), paired=True, vectorized=True,
        n_resamples=9_999, confidence_level=1 - 2 * expanded_tail(60), method="BCa", batch=500,
        random_state=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    low, high = interval({"figure": Statistic(("signal", "noise"), snr_of)}, signal=signal, noise=noise)
    assert (low, high) == pytest.approx((wanted.low, wanted.high), abs=0.04 * (wanted.high - wanted.low))


def test_the_ends_are_further_out_for_few_samples():
    assert expanded_tail(10**6) == pytest.approx(0.025, abs=1e-5)
    assert expanded_tail(20) == pytest.approx(stats.norm.cdf(-math.sqrt(20 / 19) * stats.t.ppf(0.975, 19)))


def test_a_drop_is_drawn_in_pairs():
    right = np.arange(200) % 2
    changed = right.copy()
    changed[:6] = 1 - changed[:6]
    paired = interval(DROP, float=right, variant=changed)
    shuffled = interval(DROP, float=right, variant=np.random.default_rng(0).permutation(changed))
    assert paired[1] - paired[0] < 0.3 * (shuffled[1] - shuffled[0])


def test_one_sample_has_no_interval_nor_has_what_is_always_the_same():
    assert intervals({"x": np.array([1.0])}, {**MEAN, "share": SHARE["figure"]}) == {}
    assert intervals({"x": np.full(50, 0.25)}, MEAN) == {}
    assert intervals({"x": np.zeros(50)}, {"psnr": Statistic(("x",), psnr_of)}) == {}
    assert intervals({}, {}) == {}


def test_what_was_never_seen_may_happen_all_the_same():
    unseen = 1 - 0.025 ** (1 / 450)
    exact = stats.binomtest(450, 450).proportion_ci(method="exact")
    assert interval(SHARE, x=np.ones(450)) == pytest.approx((exact.low, 1))
    assert interval(SHARE, x=np.ones(450)) == pytest.approx((1 - unseen, 1))
    assert interval(SHARE, x=np.zeros(450)) == pytest.approx((0, unseen))
    right = np.arange(450) > 20
    assert interval(DROP, float=right, variant=right) == pytest.approx((-unseen, unseen))
    gained = right.copy()
    gained[0] = True
    low, high = interval(DROP, float=right, variant=gained)
    assert high == pytest.approx(unseen - 1 / 450)
    assert -0.02 < low < -1 / 450


def test_an_infinite_end_stays_one():
    low, high = interval({"figure": Statistic(("x",), psnr_of)}, x=np.array([0.0, 0.0, 0.0, 4.0]))
    assert high == math.inf
    assert low == pytest.approx(psnr_of(4.0), abs=1.5)


def test_the_same_samples_give_the_same_interval():
    values = np.random.default_rng(3).normal(size=50)
    assert interval(x=values) == interval(x=values)
    assert intervals({"x": values}, MEAN, seed=1) != intervals({"x": values}, MEAN, seed=2)


def test_the_figure_lies_in_its_interval():
    random = np.random.default_rng(4)
    for _ in range(50):
        values = random.random(30) < 0.95
        low, high = interval(SHARE, x=values)
        assert 0 <= low <= values.mean() <= high <= 1


def test_what_is_drawn_in_parts_is_all_drawn(monkeypatch):
    monkeypatch.setattr(module, "_BATCH", 1_000)
    means = drawn_means(np.random.default_rng(0).normal(size=(1, 30)))
    assert means.shape == (1, 9_999)
    assert means.std() == pytest.approx(1 / math.sqrt(30), rel=0.3)


def test_ten_thousand_samples_take_a_second_or_so():
    samples = {name: np.random.default_rng(5).random(10_000) for name in "abc"}
    start = time.process_time()
    intervals(samples, {name: Statistic((name,), mean_of) for name in samples})
    assert time.process_time() - start < 5


def models(both=40, first=0, second=0, none=10):
    """Return whether two models are right: on how many samples both, only the first, only the second, none."""
    return (
        [True] * (both + first) + [False] * (second + none),
        [True] * both + [False] * first + [True] * second + [False] * none,
    )


@pytest.mark.parametrize(("first", "second"), [(1, 0), (5, 1), (10, 2), (3, 3), (0, 6), (25, 14)])
def test_mcnemar_is_the_two_sided_tail_of_a_fair_coin(first, second):
    count, least = first + second, min(first, second)
    tail = sum(math.comb(count, k) for k in range(least + 1)) / 2**count
    assert mcnemar(*models(first=first, second=second)) == pytest.approx(min(1, 2 * tail))


def test_mcnemar_of_known_cases():
    assert mcnemar(*models(first=6, second=0)) == pytest.approx(2 / 64)
    assert mcnemar(*models()) == 1


def test_the_signed_rank_test_finds_a_shift_and_no_more():
    assert wilcoxon([1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, 0]) == pytest.approx(2 / 2**6)
    assert wilcoxon([1, 2, 3], [1, 2, 3]) == 1
    assert wilcoxon([math.inf, 40, 41], [math.inf, 40, 41]) == 1
    random = np.random.default_rng(6)
    first = random.normal(30, 3, 40)
    assert wilcoxon(first, first + random.normal(1, 0.5, 40)) < 0.001
    assert wilcoxon(first, first + random.normal(0, 0.5, 40)) > 0.05


def test_an_infinite_figure_ranks_above_all():
    assert wilcoxon([math.inf, math.inf, 30, 31, 32, 33], [35, 40, 20, 20, 20, 20]) == pytest.approx(2 / 2**6)
