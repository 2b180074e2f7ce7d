import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requant.resources import NEEDS, disk_mb, memory_mb, runtime

GB = 1000.0


@pytest.mark.parametrize("kind", NEEDS)
@given(small=st.floats(0, 100 * GB), more=st.floats(0, 100 * GB), attempt=st.integers(1, 3))
def test_a_larger_input_never_takes_less_and_another_attempt_asks_for_more(kind, small, more, attempt):
    for figure in (memory_mb, runtime):
        assert figure(kind, small, attempt) <= figure(kind, small + more, attempt)
        assert figure(kind, small, attempt + 1) > figure(kind, small, attempt) > 0
    assert 0 < disk_mb(kind, small) <= disk_mb(kind, small + more)


@pytest.mark.parametrize("kind", ["verify", "take", "quantize"])
def test_a_large_core_ml_model_is_quantized_in_memory_of_one_and_a_half_times_its_size(kind):
    assert memory_mb(kind, 2 * GB) <= 1.5 * 2 * GB + NEEDS[kind].base_mb


@pytest.mark.parametrize("kind", ["check", "convert", "predict", "raise"])
def test_what_runs_or_converts_a_model_may_hold_it_several_times(kind):
    assert memory_mb(kind, 2 * GB) >= 6 * 2 * GB


@pytest.mark.parametrize(("kind", "figure"), itertools.product(NEEDS, [memory_mb, disk_mb]))
def test_inputs_of_about_the_same_size_ask_for_the_same(kind, figure):
    """A scheduler can put such jobs into one array."""
    assert figure(kind, 0.41) == figure(kind, 0.42)
    assert figure(kind, 0.41) % 100 == 0


@pytest.mark.parametrize("kind", NEEDS)
def test_figures_are_whole_numbers_of_megabytes_and_minutes(kind):
    assert all(type(figure(kind, 12.3)) is int for figure in (memory_mb, disk_mb, runtime))
