"""What is shown of very many variants."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from requant.convert import FLOAT
from requant.evaluate.data import EvaluationData
from requant.evaluate.outputs import ModelOutputs
from requant.quantize.scheme import Scheme
from requant.report.chart import chart_spec
from requant.report.front import pareto_front, worth_showing
from requant.report.plots import MOST_LINES, plot_fidelity
from requant.report.sheet import MOST_VARIANTS, VariantOutputs, draw_sheet
from requant.report.summary import summarize
from tests.report.test_report import evaluation

NAMES = [f"prune_{percent}_kmeans_{bits}" for percent in range(1, 100) for bits in (8, 6, 4, 3, 2, 1)]


def many(count, seed=0):
    random = np.random.default_rng(seed)
    sizes, fidelity = random.integers(1_000_000, 8_000_000, count), random.uniform(5, 50, count)
    variants = [
        evaluation(name, int(size), psnr_db=float(psnr), ssim=0.9)
        for name, size, psnr in zip(NAMES, sizes, fidelity, strict=False)
    ]
    return summarize("m", [evaluation(FLOAT, 8_000_000, psnr_db=None, ssim=1.0), *variants], {"min_psnr": 30})


def test_all_are_shown_where_there_is_room():
    summary = many(20)
    assert worth_showing(summary, 20) == list(summary.variants["scheme"])


@pytest.mark.parametrize("seed", range(5))
def test_of_many_the_recommended_the_front_and_the_best_of_each_bit_width_are_shown(seed):
    summary = many(500, seed)
    shown = worth_showing(summary, 64)
    rows = summary.variants.set_index("scheme")
    assert len(shown) == len(set(shown)) == 64
    assert summary.recommendation.scheme in shown
    for name, row in rows.iterrows():
        smaller = rows[rows["size_mb"] <= row["size_mb"]].drop(name)
        if not (smaller["psnr_db"] >= row["psnr_db"]).any():
            assert name in shown
    for _, same in rows.groupby("bits"):
        assert same["psnr_db"].idxmax() in shown


def test_a_front_that_is_too_long_is_thinned_evenly():
    records = [evaluation(name, 10_000 * (index + 1), psnr_db=5 + 0.1 * index, ssim=0.9)
               for index, name in enumerate(NAMES[:300])]  # fmt: skip
    summary = summarize("m", [evaluation(FLOAT, 8_000_000, psnr_db=None, ssim=1.0), *records], {"min_psnr": 30})
    shown = worth_showing(summary, 30)
    places = [index for index, name in enumerate(NAMES[:300]) if name in shown]
    assert len(shown) == 30
    assert (places[0], places[-1]) == (0, 299)
    assert max(np.diff(places)) < 30


def test_what_has_no_figure_is_not_in_the_way():
    records = [evaluation(name, 10_000, ssim=0.9) for name in NAMES[:100]]
    summary = summarize("m", [evaluation(FLOAT, 8_000_000, ssim=1.0), *records], {})
    assert len(worth_showing(summary, 64)) == 64


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=20))
def test_no_row_beats_one_on_the_front_and_one_on_it_is_as_good_as_any_other(pairs):
    table = pd.DataFrame(pairs, columns=["size_mb", "figure"]).astype(float)
    front = pareto_front(table, "figure")
    for _, row in table.iterrows():
        assert ((front["size_mb"] <= row["size_mb"]) & (front["figure"] >= row["figure"])).any()
    assert front["size_mb"].is_monotonic_increasing
    assert front["figure"].is_monotonic_increasing


def test_very_many_families_are_drawn_as_points(tmp_path):
    summary = many(500)
    assert summary.variants["family"].nunique() > MOST_LINES
    plot_fidelity(summary, tmp_path / "many.svg")
    text = (tmp_path / "many.svg").read_text()
    assert text.count("<use") > 500
    assert len(text) < 400_000


def test_the_chart_takes_more_rows_than_altair_allows():
    summary = many(500)
    rows = pd.concat([summary.table, *[summary.variants] * 12], ignore_index=True)
    specification = chart_spec(
        type(summary)(summary.model, summary.type, rows, summary.targets, summary.recommendation)
    )
    assert max(map(len, specification["datasets"].values())) > 6000


def test_a_sheet_of_many_families_of_pictures_can_be_opened():
    reference = ModelOutputs(["0", "1"], [], synthetic=False, pictures={"out": np.zeros((2, 8, 8, 3), np.uint8)})
    variants = [VariantOutputs(Scheme.parse(name), reference, 1.0, [20.0, 20.0], recommended=False)
                for name in NAMES[::6][:MOST_VARIANTS]]  # fmt: skip
    sheet = draw_sheet("m", EvaluationData(["0", "1"], lambda _: {}), reference, 4.0, variants)
    assert sheet.height < 16_384
