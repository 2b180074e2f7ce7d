import json
import math

import pytest

from requant.coreml.systems import system_named
from requant.errors import RequantError
from requant.evaluate.judgement import (
    DETAILS,
    TARGETS,
    Target,
    effective_targets,
    flat_figures,
    missed,
    recommend,
    recommend_float,
    target_of,
)


def evaluation(metrics=(), **outputs):
    return {"outputs": outputs, "metrics": dict(metrics)}


def row(scheme, size, **figures):
    """Return the row of a variant whose size is so many bytes, of a model of 100 bytes."""
    file = {"bytes": size, "size_mb": size / 1e6, "zip_mb": size / 2e6, "ratio": 100 / size, "spec_version": 6}
    return {"scheme": scheme, "family": scheme.rpartition("_")[0], "samples": 450, **file, **figures}


def words(found):
    return [miss.words for miss in found]


def test_the_worst_output_counts():
    flat = flat_figures(evaluation(a={"psnr_db": 40.0}, b={"psnr_db": 30.0, "max_error": 3}, c={"max_error": 5}))
    assert flat["psnr_db"] == 30
    assert flat["max_error"] == 5
    assert math.isnan(flat["accuracy"])


def test_an_interval_is_that_of_the_output_that_counts():
    a = {"snr_db": 20.0, "snr_db_low": 19.0, "snr_db_high": 21.0, "relative_error": 0.1}
    b = {"snr_db": 30.0, "snr_db_low": 10.0, "snr_db_high": 50.0, "relative_error": None}
    flat = flat_figures(evaluation(a=a, b=b))
    assert (flat["snr_db"], flat["snr_db_low"], flat["snr_db_high"]) == (20, 19, 21)
    assert flat["relative_error"] == math.inf
    assert math.isnan(flat["relative_error_low"])


def test_no_difference_is_infinite():
    assert flat_figures(evaluation(a={"snr_db": None}))["snr_db"] == math.inf


def test_the_drop_is_the_largest_of_an_output_with_its_test():
    a = {"accuracy": 0.7, "float_accuracy": 0.7, "accuracy_drop": 0.0, "accuracy_p": 1.0}
    b = {"accuracy": 0.9, "float_accuracy": 0.95, "accuracy_drop": 0.05, "accuracy_p": 0.01}
    flat = flat_figures(evaluation(a=a, b=b))
    assert (flat["accuracy"], flat["accuracy_drop"], flat["accuracy_p"]) == (0.7, 0.05, 0.01)


def test_the_users_metrics_are_figures_too():
    flat = flat_figures(evaluation({"sharp": {"value": 0.5, "low": 0.4, "high": None}, "size": {"value": 3.0}}))
    assert (flat["metric_sharp"], flat["metric_sharp_low"], flat["metric_sharp_high"]) == (0.5, 0.4, math.inf)
    assert flat["metric_size"] == 3
    assert math.isnan(flat["metric_size_low"])


@pytest.mark.parametrize(
    ("figures", "key"),
    [
        ({"psnr_db": 20.0}, "min_psnr"),
        ({"accuracy": 0.9, "accuracy_drop": 0.0, "agreement": 1.0}, "max_accuracy_drop"),
        ({"agreement": 1.0}, "min_agreement"),
        ({"snr_db": 20.0}, "min_snr"),
    ],
)
def test_without_targets_for_the_outputs_their_kind_decides(figures, key):
    flat = {**flat_figures(evaluation(a=figures)), "size_mb": 1.0}
    assert list(effective_targets({}, flat, "m")) == [key]
    assert list(effective_targets({"max_size": 2.0}, flat, "m")) == [key, "max_size"]


def test_a_target_for_the_outputs_takes_the_place_of_the_default():
    flat = {**flat_figures(evaluation(a={"psnr_db": 20.0, "ssim": 0.9})), "zip_mb": 1.0}
    assert effective_targets({"min_ssim": 0.8, "max_download": 2}, flat, "m") == {"min_ssim": 0.8, "max_download": 2}


@pytest.mark.parametrize(
    ("key", "title"), [("min_accuracy", "accuracy"), ("min_cosine", "cosine similarity"), ("min_metric_sharp", "sharp")]
)
def test_a_target_that_can_not_be_judged_is_named(key, title):
    with pytest.raises(RequantError, match=f"{key} of the model m can't be judged: .* give no {title}"):
        effective_targets({key: 0.9}, flat_figures(evaluation(a={"psnr_db": 20.0})), "m")


