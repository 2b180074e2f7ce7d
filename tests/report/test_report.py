import dataclasses
import html.parser
import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from requant.convert import FLOAT
from requant.coreml.systems import system_named
from requant.errors import RequantError
from requant.evaluate.data import EvaluationData
from requant.evaluate.outputs import ModelOutputs
from requant.quantize.scheme import Scheme
from requant.report.check import check_judgements
from requant.report.page import ModelSection, render_page
from requant.report.plots import plot_fidelity
from requant.report.sheet import VariantOutputs, draw_sheet
from requant.report.summary import COLUMNS, fidelity_of, limit_of, read_summary, spread_of, summarize, write_summary
from requant.report.terminal import print_summaries, short_table


def evaluation(scheme, size, **figures):
    return {
        "scheme": scheme, "file": f"m_{scheme}.mlmodel", "bytes": size, "zip_bytes": size, "ratio": 8e6 / size,
        "bits_per_weight": 32.0 if scheme == FLOAT else 4.1, "ios": "11.2", "macos": "10.13.2", "weight_snr_db": None,
        "untouched": 2, "raised": None, "conversion": None, "type": "NeuralNetwork",
        "data": {"samples": 3, "synthetic": False}, "outputs": {"out": figures}, "metrics": {}, "spec_version": 2,
        "tensors": [{"requested": name} for name in ([""] if scheme == FLOAT else [scheme, "untouched"])],
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
        "c", [evaluation(FLOAT, 10, accuracy=0.9, accuracy_drop=0.0, agreement=1.0)], {"max_accuracy_drop": 0.02}
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
    without_scripts = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert "http://" not in without_scripts
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
    assert f"SHA-256 {32 * 'ab'}" in text
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


@pytest.fixture
def judged():
    """Return the summary of a classifier with intervals, a test and a metric of the user's."""
    sure = {"accuracy": 0.989, "accuracy_low": 0.980, "accuracy_high": 0.995, "agreement": 1.0}
    float_model = evaluation(FLOAT, 8_000_000, **sure, float_accuracy=0.989, accuracy_drop=0.0)
    variants = [
        evaluation(
            scheme, size, **sure, float_accuracy=0.989, accuracy_drop=drop, accuracy_drop_low=drop - 0.01,
            accuracy_drop_high=drop + 0.012, accuracy_p=p, kl_divergence=0.0123, top5_accuracy=1.0,
        )
        for scheme, size, drop, p in (("kmeans_8", 2_000_000, 0.0, 1.0), ("kmeans_4", 1_000_000, 0.05, 0.002))
    ]  # fmt: skip
    for record, value in zip((float_model, *variants), (0.0, 0.25, 0.75), strict=True):
        record["metrics"] = {"loss": {"value": value, "low": value - 0.125, "high": value + 0.0625}}
    return summarize("m", [float_model, *variants], {"max_accuracy_drop": 0.01, "max_metric_loss": 0.5})


def test_the_users_metrics_are_columns_before_the_last_two(judged):
    own = ["metric_loss", "metric_loss_low", "metric_loss_high"]
    assert list(judged.table.columns) == [*list(COLUMNS)[:-2], *own, "meets_targets", "recommended"]
    assert judged.table["metric_loss"].tolist() == [0, 0.25, 0.75]
    assert judged.table["meets_targets"].tolist() == [True, True, False]
    assert "loss 0.75, wanted at most 0.5" in judged.recommendation.reason


def test_an_interval_reaches_as_far_as_its_further_end():
    assert spread_of({"x": 1.0, "x_low": 0.5, "x_high": 1.25}, "x") == 0.5
    assert spread_of({"x": 40.0, "x_low": 38.0, "x_high": math.inf}, "x") == 2
    assert math.isnan(spread_of({"x": 1.0, "x_low": math.nan, "x_high": math.nan}, "x"))
    assert math.isnan(spread_of({"x": 1.0}, "x"))


def test_the_short_table_shows_intervals(judged, summary):
    lines = short_table(judged).splitlines()
    assert "98.9 % ±0.9  iOS" in lines[3]
    assert len({line.index("iOS") for line in lines if "iOS" in line}) == 1
    assert lines[1].index("runs on") == lines[2].index("iOS")
    assert "±" not in short_table(summary)


def has_column(page, heading):
    return re.search(rf'<th scope="col" class="number">(<button[^>]*>)?{heading}<', page) is not None


def test_the_page_shows_intervals_and_what_else_there_is(judged, summary):
    page, text = checked_section(judged, 8_000_000)
    assert "98.9% <small>±0.9</small>" in page
    headings = ("accuracy", "p", "top-5 accuracy", "agreement", "divergence", "loss")
    assert all(has_column(page, heading) for heading in headings)
    assert "0.25 <small>±0.125</small>" in page
    assert "not distinguishable from the float model on these 3 samples (p = 1)" in text
    other, _ = checked_section(summary, 8_000_000)
    assert not [heading for heading in headings if has_column(other, heading)]


def test_intervals_are_drawn(judged, tmp_path):
    plot_fidelity(judged, tmp_path / "with.svg")
    bare = judged.table.assign(accuracy_low=math.nan, accuracy_high=math.nan)
    plot_fidelity(dataclasses.replace(judged, table=bare), tmp_path / "without.svg")
    with_, without = ((tmp_path / f"{name}.svg").read_text().count("<path") for name in ("with", "without"))
    assert with_ > without


def test_the_judgement_carries_the_advice_as_data(judged, tmp_path):
    write_summary(judged, tmp_path / "summary.tsv", tmp_path / "judgement.json")
    record = json.loads((tmp_path / "judgement.json").read_text())
    assert (record["recommended"], record["variants"], record["acceptable"]) == ("kmeans_8", 2, ["kmeans_8"])
    assert record["unsure"] == ["max_accuracy_drop"]
    assert [miss["target"] for miss in record["next_smaller"]["missed"]] == ["max_accuracy_drop", "max_metric_loss"]
    assert record["runner_up"] is record["closest"] is None
    assert read_summary(tmp_path / "summary.tsv", tmp_path / "judgement.json").recommendation == judged.recommendation


def test_every_key_of_the_judgement_is_documented(judged, tmp_path):
    write_summary(judged, tmp_path / "summary.tsv", tmp_path / "judgement.json")
    text = (Path(__file__).parents[2] / "docs/results.md").read_text()
    assert all(f"`{key}`" in text for key in json.loads((tmp_path / "judgement.json").read_text()))


def test_a_deployment_target_that_is_missed_leaves_the_float_model(tmp_path):
    rows = [evaluation(FLOAT, 8_000_000, psnr_db=None), evaluation("linear_8", 2_000_000, psnr_db=45.0)]
    for record in rows:
        record["spec_version"] = 9
    summary = summarize("m", rows, {"min_psnr": 30}, system_named("iOS16"))
    assert summary.recommendation.scheme is None
    assert summary.system == "iOS 16, macOS 13"
    assert not summary.table["meets_targets"].any()


def judgements(folder, *summaries):
    paths = []
    for summary in summaries:
        paths.append(folder / f"{summary.model}.json")
        write_summary(summary, folder / f"{summary.model}.tsv", paths[-1])
    return paths


def test_the_check_says_what_each_model_comes_to(judged, trees, tmp_path):
    assert check_judgements(judgements(tmp_path, judged, trees)) == {
        "models": {
            "m": {"variants": 2, "acceptable": 1, "recommended": "kmeans_8"},
            "trees": {"variants": 0, "acceptable": 0, "recommended": None},
        }
    }


def test_the_check_fails_with_a_line_for_each_model_without_an_acceptable_variant(judged, tmp_path):
    rows = [evaluation(FLOAT, 8_000_000, psnr_db=None), evaluation("linear_2", 500_000, psnr_db=12.0)]
    bad = [summarize(name, rows, {"min_psnr": 30}) for name in ("one", "two")]
    with pytest.raises(RequantError) as told:
        check_judgements(judgements(tmp_path, judged, *bad))
    closest = "The closest is linear_2: PSNR 12.0 dB, wanted at least 30.0 dB."
    assert str(told.value).splitlines() == [
        "the check has failed:",
        f"  one: none of its variants (1) is acceptable. {closest}",
        f"  two: none of its variants (1) is acceptable. {closest}",
    ]


def test_a_table_of_another_version_does_not_hide_the_others(summary, tmp_path, capsys):
    for name in ("m", "old"):
        (tmp_path / name).mkdir()
        write_summary(summary, tmp_path / name / "summary.tsv", tmp_path / name / "judgement.json")
    (tmp_path / "old" / "judgement.json").write_text('{"model": "old"}')
    print_summaries(tmp_path)
    shown = capsys.readouterr().out
    assert summary.recommendation.reason in shown
    assert f"old: {tmp_path / 'old' / 'summary.tsv'} was written by another version of requant" in shown
