"""What would ship now against what the last release shipped, on figures made up for the purpose."""

import pytest

from requant.archive.record import ArchivedFile, Made, Original, Release, Software
from requant.archive.regression import regressions
from requant.convert import FLOAT
from requant.report.summary import summarize
from tests.report.test_report import evaluation


def release(recommended="kmeans_4", **figures):
    file = ArchivedFile("f", "0" * 64, 1)
    variants = (Made("kmeans_4", file, file, figures=figures), Made("linear_8", file, file, figures={"psnr_db": 99.0}))
    software = Software("0", "", "", "3.11", {})
    original = Original("m.mlmodel", ())
    return Release(
        "m", "1.0", "", "NeuralNetwork", original, Made(FLOAT, file, file), variants, recommended, (), software
    )


def now(size=1_000_000, **figures):
    rows = [evaluation(FLOAT, 8_000_000, psnr_db=None, ssim=1.0), evaluation("kmeans_4", size, **figures)]
    return summarize("m", rows, {"min_psnr": 20})


def test_what_is_as_good_as_it_was_is_no_regression():
    then = release(size_mb=1.0, psnr_db=31.0)
    assert regressions(now(psnr_db=31.0), then) == []
    assert regressions(now(psnr_db=35.0, size=500_000), then) == []
    assert regressions(now(psnr_db=None), then) == []  # equal now


def test_a_figure_without_an_interval_may_not_be_worse_at_all():
    assert regressions(now(psnr_db=30.9), release(size_mb=1.0, psnr_db=31.0)) == [
        "m: kmeans_4 would ship with PSNR 30.90 dB; release 1.0 shipped kmeans_4 with PSNR 31.00 dB."
    ]


@pytest.mark.parametrize(("psnr", "count"), [(30.2, 0), (29.9, 1)])
def test_a_figure_may_lie_within_its_interval(psnr, count):
    then = release(size_mb=1.0, psnr_db=31.0, psnr_db_low=30.0, psnr_db_high=32.0)
    found = regressions(now(psnr_db=psnr), then)
    assert len(found) == count
    assert all("PSNR 31.00 dB (95 % interval 30.00 dB to 32.00 dB)" in each for each in found)


@pytest.mark.parametrize(("size", "count"), [(1_009_000, 0), (1_020_000, 1)])
def test_a_size_may_grow_by_a_hundredth(size, count):
    found = regressions(now(psnr_db=31.0, size=size), release(size_mb=1.0, psnr_db=31.0))
    assert len(found) == count
    assert all("size 1.020 MB; release 1.0 shipped kmeans_4 with size 1.000 MB" in each for each in found)


def test_only_figures_with_a_target_count():
    then = release(size_mb=1.0, psnr_db=31.0, ssim=0.99)
    assert regressions(now(psnr_db=31.0, ssim=0.5), then) == []


def test_another_variant_is_held_against_the_one_that_shipped():
    rows = [evaluation(FLOAT, 8_000_000, psnr_db=None), evaluation("linear_4", 900_000, psnr_db=25.0)]
    found = regressions(summarize("m", rows, {"min_psnr": 20}), release(size_mb=1.0, psnr_db=31.0))
    assert found == ["m: linear_4 would ship with PSNR 25.00 dB; release 1.0 shipped kmeans_4 with PSNR 31.00 dB."]


def test_without_a_variant_to_ship_there_is_nothing_to_compare():
    assert regressions(now(psnr_db=10.0), release(size_mb=1.0, psnr_db=31.0)) == []
    assert regressions(now(psnr_db=25.0), release(None, size_mb=1.0, psnr_db=31.0)) == []


def test_an_equal_output_that_is_no_longer_equal_is_told():
    found = regressions(now(psnr_db=60.0), release(size_mb=1.0, psnr_db=float("inf")))
    assert len(found) == 1
    assert "PSNR 60.00 dB" in found[0]