@pytest.mark.parametrize(
    ("key", "value", "limit", "phrase"),
    [
        ("min_psnr", 25.0, 30, "PSNR 25.0 dB, wanted at least 30.0 dB"),
        ("min_ssim", 0.985, 0.99, "SSIM 0.985, wanted at least 0.99"),
        ("min_cosine", 0.9899, 0.99, "cosine similarity 0.9899, wanted at least 0.99"),
        ("max_relative_error", 0.0123, 0.01, "relative error 0.0123, wanted at most 0.01"),
        ("min_agreement", 0.9796, 0.98, "agreement with the float model 97.96 %, wanted at least 98.00 %"),
        ("min_top5_accuracy", 0.9, 0.95, "top-5 accuracy 90.0 %, wanted at least 95.0 %"),
        ("max_kl_divergence", 0.2, 0.1, "divergence 0.2 nats, wanted at most 0.1 nats"),
        ("max_size", 12.345, 12, "size 12.35 MB, wanted at most 12.00 MB"),
        ("max_download", 1.0001, 1, "download 1.0001 MB, wanted at most 1.0000 MB"),
        ("max_relative_error", math.inf, 0.1, "relative error infinite, wanted at most 0.1"),
        ("min_metric_sharp", 0.5, 0.75, "sharp 0.5, wanted at least 0.75"),
        ("max_metric_sharp", -0.5, -0.75, "sharp -0.5, wanted at most -0.75"),
    ],
)
def test_a_target_is_missed_in_words_that_tell_figure_and_limit_apart(key, value, limit, phrase):
    found = row("a_4", 40, **{target_of(key).figure: value}) | {target_of(key).figure: value}
    assert words(missed(found, {key: limit})) == [phrase]
    assert not missed(found | {target_of(key).figure: limit}, {key: limit})
    assert missed(found | {target_of(key).figure: math.nan}, {key: limit})


def test_every_target_says_which_way_it_goes():
    assert all(target.at_least == key.startswith("min_") for key, target in TARGETS.items())


def test_an_infinite_ratio_is_told_as_equal():
    assert TARGETS["min_snr"].shown(math.inf) == "infinite (equal to the float model's)"
    assert Target("metric_x", "x").shown(math.inf) == "infinite"


def test_a_variant_of_a_newer_system_than_the_deployment_target_meets_it_never():
    target = system_named("iOS16")
    old, new = (row("a_4", 40, psnr_db=50.0) | {"spec_version": version} for version in (7, 9))
    assert not missed(old, {"min_psnr": 30}, target)
    assert words(missed(new, {"min_psnr": 30}, target)) == [
        "runs on iOS 18, macOS 15 or newer, wanted iOS 16, macOS 13"
    ]
    advice = recommend([new | {"bytes": 20, "scheme": "b_2"}, old], {"min_psnr": 30}, target)
    assert advice.scheme == "a_4"
    assert "meets all targets: PSNR 50.0 dB (at least 30.0 dB), runs on iOS 16, macOS 13 (iOS 16" in advice.reason
    assert "b_2, does not: runs on iOS 18" in advice.reason
    assert recommend([new], {"min_psnr": 30}, target).scheme is None


def test_the_smallest_that_meets_the_target_is_recommended_with_what_stops_the_next():
    rows = [row("a_8", 80, psnr_db=45.0), row("a_4", 40, psnr_db=33.0), row("a_2", 20, psnr_db=12.0)]
    advice = recommend(rows, {"min_psnr": 30})
    assert advice.scheme == "a_4"
    assert advice.reason == (
        "Ship a_4: 40 bytes, 2.5 times smaller than the original. It is the smallest variant that meets the target: "
        "PSNR 33.0 dB (at least 30.0 dB). The next smaller one, a_2, does not: PSNR 12.0 dB, wanted at least 30.0 dB. "
        "The runner-up is a_8: 80 bytes, PSNR 45.0 dB."
    )


