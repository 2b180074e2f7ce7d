import dataclasses
import html.parser
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from requant.convert import FLOAT
from requant.errors import RequantError
from requant.evaluate.data import EvaluationData
from requant.evaluate.outputs import ModelOutputs
from requant.quantize.scheme import Scheme
from requant.report.page import ModelSection, render_page
from requant.report.plots import plot_fidelity
from requant.report.sheet import VariantOutputs, draw_sheet
from requant.report.summary import COLUMNS, fidelity_of, limit_of, read_summary, summarize, write_summary
from requant.report.terminal import print_summaries, short_table


def evaluation(scheme, size, **figures):
    return {
        "scheme": scheme, "file": f"m_{scheme}.mlmodel", "bytes": size, "zip_bytes": size, "ratio": 8e6 / size,
        "bits_per_weight": 32.0 if scheme == FLOAT else 4.1, "ios": "11.2", "macos": "10.13.2", "weight_snr_db": None,
        "untouched": 2, "raised": None, "conversion": None, "type": "NeuralNetwork",
        "data": {"samples": 3, "synthetic": False}, "outputs": {"out": figures},
    }  # fmt: skip


@pytest.fixture
def summary():
    return summarize(
        "m",
        [
            evaluation(FLOAT, 8_000_000, psnr_db=None, ssim=1.0),
            evaluation("linear_16", 4_000_000, psnr_db=None, ssim=1.0),
            evaluation("linear_8", 2_000_000, psnr_db=45.0, ssim=0.99),
            evaluation("kmeans_4", 1_000_000, psnr_db=31.0, ssim=0.9),
            evaluation("linear_4", 1_010_000, psnr_db=22.0, ssim=0.7),
        ],
        {"min_psnr": 30},
    )


def test_the_table_has_the_documented_columns_and_the_advice(summary):
    assert list(summary.table.columns) == list(COLUMNS)
    rows = summary.table.set_index("scheme")
    assert rows["recommended"].to_dict() == {
        "float": False, "linear_16": False, "linear_8": False, "kmeans_4": True, "linear_4": False,
    }  # fmt: skip
    assert rows.loc["linear_16", "psnr_db"] == math.inf
    assert rows.loc["linear_8", "bits"] == 8
    assert not rows.loc["linear_4", "meets_targets"]


def test_every_column_is_documented():
    text = (Path(__file__).parents[2] / "docs/results.md").read_text()
    for column, meaning in COLUMNS.items():
        assert f"| `{column}` | {meaning} |" in text


def test_the_table_comes_back_from_its_file(summary, tmp_path):
    write_summary(summary, tmp_path / "summary.tsv", tmp_path / "judgement.json")
    back = read_summary(tmp_path / "summary.tsv", tmp_path / "judgement.json")
    pd.testing.assert_frame_equal(back.table, summary.table, check_dtype=False, rtol=1e-5)
    assert back.targets == {"min_psnr": 30}
    assert back.recommendation == summary.recommendation
    assert back.table["ios"].tolist() == ["11.2"] * 5


def test_the_most_telling_figure_is_drawn_with_its_limit(summary):
    assert fidelity_of(summary.table)[0] == "psnr_db"
    assert limit_of("psnr_db", summary) == 30
    classifier = summarize(
        "c", [evaluation(FLOAT, 10, accuracy=0.9, float_accuracy=0.9, agreement=1.0)], {"max_accuracy_drop": 0.02}
    )
    assert fidelity_of(classifier.table)[0] == "accuracy"
    assert limit_of("accuracy", classifier) == pytest.approx(0.88)


@pytest.fixture
def trees():
    """Return the summary of a model with nothing to quantize that was not run."""
    record = evaluation(FLOAT, 88_029) | {
        "type": "treeEnsembleRegressor", "bits_per_weight": None, "ratio": 1.0, "outputs": {}, "untouched": 0,
        "data": {"samples": 0, "synthetic": False},
    }  # fmt: skip
    return summarize("trees", [record], {})


@pytest.fixture
def alone():
    """Return the summary of a classifier that is only converted, with labelled data."""
    return summarize("alone", [evaluation(FLOAT, 630_000, accuracy=0.9, float_accuracy=0.9, agreement=1.0)], {})


def test_a_model_with_nothing_to_quantize_has_one_row_that_comes_back_from_its_file(trees, tmp_path):
    (row,) = trees.table.to_dict("records")
    assert (row["scheme"], row["ios"], row["samples"], row["recommended"]) == ("float", "11.2", 0, True)
    assert all(math.isnan(row[name]) for name in ("bits", "bits_per_weight", "weight_snr_db", "accuracy", "max_error"))
    assert trees.targets == {}
    assert trees.variants.empty
    write_summary(trees, tmp_path / "summary.tsv", tmp_path / "judgement.json")
    back = read_summary(tmp_path / "summary.tsv", tmp_path / "judgement.json")
    pd.testing.assert_frame_equal(back.table, trees.table, check_dtype=False)
    assert (back.type, back.recommendation) == ("treeEnsembleRegressor", trees.recommendation)


