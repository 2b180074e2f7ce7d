import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requant.coreml.kind import Kind
from requant.errors import RequantError
from requant.quantize.scheme import (
    FAMILY_PATTERN,
    MODES,
    PATTERN,
    SCHEMES,
    Pruning,
    Scheme,
    default_schemes,
    needed_version,
    require_storable,
)

ALL = [Scheme.of(mode, bits) for mode in MODES for bits in (16, 8, 7, 6, 5, 4, 3, 2, 1)]
# A name, what is in it, and the specification version that its form needs in an ML Program.
NAMES = {
    "linear_8": (Scheme("linear", 8, signed=False, granularity="channel"), 7),
    "linear_8_signed": (Scheme("linear", 8, signed=True, granularity="channel"), 7),
    "linear_8_tensor": (Scheme("linear", 8, signed=False, granularity="tensor"), 7),
    "linear_4": (Scheme("linear", 4, signed=False, granularity="channel"), 9),
    "linear_8_block16": (Scheme("linear", 8, signed=False, granularity="block", size=16), 9),
    "linear_4_signed_block32": (Scheme("linear", 4, signed=True, granularity="block", size=32), 9),
    "linear_symmetric_8": (Scheme("linear_symmetric", 8, signed=True, granularity="channel"), 7),
    "linear_symmetric_4_unsigned_tensor": (Scheme("linear_symmetric", 4, signed=False, granularity="tensor"), 9),
    "linear_16": (Scheme("linear", 16), 7),
    "kmeans_4": (Scheme("kmeans", 4), 7),
    "kmeans_3": (Scheme("kmeans", 3), 9),
    "kmeans_4_group1": (Scheme("kmeans", 4, granularity="group", size=1), 9),
    "kmeans_4_group16_vector4": (Scheme("kmeans", 4, granularity="group", size=16, vector=4), 9),
    "kmeans_6_vector2": (Scheme("kmeans", 6, vector=2), 9),
    "kmeans_4_scaled": (Scheme("kmeans", 4, scaled=True), 9),
    "kmeans_4_lut8": (Scheme("kmeans", 4, lut8=True), 9),
    "kmeans_4_zeros": (Scheme("kmeans", 4, zeros=True), 7),
    "unique_8": (Scheme("unique", 8), 7),
    "custom_lut_2_group8": (Scheme("custom_lut", 2, granularity="group", size=8), 9),
    "prune_50": (Scheme(None, 0, Pruning(percent=50)), 7),
    "prune_2of4": (Scheme(None, 0, Pruning(n=2, m=4)), 7),
    "prune_below_0.001": (Scheme(None, 0, Pruning(below=0.001)), 7),
    "prune_below_1e-05": (Scheme(None, 0, Pruning(below=1e-05)), 7),
    "prune_75_linear_8": (Scheme("linear", 8, Pruning(percent=75), signed=False, granularity="channel"), 9),
    "prune_2of4_kmeans_4_group16_lut8": (
        Scheme("kmeans", 4, Pruning(n=2, m=4), granularity="group", size=16, lut8=True), 9,
    ),
    "prune_below_0.5_kmeans_4_vector2": (Scheme("kmeans", 4, Pruning(below=0.5), vector=2), 9),
}  # fmt: skip


@pytest.mark.parametrize("scheme", ALL, ids=str)
def test_a_name_is_parsed_and_printed_in_one_way(scheme):
    assert Scheme.parse(str(scheme)) == scheme
    assert str(scheme) == f"{scheme.mode}_{scheme.bits}"


@pytest.mark.parametrize("name", NAMES)
def test_names_say_all_of_a_scheme(name):
    scheme, version = NAMES[name]
    assert Scheme.parse(name) == scheme
    assert str(scheme) == name
    assert re.fullmatch(PATTERN, name)
    require_storable(scheme, Kind.ML_PROGRAM)
    assert needed_version(scheme, Kind.ML_PROGRAM) == version


@pytest.mark.parametrize(
    "name",
    ["", "linear", "linear_", "linear_9", "linear_15", "linear_0", "linear_016", "linear_8_", "linear_-8", "linear48",
     "Linear_8", "kmeans_lut_8", "linear_8 ", " linear_8", "linear_8\n", "_8", "linear_lut_1_8", "linear__8", "prune",
     "prune_", "prune_50_", "prune_50kmeans_4", "prune50_kmeans_4", "kmeans_4_group16_signed", "kmeans_4_lut8_scaled",
     "prune_below", "prune_below_x", "kmeans_4_prune_50", "linear_8_channel"],
)  # fmt: skip
def test_what_is_no_name_is_refused(name):
    with pytest.raises(RequantError, match=r"is not the name of a scheme. A scheme is MODE_BITS, as kmeans_4"):
        Scheme.parse(name)