def test_the_advice_is_data_too():
    rows = [row("a_8", 80, psnr_db=math.inf), row("a_4", 40, psnr_db=33.0), row("a_2", 20, psnr_db=12.0)]
    details = recommend(rows, {"min_psnr": 30}).details
    assert tuple(details) == DETAILS
    assert details == {
        "acceptable": ["a_4", "a_8"],
        "unsure": [],
        "runner_up": {"scheme": "a_8", "bytes": 80, "figures": {"psnr_db": None}, "missed": [], "p": None},
        "next_smaller": {
            "scheme": "a_2", "bytes": 20, "figures": {"psnr_db": 12.0}, "p": None,
            "missed": [
                {"target": "min_psnr", "value": 12.0, "limit": 30, "words": "PSNR 12.0 dB, wanted at least 30.0 dB"}
            ],
        },
        "closest": None,
    }  # fmt: skip
    json.dumps(details, allow_nan=False)


def test_all_targets_have_to_be_met():
    rows = [
        row("a_8", 80, psnr_db=45.0, ssim=0.99), row("a_4", 40, psnr_db=33.0, ssim=0.95),
        row("b_3", 30, psnr_db=31.0, ssim=0.8),
    ]  # fmt: skip
    advice = recommend(rows, {"min_psnr": 30, "min_ssim": 0.9, "max_size": 1})
    assert advice.scheme == "a_4"
    assert "meets all targets: PSNR 33.0 dB (at least 30.0 dB), SSIM 0.95 (at least 0.9), size 0.00 MB" in advice.reason
    assert "b_3, does not: SSIM 0.8, wanted at least 0.9." in advice.reason
    small = recommend(rows, {"min_psnr": 40, "max_size": 60e-6})
    assert small.scheme is None


def test_the_runner_up_is_the_next_of_the_family_or_else_the_second_smallest():
    rows = [row("a_4", 40, psnr_db=33.0), row("b_4", 41, psnr_db=34.0), row("a_6", 60, psnr_db=40.0)]
    assert recommend(rows, {"min_psnr": 30}).details["runner_up"]["scheme"] == "a_6"
    assert recommend(rows[:2], {"min_psnr": 30}).details["runner_up"]["scheme"] == "b_4"
    alone = recommend(rows[:1], {"min_psnr": 30})
    assert alone.details["runner_up"] is alone.details["next_smaller"] is None
    assert "runner-up" not in alone.reason


def test_of_two_of_one_size_the_better_is_recommended():
    rows = [row("a_4", 40, psnr_db=33.0, size_mb=1.0), row("b_4", 40, psnr_db=35.0, size_mb=1.0)]
    assert recommend(rows, {"min_psnr": 30}).scheme == "b_4"
    assert recommend(rows, {"max_size": 2, "min_psnr": 30}).scheme == "b_4"


def test_if_none_meets_the_target_the_closest_is_named_with_how_far_it_is():
    advice = recommend([row("a_8", 80, psnr_db=25.0), row("a_4", 40, psnr_db=20.0)], {"min_psnr": 30})
    assert advice.scheme is None
    assert advice.reason == (
        "Ship the float model: no variant meets the target. The closest is a_8: PSNR 25.0 dB, wanted at least 30.0 dB "
        "(5 dB too low)."
    )
    assert advice.details["closest"]["missed"][0]["target"] == "min_psnr"
    assert advice.details["acceptable"] == []


def test_the_closest_misses_the_fewest_targets_and_those_by_the_least():
    targets = {"min_accuracy": 0.95, "max_size": 40e-6}
    rows = [row("a_8", 80, accuracy=0.97), row("a_6", 60, accuracy=0.96), row("a_2", 50, accuracy=0.5)]
    advice = recommend(rows, targets)
    assert advice.details["closest"]["scheme"] == "a_6"
    worse = recommend([row("a_2", 20, accuracy=0.9), row("a_1", 10, accuracy=0.7)], targets)
    assert "a_2: accuracy 90.0 %, wanted at least 95.0 % (5 percentage points too low)" in worse.reason


def test_a_drop_is_missed_from_above_and_a_gain_is_none():
    target = {"max_accuracy_drop": 0.01}
    assert words(missed({"accuracy_drop": 0.02}, target)) == ["drop in accuracy 2.0 %, wanted at most 1.0 %"]
    assert not missed({"accuracy_drop": -0.02}, target)
    advice = recommend([row("a_8", 80, accuracy_drop=-0.02)], target)
    assert "drop in accuracy none (at most 1.0 %)" in advice.reason


