import pytest
from hypothesis import given
from hypothesis import strategies as st

from requant.coreml.kind import Kind
from requant.errors import RequantError
from requant.quantize.scheme import Scheme
from requant.quantize.selection import Choice, Rule, Selection, TensorFacts, unused_rules

CONV = TensorFacts("conv1.weights", ("convolution",), (8, 4, 3, 3), 288)
GATHER = TensorFacts("table", ("cast", "gather"), (1000, 64), 64000)
KMEANS = Scheme.parse("kmeans_4")
NETWORK, PROGRAM = Kind.NEURAL_NETWORK, Kind.ML_PROGRAM


def choice(rules, facts=CONV, scheme=KMEANS, kind=NETWORK, **options):
    return Selection(tuple(Rule(**rule) for rule in rules), **options).choose(facts, scheme, kind)


def test_without_rules_every_large_tensor_takes_the_scheme():
    assert choice([]) == Choice(KMEANS)
    assert choice([], kind=PROGRAM).scheme is None
    assert choice([], kind=PROGRAM).reason == "288 numbers; only tensors with more than 2,048 take a scheme"
    assert choice([], kind=PROGRAM, weight_threshold=100) == Choice(KMEANS)
    assert choice([], weight_threshold=288).scheme is None


@pytest.mark.parametrize("name", ["conv1.weights", "conv1", "conv*", "*.weights", "conv[0-9]", "conv?.*"])
def test_a_name_is_that_of_the_tensor_or_of_its_layer(name):
    assert choice([{"name": name, "store": "untouched"}]).requested == "untouched"
    assert choice([{"name": name + "x", "store": "untouched"}]) == Choice(KMEANS)


def test_any_operation_that_reads_a_tensor_gives_its_type():
    assert choice([{"type": "gather", "store": "linear_8"}], GATHER, kind=PROGRAM).requested == "linear_8"
    assert choice([{"type": "conv*", "store": "linear_8"}], GATHER, kind=PROGRAM) == Choice(KMEANS)
    assert choice([{"type": "*", "store": "untouched"}], TensorFacts("x", (), (9,), 9)).requested == "untouched"


def test_the_first_rule_that_fits_decides():
    rules = [
        {"name": "other", "store": "untouched"},
        {"fewer_than": 289, "store": "float16"},
        {"name": "conv1", "store": "untouched"},
    ]
    found = choice(rules)
    assert str(found.scheme) == "linear_16"
    assert found.reason == "rule 2 of tensors: float16"
    assert choice([{"fewer_than": 288, "store": "float16"}]) == Choice(KMEANS)


def test_a_rule_may_be_for_some_schemes():
    rules = [{"schemes": ("linear*", "kmeans_[12]"), "store": "untouched"}]
    assert choice(rules) == Choice(KMEANS)
    assert choice(rules, scheme=Scheme.parse("kmeans_2")).scheme is None
    assert choice(rules, scheme=Scheme.parse("linear_8")).scheme is None


def test_other_bits_are_of_the_same_scheme():
    scheme = Scheme.parse("prune_50_kmeans_4_group16_lut8")
    found = choice([{"store": "8"}], GATHER, scheme, PROGRAM)
    assert found.requested == "prune_50_kmeans_8_group16_lut8"
    assert choice([{"store": "8"}], scheme=Scheme.parse("linear_16")).scheme == Scheme.of("linear", 8)
    with pytest.raises(RequantError, match=r"gives other bits, but prune_50 has none. Say under schemes"):
        choice([{"store": "8"}], GATHER, Scheme.parse("prune_50"), PROGRAM)


def test_a_rule_that_gives_what_the_variant_asks_for_has_no_reason():
    assert choice([{"store": "kmeans_4"}]) == Choice(KMEANS)


def test_what_rules_put_in_its_place_has_to_be_storable():
    selection = Selection((Rule("linear_8"), Rule("kmeans_4_group16")))
    selection.require_storable(KMEANS, PROGRAM)
    with pytest.raises(RequantError, match=r"rule 2 of tensors, for kmeans_4: .*NeuralNetwork can't store"):
        selection.require_storable(KMEANS, NETWORK)
    with pytest.raises(RequantError, match="rule 1 of tensors, for kmeans_4: 'much' is not the name of a scheme"):
        Selection((Rule("much"),)).require_storable(KMEANS, NETWORK)
    with pytest.raises(RequantError, match=r"rule 1 of tensors, for linear_4: .*has no linear at 5 bits"):
        Selection((Rule("5"),)).require_storable(Scheme.parse("linear_4"), PROGRAM)


def test_all_schemes_that_tensors_may_take_are_known():
    selection = Selection((Rule("8"), Rule("untouched"), Rule("linear_4_block32", schemes=("linear*",))))
    assert [str(s) for s in selection.schemes(KMEANS)] == ["kmeans_4", "kmeans_8"]
    selection = Selection(unstorable="float16")
    assert [str(s) for s in selection.schemes(KMEANS)] == ["kmeans_4", "linear_16"]


def test_a_tensor_that_can_not_take_the_scheme_becomes_what_is_configured():
    chosen = Choice(KMEANS)
    assert Selection().otherwise(chosen, "why", "t") == Choice(None, "kmeans_4 can't be stored: why")
    assert str(Selection(unstorable="float16").otherwise(chosen, "why", "t").scheme) == "linear_16"
    with pytest.raises(RequantError, match=r"the tensor t: kmeans_4 can't be stored: why. Give it a rule of its own"):
        Selection(unstorable="refuse").otherwise(chosen, "why", "t")


def test_rules_for_other_schemes_are_no_part_of_what_a_variant_hangs_on():
    table = {"rules": [{"store": 8, "schemes": ["linear*"]}, {"store": "untouched", "name": "a"}]}
    selection = Selection.of(table)
    assert selection.for_scheme(KMEANS).to_table() == {"rules": [{"store": "untouched", "name": "a"}]}
    assert Selection.of(None).to_table() == {}


rules = st.builds(
    Rule,
    store=st.sampled_from(["untouched", "float16", "8", "linear_8"]),
    name=st.text(max_size=5),
    type=st.text(max_size=5),
    fewer_than=st.none() | st.integers(1, 10**9),
    schemes=st.lists(st.text(max_size=5), max_size=2).map(tuple),
)


@given(
    st.builds(
        Selection,
        rules=st.lists(rules, max_size=3).map(tuple),
        weight_threshold=st.none() | st.integers(0, 10**6),
        unstorable=st.sampled_from(["untouched", "float16", "refuse"]),
        beyond_float16=st.sampled_from(["float32", "refuse"]),
    )
)
def test_a_selection_comes_back_from_its_table(selection):
    assert Selection.of(selection.to_table()) == selection


def test_rules_that_fit_nothing_are_found():
    selection = Selection(
        (Rule("untouched", name="conv*"), Rule("untouched", name="misspelt"), Rule("8", type="gather"))
    )
    assert unused_rules(selection, [CONV], KMEANS) == [2, 3]
    assert unused_rules(selection, [CONV, GATHER], KMEANS) == [2]
