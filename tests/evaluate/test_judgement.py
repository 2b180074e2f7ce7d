import math

import pytest

from requant.errors import RequantError
from requant.evaluate.judgement import effective_targets, flat_figures, missed, recommend, recommend_float


def evaluation(**outputs):
    return {"outputs": outputs}


def row(scheme, size, limit=30.0, **figures):
    found = {"psnr_db": math.nan, "accuracy_drop": math.nan, **figures}
    return {"scheme": scheme, "bytes": size, "ratio": 100 / size, **found, "meets_targets": found["psnr_db"] >= limit}


def test_the_worst_output_counts():
    flat = flat_figures(evaluation(a={"psnr_db": 40.0}, b={"psnr_db": 30.0, "max_error": 3}, c={"max_error": 5}))
    assert flat["psnr_db"] == 30
    assert flat["max_error"] == 5
    assert math.isnan(flat["accuracy"])


def test_no_difference_is_infinite():
    assert flat_figures(evaluation(a={"snr_db": None}))["snr_db"] == math.inf


def test_the_drop_is_the_float_models_accuracy_minus_the_variants():
    flat = flat_figures(evaluation(a={"accuracy": 0.9, "float_accuracy": 0.95, "agreement": 0.92}))
    assert flat["accuracy_drop"] == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("figures", "key"),
    [
        ({"psnr_db": 20.0}, "min_psnr"),
        ({"accuracy": 0.9, "float_accuracy": 0.9, "agreement": 1.0}, "max_accuracy_drop"),
        ({"agreement": 1.0}, "min_agreement"),
        ({"snr_db": 20.0}, "min_snr"),
    ],
)
def test_without_targets_the_kind_of_outputs_decides(figures, key):
    assert list(effective_targets({}, flat_figures(evaluation(a=figures)), "m")) == [key]


def test_a_target_that_can_not_be_judged_is_named():
    with pytest.raises(RequantError, match="min_accuracy of the model m can't be judged"):
        effective_targets({"min_accuracy": 0.9}, flat_figures(evaluation(a={"psnr_db": 20.0})), "m")


def test_the_smallest_that_meets_the_target_is_recommended_with_what_stops_the_next():
    rows = [row("a_8", 80, psnr_db=45.0), row("a_4", 40, psnr_db=33.0), row("a_2", 20, psnr_db=12.0)]
    advice = recommend(rows, {"min_psnr": 30})
    assert advice.scheme == "a_4"
    assert "PSNR 33.0 dB (at least 30.0 dB)" in advice.reason
    assert "a_2, does not: PSNR 12.0 dB, wanted at least 30.0 dB" in advice.reason


def test_of_two_of_one_size_the_better_is_recommended():
    rows = [row("a_4", 40, psnr_db=33.0), row("b_4", 40, psnr_db=35.0)]
    assert recommend(rows, {"min_psnr": 30}).scheme == "b_4"


def test_if_none_meets_the_target_the_closest_is_named():
    advice = recommend([row("a_8", 80, psnr_db=25.0), row("a_4", 40, psnr_db=20.0)], {"min_psnr": 30})
    assert advice.scheme is None
    assert "The closest is a_8: PSNR 25.0 dB, wanted at least 30.0 dB" in advice.reason


def test_a_drop_is_missed_from_above_and_a_gain_is_none():
    target = {"max_accuracy_drop": 0.01}
    assert missed({"accuracy_drop": 0.02}, target) == ["drop in accuracy 2.0 %, wanted at most 1.0 %"]
    assert not missed({"accuracy_drop": -0.02}, target)
    advice = recommend([{**row("a_8", 80), "accuracy_drop": -0.02, "meets_targets": True}], target)
    assert "drop in accuracy none (at most 1.0 %)" in advice.reason


@pytest.mark.parametrize(
    ("kind", "size", "shown"),
    [
        ("treeEnsembleRegressor", 88_029, "0.09 MB"),
        ("NeuralNetwork", 1_315, "1,315 bytes"),
        ("identity", 99, "99 bytes"),
    ],
)
def test_where_there_is_nothing_to_quantize_the_model_is_shipped_as_it_is(kind, size, shown):
    advice = recommend_float({"type": kind, "bytes": size, "bits_per_weight": None})
    assert advice.scheme is None
    assert advice.reason == (
        f"Nothing to quantize: this {kind} has no weights that Core ML stores in fewer bits. Ship it as it is: {shown}."
    )


def test_where_no_variants_are_wanted_nothing_is_advised():
    advice = recommend_float({"type": "ML Program", "bytes": 630_000, "bits_per_weight": 32.0})
    assert advice.scheme is None
    assert advice.reason == (
        "The configuration leaves no variants to make (modes, deployment_target). The float model has 0.63 MB."
    )