@pytest.mark.parametrize(
    ("drop", "p", "sentence"),
    [
        (0.004, 0.4, "It is not distinguishable from the float model on these 450 samples (p = 0.4)."),
        (0.0, 1.0, "It is not distinguishable from the float model on these 450 samples (p = 1)."),
        (0.02, 0.02, "It is less accurate than the float model, by more than chance (p = 0.02, 450 samples)."),
        (0.02, 1e-5, "It is less accurate than the float model, by more than chance (p < 0.001, 450 samples)."),
        (-0.02, 0.02, "It is more accurate than the float model, by more than chance (p = 0.02, 450 samples)."),
    ],
)
def test_the_advice_says_whether_the_variant_can_be_told_from_the_float_model(drop, p, sentence):
    advice = recommend([row("a_8", 80, accuracy_drop=drop, accuracy_p=p)], {"max_accuracy_drop": 0.05})
    assert sentence in advice.reason


def test_the_advice_says_where_the_samples_leave_a_target_open():
    sure = {"accuracy_drop": 0.002, "accuracy_drop_low": -0.002, "accuracy_drop_high": 0.004}
    targets = {"max_accuracy_drop": 0.005, "min_agreement": 0.9}
    agreement = {"agreement": 0.95, "agreement_low": 0.93, "agreement_high": 0.96}
    assert "not certain" not in recommend([row("a_8", 80, **sure, **agreement)], targets).reason
    open_ = {**sure, "accuracy_drop_high": 0.012}
    advice = recommend([row("a_8", 80, **open_, **agreement)], targets)
    assert (
        "That is not certain on these 450 samples: the 95 % interval of the drop in accuracy reaches 1.2 %."
        in advice.reason
    )
    assert advice.details["unsure"] == ["max_accuracy_drop"]
    both = recommend([row("a_8", 80, **open_, **agreement | {"agreement_low": 0.8})], targets)
    assert "accuracy reaches 1.2 %, that of the agreement with the float model reaches 80.0 %." in both.reason


def each(**numbers):
    return {"each": flat_figures(evaluation(a=numbers))["each"]}


def test_two_variants_are_compared_by_a_paired_test():
    few, many = "1" * 80 + "0" * 20, "1" * 90 + "0" * 10
    rows = [row("a_4", 40, accuracy=0.8, **each(correct=few)), row("a_8", 80, accuracy=0.9, **each(correct=many))]
    advice = recommend(rows, {"min_accuracy": 0.7})
    assert advice.details["runner_up"]["p"] == pytest.approx(2 / 2**10)
    assert "The runner-up is a_8: 80 bytes, accuracy 90.0 % (a difference beyond chance, p = 0.002)." in advice.reason
    rows[1] |= each(correct=few[1:] + "0")
    assert "accuracy 90.0 % (no sure difference, p = 1)." in recommend(rows, {"min_accuracy": 0.7}).reason


def test_pictures_and_arrays_are_compared_by_ranks_if_there_are_enough():
    better, worse = [40.0 + i for i in range(8)], [30.0 + 2 * i for i in range(8)]
    for figure, write in (("psnr_db", list), ("snr_db", lambda numbers: " ".join(map(str, numbers)))):
        small = row("a_4", 40, **{figure: 33.0}, **each(**{f"{figure}_of_each": write(worse)}))
        large = row("a_8", 80, **{figure: 43.0}, **each(**{f"{figure}_of_each": write(better)}))
        details = recommend([small, large], {f"min_{figure[:-3]}": 30}).details
        assert details["runner_up"]["p"] == pytest.approx(2 / 2**8)
        few = {"each": {figure: worse[:3]}}
        assert recommend([small | few, large | few], {f"min_{figure[:-3]}": 30}).details["runner_up"]["p"] is None
    assert each(psnr_db_of_each=[None, 30.0])["each"] == {"psnr_db": [math.inf, 30.0]}


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


def test_a_model_that_was_not_run_is_judged_by_its_weights_and_that_is_said():
    figures = dict.fromkeys((target.figure for target in TARGETS.values()), math.nan)
    rows = [
        row("linear_8", 50, **{**figures, "weight_snr_db": 41.0, "samples": 0}),
        row("linear_4", 25, **{**figures, "weight_snr_db": 17.0, "samples": 0}),
    ]
    targets = effective_targets({}, rows[0], "m")
    assert targets == {"min_weight_snr": 30.0}
    found = recommend(rows, targets)
    assert found.scheme == "linear_8"
    assert "SNR of the weights 41.0 dB (at least 30.0 dB). That is the error of its weights; the model was not run" in (
        found.reason
    )
    assert "the model was not run" in recommend(rows[1:], targets).reason
