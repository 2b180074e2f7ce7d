import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requant.coreml.kind import Kind
from requant.errors import RequantError
from requant.quantize.scheme import MODES, PATTERN, SCHEMES, Scheme, require_storable

ALL = [Scheme(mode, bits) for mode in MODES for bits in (16, 8, 7, 6, 5, 4, 3, 2, 1)]


@pytest.mark.parametrize("scheme", ALL, ids=str)
def test_a_name_is_parsed_and_printed_in_one_way(scheme):
    assert Scheme.parse(str(scheme)) == scheme
    assert str(scheme) == f"{scheme.mode}_{scheme.bits}"


@pytest.mark.parametrize(
    "name",
    ["", "linear", "linear_", "linear_9", "linear_15", "linear_0", "linear_016", "linear_8_", "linear_-8", "linear48",
     "Linear_8", "kmeans_lut_8", "linear_8 ", " linear_8", "linear_8\n", "_8", "linear_lut_1_8", "linear__8"],
)  # fmt: skip
def test_what_is_no_name_is_refused(name):
    with pytest.raises(RequantError, match=r"is not the name of a scheme. A scheme is MODE_BITS, as kmeans_4"):
        Scheme.parse(name)


@given(st.text(max_size=20))
def test_no_text_crashes_the_parser(text):
    try:
        assert str(Scheme.parse(text)) == text
    except RequantError:
        assert not re.fullmatch(PATTERN, text)


@given(st.sampled_from(ALL), st.from_regex(r"[a-z_]{1,12}", fullmatch=True))
def test_the_pattern_finds_the_scheme_in_a_file_name(scheme, model):
    found = re.fullmatch(rf"(?P<model>{model})_(?P<scheme>{PATTERN})", f"{model}_{scheme}")
    assert found is not None
    assert found["scheme"] == str(scheme)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("scheme", ALL, ids=str)
def test_exactly_what_the_table_has_can_be_stored(scheme, kind):
    if scheme.bits in SCHEMES[kind].get(scheme.mode, ()):
        require_storable(scheme, kind)
    else:
        with pytest.raises(RequantError, match=f"a model of kind {kind} has no .*. It has "):
            require_storable(scheme, kind)


def test_refusals_say_what_there_is():
    with pytest.raises(RequantError, match=r"ML Program has no linear at 7 bits. It has 16, 8, 4."):
        require_storable(Scheme("linear", 7), Kind.ML_PROGRAM)
    with pytest.raises(
        RequantError, match=r"has no mode linear_symmetric. It has linear, linear_lut, kmeans, custom_lut"
    ):
        require_storable(Scheme("linear_symmetric", 8), Kind.ML_PROGRAM)
    with pytest.raises(RequantError, match=r"NeuralNetwork has no linear_symmetric at 4 bits. It has 8."):
        require_storable(Scheme("linear_symmetric", 4), Kind.NEURAL_NETWORK)


def test_descriptions_are_for_people():
    assert Scheme("kmeans", 4).description == "4 bits: a k-means lookup table per tensor"
    assert Scheme("linear_lut", 1).description == "1 bit: an evenly spaced lookup table per tensor"
    assert {Scheme(mode, 16).description for mode in MODES} == {"16 bits: float16 weights"}