def test_a_model_without_variants_is_compared_with_nothing_in_the_short_table(trees, alone):
    header, columns, row, reason = short_table(trees).strip().splitlines()
    assert header == "trees: treeEnsembleRegressor, no variants"
    assert columns.split() == ["variant", "MB", "smaller", "runs", "on"]
    assert row.split() == ["float", "0.09", "1.0x", "iOS", "11.2,", "macOS", "10.13.2"]
    assert reason.strip() == trees.recommendation.reason
    header, columns, row, _ = short_table(alone).strip().splitlines()
    assert header == "alone: NeuralNetwork, no variants"
    assert "accuracy" in columns
    assert "90.0 %" in row
    assert "ship this" not in row


def test_the_short_table_names_the_best_of_each_bit_width(summary):
    text = short_table(summary)
    assert "kmeans_4" in text
    assert "<- ship this" in text
    assert "linear_4 " not in text.split("Ship")[0]
    assert "equal" in text


def test_the_short_table_shows_the_recommended_variant_even_if_a_larger_one_is_better():
    rows = [evaluation(FLOAT, 8_000_000, psnr_db=None), evaluation("linear_4", 1_010_000, psnr_db=35.0)]
    summary = summarize("m", [*rows, evaluation("kmeans_4", 1_000_000, psnr_db=31.0)], {"min_psnr": 30})
    assert any("kmeans_4" in line and "<- ship this" in line for line in short_table(summary).splitlines())


def test_without_results_the_command_to_make_them_is_told(tmp_path):
    with pytest.raises(RequantError, match="snakemake --cores all"):
        print_summaries(tmp_path)


def test_the_plot_is_the_same_file_for_the_same_table(summary, tmp_path):
    for name in ("1.svg", "2.svg"):
        plot_fidelity(summary, tmp_path / name)
    assert (tmp_path / "1.svg").read_bytes() == (tmp_path / "2.svg").read_bytes()
    assert (tmp_path / "1.svg").read_text().count("<path") > 20


def variant(scheme, psnr=(20.0,), **groups):
    outputs = ModelOutputs(["0"], [], synthetic=False, **groups)
    return VariantOutputs(Scheme.parse(scheme), outputs, 1.0, list(psnr), scheme == "kmeans_4")


def nothing(_):
    return {}


def test_the_sheet_shows_every_picture_where_its_mode_and_bits_are():
    colours = {"linear_8": (200, 0, 0), "linear_4": (0, 200, 0), "kmeans_4": (0, 0, 200)}
    solid = {n: np.full((1, 8, 8, 3), c, np.uint8) for n, c in colours.items()}
    reference = ModelOutputs(["0"], [], synthetic=False, pictures={"out": np.full((1, 8, 8, 3), 77, np.uint8)})
    data = EvaluationData(["0"], lambda _: {"in": Image.new("RGB", (8, 8), (9, 99, 199))})
    sheet = np.asarray(
        draw_sheet("m", data, reference, 4.0, [variant(n, pictures={"out": p}) for n, p in solid.items()])
    )

    def centre(colour):
        found = np.argwhere((sheet == colour).all(axis=2))
        assert len(found) > 0
        return found.mean(axis=0)

    assert centre(colours["linear_8"])[1] < centre(colours["linear_4"])[1]
    assert centre(colours["linear_4"])[1] == pytest.approx(centre(colours["kmeans_4"])[1], abs=1)
    assert centre(colours["linear_4"])[0] < centre(colours["kmeans_4"])[0]
    assert len(np.argwhere((sheet == (9, 99, 199)).all(axis=2))) > 0


def test_classifiers_and_arrays_have_a_sheet_too():
    labels = ModelOutputs(["0", "1"], ["a", "b"], synthetic=False, labels={"label": ["a", "b"]})
    wrong = variant("linear_4", (), labels={"label": ["a", "a"]})
    assert draw_sheet("m", EvaluationData(["0", "1"], nothing), labels, 1.0, [wrong]).width > 300
    arrays = ModelOutputs(["0"], [], synthetic=False, arrays={"y": np.arange(5.0)[None]})
    noisy = variant("linear_4", (), arrays={"y": np.arange(5.0)[None] + 0.1})
    assert draw_sheet("m", EvaluationData(["0"], nothing), arrays, 1.0, [noisy]).width > 300