@pytest.mark.parametrize(
    ("name", "proper"),
    [("linear_8_unsigned", "linear_8"), ("linear_symmetric_8_signed", "linear_symmetric_8"),
     ("kmeans_4_tensor", "kmeans_4"), ("kmeans_4_group016", "kmeans_4_group16"), ("prune_050", "prune_50"),
     ("prune_below_1e-3", "prune_below_0.001"), ("kmeans_4_vector1", "kmeans_4")],
)  # fmt: skip
def test_a_scheme_has_one_name(name, proper):
    with pytest.raises(RequantError, match=f"is spelled {proper}: a scheme has one name"):
        Scheme.parse(name)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("kmeans_4_block32", "blocks are for linear quantization; tables have groups"),
        ("linear_8_group4", "groups are for lookup tables; linear quantization has blocks"),
        ("linear_8_block", "block wants a size, as block32"),
        ("linear_8_block1", "a block has at least two input channels"),
        ("kmeans_4_group0", "group wants a size, as group32"),
        ("linear_8_tensor3", "the whole tensor has no size"),
        ("linear_8_vector2", "for lookup tables"),
        ("linear_8_lut8", "for lookup tables"),
        ("kmeans_4_signed", "only linear codes are signed or unsigned"),
        ("kmeans_4_vector3", "a vector has 2 or 4 numbers"),
        ("linear_lut_4_vector2", "tables of vectors are made by kmeans and unique"),
        ("kmeans_4_group6_vector4", "a group holds whole vectors"),
        ("linear_lut_4_zeros", "only k-means of single numbers keeps zeros"),
        ("kmeans_4_vector2_zeros", "only k-means of single numbers keeps zeros"),
        ("prune_50_kmeans_4_zeros", "pruned zeros are kept anyway"),
        ("unique_4_lut8", "a table of the distinct numbers is exact"),
        ("linear_16_lut8", "float16 weights have no scales and no tables"),
        ("kmeans_16_group4", "float16 weights have no scales and no tables"),
        ("prune_50_linear_16", "write the pruning alone"),
        ("prune_2of4_kmeans_4_vector2", "n of m pruning cuts vectors apart"),
        ("prune_0", "1 to 99 per cent, not 0"),
        ("prune_100_linear_8", "1 to 99 per cent, not 100"),
        ("prune_4of4", "with N from 1 to M - 1"),
        ("prune_0of4", "with N from 1 to M - 1"),
        ("prune_below_0", "has to be greater than 0"),
    ],
)
def test_what_does_not_go_together_is_told(name, why):
    with pytest.raises(RequantError, match=re.escape(why)):
        Scheme.parse(name)


@given(st.text(max_size=20))
def test_no_text_crashes_the_parser(text):
    try:
        assert str(Scheme.parse(text)) == text
    except RequantError:
        pass
    else:
        assert re.fullmatch(PATTERN, text)


parts = st.sampled_from(
    ["prune", "50", "2of4", "below", "0.01", "linear", "kmeans", "linear_symmetric", "unique", "8", "4", "16", "signed",
     "unsigned", "tensor", "block32", "group16", "vector2", "scaled", "lut8", "zeros"]
)  # fmt: skip


@given(st.lists(parts, min_size=1, max_size=8).map("_".join))
def test_whatever_is_parsed_prints_as_it_was_read(name):
    try:
        scheme = Scheme.parse(name)
    except RequantError:
        return
    assert str(scheme) == name
    assert re.fullmatch(PATTERN, name)


@given(
    st.sampled_from([*ALL, *(scheme for scheme, _ in NAMES.values())]), st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
)
def test_the_pattern_finds_the_scheme_in_a_file_name(scheme, model):
    file = f"{model}_{scheme}.mlpackage.zip"
    found = re.fullmatch(rf"(?P<model>{model})_(?P<scheme>{PATTERN})\.(?P<suffix>mlmodel|mlpackage\.zip)", file)
    assert found is not None
    assert found["scheme"] == str(scheme)


@pytest.mark.parametrize("kind", [Kind.NEURAL_NETWORK, Kind.ML_PROGRAM])
@pytest.mark.parametrize("scheme", ALL, ids=str)
def test_exactly_what_the_table_has_can_be_stored(scheme, kind):
    if scheme.bits in SCHEMES[kind].get(scheme.mode, ()):
        require_storable(scheme, kind)
    else:
        with pytest.raises(RequantError, match=f"a model of kind {kind} has no .*. It has "):
            require_storable(scheme, kind)


