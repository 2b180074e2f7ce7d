import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio

from requant.evaluate.metrics import agreement, divergence, largest_error, psnr, ssim


def pictures(seed, shape=(24, 20, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def test_psnr_of_a_difference_of_one_is_that_of_the_formula():
    a = np.full((4, 4, 3), 100, np.uint8)
    assert psnr(a, a + 1) == pytest.approx(20 * math.log10(255))


def test_psnr_does_not_wrap_around_as_bytes_do():
    a, b = np.zeros((8, 8), np.uint8), np.full((8, 8), 255, np.uint8)
    assert psnr(a, b) == 0
    assert psnr(b, a) == 0


@given(st.integers(0, 1000))
def test_psnr_equals_scikit_images(seed):
    a, b = pictures(seed), pictures(seed + 1)
    assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255))


def test_equal_pictures_are_infinitely_and_wholly_similar():
    assert psnr(pictures(0), pictures(0)) == math.inf
    assert ssim(pictures(0), pictures(0)) == pytest.approx(1)


def test_ssim_falls_with_noise_and_is_unknown_for_tiny_pictures():
    a = np.tile(np.arange(0, 240, 5, dtype=np.uint8), (48, 1))
    noise = np.random.default_rng(0)
    slight, strong = (np.clip(a + noise.normal(0, s, a.shape), 0, 255).astype(np.uint8) for s in (3, 40))
    assert 1 > ssim(a, slight) > ssim(a, strong) > 0
    assert math.isnan(ssim(a[:8, :8], a[:8, :8]))


def test_divergence_is_that_of_the_formula():
    p, q = np.array([[0.5, 0.5]]), np.array([[0.9, 0.1]])
    assert divergence(p, q) == pytest.approx(0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1))
    assert divergence(p, p) == 0


def test_shares_and_errors():
    assert agreement(["a", "b", "c", "d"], ["a", "b", "x", "d"]) == 0.75
    assert largest_error(np.array([1.0, -2.0]), np.array([1.5, 2.0])) == 4