class _Checker(html.parser.HTMLParser):
    """Counts tags that are opened and closed, and pictures without a text for those who can't see them."""

    void = frozenset({"meta", "img", "br", "link"})

    def __init__(self):
        super().__init__()
        self.open = []
        self.without_text = 0
        self.text = ""

    def handle_starttag(self, tag, attributes):
        if tag not in self.void:
            self.open.append(tag)
        self.without_text += tag == "img" and not dict(attributes).get("alt")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_is_well_formed_self_contained_and_says_what_to_ship(summary, tmp_path):
    plot_fidelity(summary, tmp_path / "plot.svg")
    Image.new("RGB", (40, 40)).save(tmp_path / "sheet.png")
    section = ModelSection(
        summary, "models_original/<m>.mlmodel", {"m.mlmodel": "ab" * 32}, 8_000_000, "../m", "3 pictures",
        tmp_path / "plot.svg", tmp_path / "sheet.png",
    )  # fmt: skip
    page = render_page([section], "1.0")
    checker = _Checker()
    checker.feed(page)
    assert not checker.open
    assert checker.without_text == 0
    assert summary.recommendation.reason in checker.text
    assert "models_original/<m>.mlmodel" in checker.text
    assert 'href="../m/variants/m_kmeans_4.mlmodel"' in page
    assert "http://" not in page
    assert page == render_page([section], "1.0")


def checked_section(summary, size, data=""):
    """Return the page for one model as a whole and its text, well-formed."""
    section = ModelSection(summary, "models_original/m.mlmodel", {"m.mlmodel": "ab" * 32}, size, "../m", data)
    page = render_page([section], "1.0")
    checker = _Checker()
    checker.feed(page)
    assert not checker.open
    return page, " ".join(checker.text.split())


def test_the_page_shows_a_model_without_variants_in_words(trees, alone):
    page, text = checked_section(trees, 88_029)
    assert "treeEnsembleRegressor, 0.09 MB, from models_original/m.mlmodel." in text
    assert trees.recommendation.reason in text
    assert "iOS 11.2, macOS 10.13.2" in text
    assert "SHA-256 abababababab…" in text
    assert 'href="../m/float/m_float.mlmodel"' in page
    assert not [tag for tag in ("<img", "<table", "<figure", "advice none") if tag in page]
    assert "Evaluated on" not in text
    _, text = checked_section(alone, 630_000, "450 pictures")
    assert "Evaluated on 450 pictures." in text
    assert "90.0%" in text


def test_bytes_are_told_where_megabytes_would_be_none(trees):
    table = trees.table.assign(size_mb=120e-6, zip_mb=235e-6)
    _, text = checked_section(dataclasses.replace(trees, table=table), 120)
    assert "treeEnsembleRegressor, 120 bytes, from" in text
    assert "bytes120 bytes zipped235" in text


CHECKED = {
    "framework": "PyTorch 2.13.0", "samples": 450, "synthetic": False, "ratio_db": 93.1, "max_error": 0.0002,
    "agreement": 1.0, "outputs": {},
}  # fmt: skip


def test_the_check_of_a_conversion_is_in_the_table_and_in_words():
    first = {**evaluation(FLOAT, 8_000_000, psnr_db=None), "conversion": CHECKED}
    variant = {**evaluation("linear_8", 2_000_000, psnr_db=45.0), "conversion": CHECKED}
    summary = summarize("net", [first, variant], {})
    assert summary.table["source_db"].tolist()[0] == 93.1
    assert summary.table[["source_db", "source_max_error", "source_agreement"]].iloc[1].isna().all()
    words = "conversion: 93 dB against PyTorch 2.13.0 (450 samples, largest error 0.0002, 100.00% of the labels agree)"
    assert summary.conversion == words
    assert words in short_table(summary)


def test_a_model_that_was_not_converted_says_nothing_of_a_conversion():
    summary = summarize("net", [evaluation(FLOAT, 8_000_000, psnr_db=None)], {})
    assert summary.conversion == ""
    assert summary.table["source_db"].isna().all()
    assert "conversion" not in short_table(summary)


def test_a_table_of_another_version_is_told_so(tmp_path):
    (tmp_path / "judgement.json").write_text('{"model": "net"}')
    (tmp_path / "summary.tsv").write_text("model\tscheme\tios\tmacos\traised_from_ios\nnet\tfloat\t15\t12\t\n")
    with pytest.raises(RequantError, match=r"summary.tsv was written by another version of requant. Make it anew"):
        read_summary(tmp_path / "summary.tsv", tmp_path / "judgement.json")