@pytest.mark.parametrize("name", ["linear_16", "kmeans_4", "prune_50"])
def test_where_there_is_nothing_to_quantize_no_scheme_can_be_stored(name):
    assert default_schemes(Kind.OTHER, custom_lut=True) == ()
    with pytest.raises(RequantError, match="there is nothing to quantize: the model has no weights"):
        require_storable(Scheme.parse(name), Kind.OTHER)


def test_refusals_say_what_there_is():
    with pytest.raises(RequantError, match=r"ML Program has no linear at 7 bits. It has 16, 8, 4."):
        require_storable(Scheme.of("linear", 7), Kind.ML_PROGRAM)
    with pytest.raises(RequantError, match=r"NeuralNetwork has no linear_symmetric at 4 bits. It has 8."):
        require_storable(Scheme.of("linear_symmetric", 4), Kind.NEURAL_NETWORK)


@pytest.mark.parametrize(
    ("name", "what"),
    [("prune_50", "pruned weights stored sparse"), ("linear_8_block4", "scales per block"),
     ("kmeans_4_group2", "lookup tables per group of channels"), ("kmeans_4_vector2", "lookup tables of vectors"),
     ("kmeans_4_scaled", "scales besides a lookup table"), ("kmeans_4_lut8", "lookup tables of 8-bit entries"),
     ("linear_8_signed", "another sign"), ("prune_2of4_linear_8", "pruned weights stored sparse")],
)  # fmt: skip
def test_a_neural_network_can_not_store_what_an_ml_program_can(name, what):
    with pytest.raises(RequantError, match=f"a model of kind NeuralNetwork can't store {name}: it has no {what}"):
        require_storable(Scheme.parse(name), Kind.NEURAL_NETWORK)


def test_a_neural_network_stores_a_scale_per_tensor_and_zeros():
    require_storable(Scheme.parse("linear_5_tensor"), Kind.NEURAL_NETWORK)
    require_storable(Scheme.parse("kmeans_5_zeros"), Kind.NEURAL_NETWORK)
    assert needed_version(Scheme.parse("kmeans_5"), Kind.NEURAL_NETWORK) == 3
    assert needed_version(Scheme.parse("kmeans_16"), Kind.NEURAL_NETWORK) == 2


def test_all_means_every_mode_without_qualifiers():
    names = [str(scheme) for scheme in default_schemes(Kind.ML_PROGRAM, custom_lut=False)]
    assert names == [
        "linear_16", "linear_8", "linear_4", "linear_symmetric_8", "linear_symmetric_4",
        *(f"linear_lut_{bits}" for bits in (8, 6, 4, 3, 2, 1)), *(f"kmeans_{bits}" for bits in (8, 6, 4, 3, 2, 1)),
    ]  # fmt: skip
    assert {s.mode for s in default_schemes(Kind.NEURAL_NETWORK, custom_lut=True)} == set(MODES) - {"unique"}


def test_descriptions_are_for_people():
    assert Scheme.of("kmeans", 4).description == "4 bits: a k-means lookup table per tensor"
    assert Scheme.of("linear_lut", 1).description == "1 bit: an evenly spaced lookup table per tensor"
    assert {Scheme.of(mode, 16).description for mode in MODES} == {"16 bits: float16 weights"}
    assert Scheme.parse("prune_50_kmeans_4_group16_lut8").description == (
        "the smallest 50 % of the weights set to zero, then 4 bits: a k-means lookup table per group of 16 output "
        "channels, its entries in 8 bits"
    )


def test_a_family_is_compared_over_bits():
    families = {name: Scheme.parse(name).family for name in NAMES}
    assert families["kmeans_4_group16_vector4"] == "kmeans_group16_vector4"
    assert families["prune_2of4_kmeans_4_group16_lut8"] == "prune_2of4_kmeans_group16_lut8"
    assert families["prune_50"] == "prune_50"
    assert families["linear_8"] == families["linear_4"] == "linear"


def test_a_family_in_some_bits_is_a_scheme():
    for name in NAMES:
        scheme = Scheme.parse(name)
        if scheme.mode is not None and not scheme.is_float16:
            assert re.fullmatch(FAMILY_PATTERN, scheme.family)
            assert Scheme.of_family(scheme.family, scheme.bits) == scheme


@pytest.mark.parametrize("name", ["kmeans_4", "prune_50", "float", "linear_", "linear_block"])
def test_what_is_not_a_family_is_refused(name):
    with pytest.raises(RequantError, match=r"family of schemes|block wants a size"):
        Scheme.of_family(name, 4)
