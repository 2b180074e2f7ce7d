from hypothesis import given
from hypothesis import strategies as st

from requant.evaluate.data.samples import EvaluationData, drawn
from requant.evaluate.data.settings import DataSettings


@given(st.integers(1, 2000), st.integers(1, 2500), st.integers(0, 99))
def test_a_draw_is_without_replacement_in_order_and_the_same_each_time(count, samples, seed):
    settings = DataSettings(samples=samples, seed=seed)
    taken = list(drawn(count, settings))
    assert len(taken) == min(samples, count)
    assert taken == sorted(set(taken))
    assert 0 <= taken[0] <= taken[-1] < count
    assert taken == list(drawn(count, settings))


def test_without_a_number_all_are_taken():
    assert drawn(7, DataSettings(seed=5)) == range(7)


def test_a_subset_leaves_unlabelled_data_unlabelled_and_tells_its_place():
    data = EvaluationData(["a", "b", "c"], lambda index: {"x": index}).subset(DataSettings(samples=2))
    assert not data.targets
    assert [data.inputs(index)["x"] for index in range(2)] == ["abc".index(name) for name in data.names]
    assert data.place_of(1) == "2 of 2"
