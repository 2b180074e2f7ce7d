import numpy as np
import pytest

from requant.errors import RequantError
from requant.evaluate.outputs import ModelOutputs
from requant.evaluate.user_metrics import arrays_of, measure

LABELS = ["a", "b", "a", "b"]


def given(offset=0.0):
    return ModelOutputs(
        ["0", "1", "2", "3"], LABELS, False,
        pictures={"picture": np.zeros((4, 2, 2, 3), np.uint8)},
        arrays={"y": np.arange(4.0)[:, None] + offset},
        probabilities={"p": np.full((4, 2), 0.5)},
        classes=["a", "b"],
        labels={"label": ["a", "a", "a", "b"]},
    )  # fmt: skip


@pytest.fixture
def run(tmp_path):
    def run_metric(body, **more):
        (tmp_path / "mine.py").write_text(f"import numpy as np\n\ndef mine(reference, outputs, targets):\n    {body}\n")
        return measure({"mine": f"{tmp_path / 'mine.py'}:mine"}, given(0.5), given(), **more)["mine"]

    return run_metric


def test_all_outputs_are_arrays_with_the_samples_first():
    arrays = arrays_of(given())
    assert {name: array.shape for name, array in arrays.items()} == {
        "picture": (4, 2, 2, 3), "y": (4, 1), "p": (4, 2), "label": (4,),
    }  # fmt: skip
    assert arrays["label"].tolist() == ["a", "a", "a", "b"]


def test_a_number_is_the_figure(run):
    assert run("return (outputs['y'] - reference['y']).max()") == {"value": 0.5}
    assert run("return (outputs['label'] == targets).mean()") == {"value": 0.75}


def test_a_number_per_sample_has_a_mean_and_an_interval(run):
    figures = run("return outputs['label'] == targets")
    assert figures["value"] == 0.75
    assert figures["low"] <= 0.5
    assert figures["high"] == 1
    assert run("return outputs['y'][:, 0]", itself=True) == {"value": 2.0}
    assert run("return np.full(4, 0.25)") == {"value": 0.25}


def test_infinity_is_none_as_in_every_record(run):
    assert run("return float('inf')") == {"value": None}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return outputs['z']", r"the metric mine, .*mine.py:mine, failed.\n(.|\n)*KeyError: 'z'"),
        ("outputs['y'] += 1", r"failed.\n(.|\n)*read-only"),
        ("return 'good'", "has to return a number or one number per sample, not str"),
        ("pass", "has to return a number or one number per sample, not NoneType"),
        ("return np.zeros((4, 1))", r"array of shape \(4, 1\) for 4 samples.*: shape \(4,\)"),
        ("return np.zeros(3)", r"array of shape \(3,\) for 4 samples"),
        ("return float('nan')", "what is no number"),
        ("return [1, 2, float('-inf'), 3]", "minus infinity"),
    ],
)
def test_what_is_wrong_with_a_metric_is_told(run, body, message):
    with pytest.raises(RequantError, match=message):
        run(body)


def test_a_function_that_is_not_there_is_named(tmp_path):
    (tmp_path / "mine.py").write_text("")
    with pytest.raises(RequantError, match=r"mine.py has no function other"):
        measure({"mine": f"{tmp_path / 'mine.py'}:other"}, given(), given())
