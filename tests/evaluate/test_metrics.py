import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cosine
from scipy.special import softmax
from scipy.stats import entropy
from skimage.color import rgb2lab
from skimage.metrics import normalized_root_mse, peak_signal_noise_ratio, structural_similarity

from requant.evaluate import metrics
from requant.evaluate.metrics import (
    agreement,
    are_distributions,
    cosines,
    divergence,
    divergences,
    equal,
    flip,
    in_top,
    largest_error,
    powers,
    psnr,
    psnr_of,
    relative_error_of,
    snr_of,
    squared_errors,
    ssim,
)


def pictures(seed, shape=(24, 20, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def arrays(seed, shape=(6, 5, 4)):
    random = np.random.default_rng(seed)
    reference = random.standard_normal(shape)
    return reference, reference + 0.1 * random.standard_normal(shape)


def test_psnr_of_a_difference_of_one_is_that_of_the_formula():
    a = np.full((4, 4, 3), 100, np.uint8)
    assert psnr(a, a + 1) == pytest.approx(20 * math.log10(255))


def test_psnr_does_not_wrap_around_as_bytes_do():
    a, b = np.zeros((8, 8), np.uint8), np.full((8, 8), 255, np.uint8)
    assert psnr(a, b) == 0
    assert psnr(b, a) == 0
    assert squared_errors(a, b).tolist() == [255**2] * 8


@given(st.integers(0, 1000))
def test_psnr_equals_scikit_images(seed):
    a, b = pictures(seed), pictures(seed + 1)
    assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255))


def test_psnr_of_all_pictures_is_that_of_the_mean_of_their_errors():
    a, b = pictures(0, (3, 8, 8, 3)), pictures(1, (3, 8, 8, 3))
    b[0] = a[0]
    errors = squared_errors(a, b)
    assert psnr_of(errors.mean()) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255))
    assert psnr_of(errors).tolist() == pytest.approx([math.inf, psnr(a[1], b[1]), psnr(a[2], b[2])])


def test_equal_pictures_are_infinitely_and_wholly_similar():
    assert psnr(pictures(0), pictures(0)) == math.inf
    assert ssim(pictures(0), pictures(0)) == pytest.approx(1)


