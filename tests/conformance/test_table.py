"""Sampling, reasons and tables, on records made by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conformance import table
from tests.conformance.expectations import Expectation, load, reason_for
from tests.conformance.record import Record, named_in, one_line, roundings_apart
from tests.conformance.run import BEGIN, END, write
from tests.conformance.sample import of_precision, of_shard, sampled


class Item:
    def __init__(self, nodeid, backend=None):
        self.nodeid = nodeid
        if backend:
            self.callspec = type("CallSpec", (), {"params": {"backend": backend}})()


def items(*counts):
    return [Item(f"a/test_b.py::test_{i}[{j}]") for i, count in enumerate(counts) for j in range(count)]


@given(st.lists(st.integers(1, 12), max_size=6), st.integers(1, 5))
def test_a_sample_has_the_same_number_of_each_function(counts, number):
    chosen = [item.nodeid.partition("[")[0] for item in sampled(items(*counts), number)]
    assert [chosen.count(f"a/test_b.py::test_{i}") for i in range(len(counts))] == [min(n, number) for n in counts]


@given(st.integers(1, 4), st.integers(0, 30))
def test_a_larger_sample_holds_the_smaller(number, count):
    smaller, larger = ({item.nodeid for item in sampled(items(count, 3), size)} for size in (number, number + 1))
    assert smaller <= larger


@given(st.integers(1, 5), st.integers(0, 20))
def test_shares_are_the_whole_without_overlap(number, count):
    whole = items(count)
    shares = [item for i in range(number) for item in of_shard(whole, f"{i + 1}/{number}")]
    assert sorted(item.nodeid for item in shares) == sorted(item.nodeid for item in whole)


def test_tests_of_another_precision_are_left_out():
    config = type("BackendConfig", (), {"precision": "fp16"})()
    whole = [Item("a"), Item("b", ("mlprogram", "fp16")), Item("c", ("mlprogram", "fp32")), Item("d", config)]
    assert [item.nodeid for item in of_precision(whole, "fp32")] == ["a", "c"]
    assert len(of_precision(whole, None)) == 4


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("m.mlmodel: the layer 'p/q' is of type poolingND, which requant can't run yet.", "poolingND"),
        ("the operation 'y' of type conv has the parameter z, which requant can't run yet.", "conv"),
        ("the input 'x' is missing.", ""),
    ],
)
def test_a_message_names_an_operation(message, name):
    assert named_in(message) == name


def test_messages_are_cut_to_one_line():
    assert one_line(" a\n\tb ") == "a b"
    assert len(one_line("a" * 1000)) == 401


def failure(node="x/test_a.py::A::test_a[p]", kind="values", message="off by one"):
    return Record(node, "failed", kind, predictions=1, message=message)


@pytest.mark.parametrize(
    ("expectation", "covered"),
    [
        (Expectation("test_a.py::A::test_*", "because"), True),
        (Expectation("test_a.py::*", "because", suite="mil-*"), True),
        (Expectation("test_a.py::*", "because", suite="torch"), False),
        (Expectation("test_a.py::*", "because", message="by two"), False),
        (Expectation("test_a.py::*", "because", parameters=r"^p\]$"), True),
        (Expectation("test_a.py::*", "because", kinds=("refused",)), False),
        (Expectation("test_b.py::*", "because"), False),
    ],
)
def test_a_known_failure_is_matched_by_all_it_says(expectation, covered):
    assert expectation.covers("mil-fp32", failure()) is covered
    assert expectation.covers("sample-operations", failure()) is covered


@pytest.mark.parametrize(("actual", "roundings"), [([1.0, 8.0], 0.0), ([1.0, 8.0 + 8 * 2**-11], 1.0), ([1.5, 8], 128)])
def test_how_many_roundings_apart(actual, roundings):
    assert roundings_apart(actual, [1, 8]) == pytest.approx(roundings)


@pytest.mark.parametrize("actual", ["label", [1.0], [np.nan, 1]])
def test_what_can_not_be_measured_in_roundings(actual):
    assert roundings_apart(actual, [1, 8]) is None


@pytest.mark.parametrize(("roundings", "covered"), [(2.0, True), (5.0, False), (None, False)])
def test_rounding_explains_only_small_differences_in_float16(roundings, covered):
    record = failure()
    record.roundings = roundings
    assert Expectation("*", "because", roundings=4).covers("mil-fp32", record) is covered


def test_the_first_reason_counts():
    known = [Expectation("test_b*", "one"), Expectation("test_a*", "two"), Expectation("*", "three")]
    assert reason_for("torch", failure(), known) == "two"
    assert reason_for("torch", failure(), []) == ""


def test_the_shipped_reasons_can_be_read():
    assert all(known.reason.endswith(".") for known in load())


def outcome():
    found = [
        failure(),
        failure("x/test_b.py::test_b", "refused", "no"),
        failure("x/test_c.py::test_c", "apple"),
        failure("x/test_d.py::test_d", "elsewhere"),
        Record("e", predictions=4),
        Record("f"),
        Record("g", "skipped"),
    ]
    return table.Outcome("mil-fp32", "operations", 1234, found)


def test_what_needs_apples_compiler_or_fails_before_is_not_counted():
    text = table.markdown([outcome()], [Expectation("test_b.py::*", "It is random.")])
    assert "| `mil-fp32`: operations | 1,234 | 7 | 3 | 1 | 33.3% | 33.3% | 1 |" in text
    assert "| `mil-fp32` | 1 | 1 | 0 | 1 | 1 |" in text
    assert "- `test_a.py::A::test_a`, 1: unexplained (values: off by one)" in text
    assert "- `test_b.py::test_b`, 1: It is random." in text
    assert "test_c" not in text


def test_only_the_measured_part_of_the_document_is_replaced(tmp_path):
    document = tmp_path / "conformance.md"
    document.write_text(f"before\n{BEGIN}old\n{END}after\n")
    write([outcome()], document)
    text = document.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "33.3%" in text
