from pathlib import Path

import pytest

from requant.convert import FLOAT
from requant.evaluate.hazards import HAZARDS, hazards_of


def evaluation(scheme, requested=(), raised=None):
    return {"scheme": scheme, "tensors": [{"requested": name} for name in requested], "raised": raised}


@pytest.mark.parametrize(
    ("scheme", "names"),
    [
        ("kmeans_4", []),
        ("linear_8", []),
        ("linear_4_block32", ["blocks are for the GPU"]),
        ("kmeans_4_group16", ["many tables may be slow"]),
        ("kmeans_4_group16_scaled", ["scaled tables may crash", "many tables may be slow"]),
    ],
)
def test_the_stored_form_tells_the_hazards(scheme, names):
    assert [each.name for each in hazards_of(evaluation(scheme, [scheme, "untouched"]))] == names


def test_what_the_tensors_took_counts_and_not_the_name_of_the_variant():
    assert hazards_of(evaluation("kmeans_4_group16", ["untouched", "linear_8"])) == []
    assert [each.name for each in hazards_of(evaluation("kmeans_4", ["linear_4_block32"]))] == [
        "blocks are for the GPU"
    ]


def test_rewritten_operations_are_told_and_a_newer_set_alone_is_not():
    names = [
        [each.name for each in hazards_of(evaluation("kmeans_4", ["kmeans_4"], {"rewritten": rewritten}))]
        for rewritten in ([], ["resize"])
    ]
    assert names == [[], ["rewritten operations"]]


def test_the_float_model_has_none():
    assert hazards_of(evaluation(FLOAT, [""])) == []


def test_every_hazard_is_documented():
    text = (Path(__file__).parents[2] / "docs/systems.md").read_text()
    for hazard in HAZARDS:
        assert f"| {hazard.name} | {hazard.words} | {hazard.source or '–'} |" in text