def test_ssim_is_that_of_its_authors_settings():
    a, b = pictures(0), pictures(1)
    each = [
        structural_similarity(
            a[..., c], b[..., c], data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for c in range(3)
    ]
    assert ssim(a, b) == pytest.approx(np.mean(each))


def test_ssim_falls_with_noise_and_is_unknown_for_tiny_pictures():
    a = np.tile(np.arange(0, 240, 5, dtype=np.uint8), (48, 1))
    noise = np.random.default_rng(0)
    slight, strong = (np.clip(a + noise.normal(0, s, a.shape), 0, 255).astype(np.uint8) for s in (3, 40))
    assert 1 > ssim(a, slight) > ssim(a, strong) > 0
    assert math.isnan(ssim(a[:8, :8], a[:8, :8]))


def flip_of_colours(first, second):
    """The formulas of the paper for two even areas: there the eye's blur and the features play no part."""

    def hunt(colour):
        lightness, *chroma = rgb2lab(np.array(colour, float).reshape(1, 1, 3) / 255).ravel()
        return np.array([lightness, *(0.01 * lightness * each for each in chroma)])

    def distance(one, other):
        difference = hunt(one) - hunt(other)
        return (abs(difference[0]) + np.hypot(*difference[1:])) ** 0.7

    error, largest = distance(first, second), distance((0, 255, 0), (0, 0, 255))
    knee = 0.4 * largest
    return error * 0.95 / knee if error < knee else 0.95 + 0.05 * (error - knee) / (largest - knee)


@pytest.mark.skipif(metrics.flip_evaluator is None, reason="there is no build of FLIP for this machine")
@pytest.mark.parametrize(
    ("first", "second"),
    [((200, 30, 40), (180, 60, 40)), ((0, 0, 0), (255, 255, 255)), ((128, 128, 128), (130, 128, 127))],
)
def test_flip_of_two_colours_is_that_of_the_formulas(first, second):
    a, b = (np.full((40, 40, 3), colour, np.uint8) for colour in (first, second))
    assert flip(a, b) == pytest.approx(flip_of_colours(first, second), abs=2e-3)
    assert flip(a, a) == 0


@pytest.mark.skipif(metrics.flip_evaluator is None, reason="there is no build of FLIP for this machine")
def test_flip_grows_with_the_noise_and_takes_grey_pictures():
    a = np.tile(np.arange(0, 240, 5, dtype=np.uint8), (48, 1))
    noise = np.random.default_rng(0)
    slight, strong = (np.clip(a + noise.normal(0, s, a.shape), 0, 255).astype(np.uint8) for s in (3, 40))
    assert 0 < flip(a, slight) < flip(a, strong) < 1
    assert flip(a, slight) == flip(*(np.repeat(each[..., None], 3, axis=2) for each in (a, slight)))


def test_snr_and_relative_error_are_those_of_the_formulas():
    a, b = arrays(0)
    signal, noise = powers(a).mean(), squared_errors(a, b).mean()
    assert snr_of(signal, noise) == pytest.approx(10 * math.log10((a**2).sum() / ((b - a) ** 2).sum()))
    assert relative_error_of(signal, noise) == pytest.approx(normalized_root_mse(a, b, normalization="euclidean"))
    assert snr_of(signal, noise) == pytest.approx(-20 * math.log10(relative_error_of(signal, noise)))
    assert snr_of(9.0, 0.09) == pytest.approx(20)
    assert relative_error_of(9.0, 0.09) == pytest.approx(0.1)


def test_where_there_is_no_noise_or_no_signal_the_ratio_says_so():
    assert snr_of([1.0, 0.0, 0.0], [0.0, 0.0, 1.0]).tolist() == [math.inf, math.inf, metrics.LOWEST_DB]
    assert relative_error_of([1.0, 0.0, 0.0], [0.0, 0.0, 1.0]).tolist() == [0, 0, math.inf]


@given(st.integers(0, 1000))
def test_cosine_equals_scipys_of_each_sample(seed):
    a, b = arrays(seed)
    wanted = [1 - cosine(x.ravel(), y.ravel()) for x, y in zip(a, b, strict=True)]
    assert cosines(a, b).tolist() == pytest.approx(wanted)


def test_cosine_of_known_directions_and_of_zeros():
    a = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [3.0, 4.0], [0.0, 0.0], [0.0, 0.0]])
    b = np.array([[7.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [4.0, 3.0], [0.0, 0.0], [1.0, 0.0]])
    assert cosines(a, b).tolist() == pytest.approx([1, 0, -1, 24 / 25, 1, 0])


def test_what_is_looked_at_in_parts_is_the_same_as_a_whole(monkeypatch):
    a, b = arrays(0, (7, 3, 4))
    whole = [squared_errors(a, b), cosines(a, b), largest_error(a, b)]
    monkeypatch.setattr(metrics, "_BLOCK", 24)
    parts = [squared_errors(a, b), cosines(a, b), largest_error(a, b)]
    assert all(np.array_equal(x, y) for x, y in zip(whole, parts, strict=True))
    assert largest_error(a, b) == np.abs(a - b).max()


@given(st.integers(0, 1000))
def test_divergence_equals_scipys(seed):
    random = np.random.default_rng(seed)
    p, q = (softmax(random.standard_normal((4, 7)), axis=1) for _ in range(2))
    assert divergences(p, q).tolist() == pytest.approx([entropy(x, y) for x, y in zip(p, q, strict=True)])
    assert divergence(p, q) == pytest.approx(entropy(p, q, axis=1).mean())


def test_divergence_is_that_of_the_formula_and_never_below_zero():
    p, q = np.array([[0.5, 0.5]]), np.array([[0.9, 0.1]])
    assert divergence(p, q) == pytest.approx(0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1))
    assert divergence(p, p) == 0
    certain, wrong = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    assert divergence(certain, wrong) == pytest.approx(math.log(1e12))
    thirds = np.full((1, 3), 1 / 3)
    assert divergence(thirds, thirds.astype(np.float16)) >= 0


def test_scores_are_no_distributions():
    assert are_distributions(np.array([[0.5, 0.5], [0.0, 1.0]], np.float16))
    assert not are_distributions(np.array([[0.5, 0.5], [-0.1, 1.1]]))
    assert not are_distributions(np.array([[3.0, 1.0]]))


def test_the_right_class_is_among_the_most_probable_or_not():
    classes = list("abcdef")
    probabilities = np.array([[0.4, 0.3, 0.1, 0.1, 0.06, 0.04]] * 4)
    targets = ["a", "b", "f", "unknown"]
    assert in_top(probabilities, classes, targets, 1).tolist() == [True, False, False, False]
    assert in_top(probabilities, classes, targets, 2).tolist() == [True, True, False, False]
    assert in_top(probabilities, classes, targets, 5).tolist() == [True, True, False, False]
    assert in_top(probabilities, classes, targets, 6).tolist() == [True, True, True, False]


def test_of_equal_probabilities_the_first_class_counts():
    assert in_top(np.full((6, 6), 1 / 6), list("abcdef"), list("abcdef"), 5).tolist() == [True] * 5 + [False]


@given(st.integers(0, 1000))
def test_the_top_classes_are_those_of_a_sorted_list(seed):
    random = np.random.default_rng(seed)
    probabilities, targets = random.integers(0, 5, (20, 8)) / 10, [str(x) for x in random.integers(0, 8, 20)]
    order = [sorted(range(8), key=lambda c, row=row: (-row[c], c)) for row in probabilities]
    for count in (1, 5):
        wanted = [target in [str(c) for c in best[:count]] for best, target in zip(order, targets, strict=True)]
        assert in_top(probabilities, [str(c) for c in range(8)], targets, count).tolist() == wanted


def test_shares_and_errors():
    assert agreement(["a", "b", "c", "d"], ["a", "b", "x", "d"]) == 0.75
    assert equal(["a", "b"], ["a", "c"]).tolist() == [True, False]
    assert largest_error(np.array([1.0, -2.0]), np.array([1.5, 2.0])) == 4
