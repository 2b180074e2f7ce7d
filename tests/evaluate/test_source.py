"""The check of a conversion, with sources whose outputs are known."""

import numpy as np
import pytest
from PIL import Image

from requant.convert.settings import ConversionSettings
from requant.convert.source import SourceInput
from requant.coreml.description import Feature
from requant.errors import RequantError
from requant.evaluate import source as checking
from requant.evaluate.source import SourceRunner, check_conversion


class Known:
    """A source that gives what a function makes of its inputs, and keeps them."""

    framework = "Numbers 1.0"

    def __init__(self, function, *inputs, labels=()):
        self.inputs = list(inputs)
        self.function = function
        self.labels = list(labels)
        self.given = None

    def run(self, inputs):
        self.given = inputs
        return self.function(*inputs)


def runner(source, features, outputs, **table):
    return SourceRunner(source, ConversionSettings.of(table), features, outputs)


PIXELS = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


@pytest.mark.parametrize("shape", [(1, 3, 2, 3), (1, 2, 3, 3)])
@pytest.mark.parametrize("layout", ["RGB", "BGR"])
def test_a_picture_goes_into_the_source_scaled_in_its_axes_and_layout(shape, layout):
    source = Known(lambda x: [x.sum().reshape(1)], SourceInput("x", "float32", shape))
    entry = {"name": "image", "color_layout": layout, "scale": 0.5, "bias": [1, 2, 3]}
    image = Feature("image", "picture", (2, 3), "uint8", layout)
    runner(source, [image], [Feature("y", "array", (1,))], inputs=[entry]).predict({"image": Image.fromarray(PIXELS)})
    ordered = PIXELS[..., ::-1] if layout == "BGR" else PIXELS
    wanted = ordered.astype(np.float32) * 0.5 + np.array([1, 2, 3], np.float32)
    wanted = wanted if shape[1] == 2 else wanted.transpose(2, 0, 1)
    np.testing.assert_array_equal(source.given[0], wanted[None])


def test_a_grey_picture_has_one_channel():
    source = Known(lambda x: [x], SourceInput("x", "float32", (1, 1, 2, 3)))
    feature = Feature("image", "picture", (2, 3), "uint8", "GRAYSCALE")
    entry = {"name": "image", "color_layout": "GRAYSCALE"}
    found = runner(source, [feature], [Feature("y", "array")], inputs=[entry]).predict({"image": PIXELS[..., 0]})
    np.testing.assert_array_equal(found["y"], PIXELS[..., 0].astype(np.float32)[None, None])


@pytest.mark.parametrize("last", [True, False])
def test_a_picture_comes_out_rounded_and_saturated(last):
    numbers = np.array([-3.0, 0.4, 0.6, 99.5, 254.6, 300.0] * 3, np.float32).reshape(1, 3, 2, 3)
    source = Known(lambda x: [numbers.transpose(0, 2, 3, 1) if last else numbers], SourceInput("x", "float32", (1,)))
    output = Feature("picture", "picture", (2, 3), "uint8", "RGB")
    found = runner(source, [Feature("x", "array", (1,))], [output]).predict({"x": np.zeros(1)})["picture"]
    np.testing.assert_array_equal(np.asarray(found)[..., 0], [[0, 0, 1], [100, 255, 255]])


def test_scores_become_a_label_and_probabilities():
    source = Known(lambda x: [np.array([[0.2, 0.7, 0.1]], np.float32)], SourceInput("x", "float32", (1,)))
    outputs = [Feature("label", "label", keys="string"), Feature("probs", "dictionary", keys="string")]
    found = runner(source, [Feature("x", "array", (1,))], outputs, class_labels=["a", "b", "c"]).predict({"x": [0.0]})
    assert found["label"] == "b"
    assert found["probs"] == pytest.approx({"a": 0.2, "b": 0.7, "c": 0.1})


def test_a_source_may_bring_its_own_labels_or_the_label_alone():
    source = Known(lambda x: [np.array([0.9, 0.1])], SourceInput("x", "float64", (1,)), labels=[3, 5])
    outputs = [Feature("label", "label", keys="integer"), Feature("probs", "dictionary", keys="integer")]
    assert runner(source, [Feature("x", "number")], outputs).predict({"x": 1.5}) == {
        "label": 3, "probs": {3: 0.9, 5: 0.1},
    }  # fmt: skip
    assert source.given[0].tolist() == [1.5]
    alone = Known(lambda x: [np.array(["cat"])], SourceInput("x", "float64", (1,)))
    found = runner(alone, [Feature("x", "number")], outputs[:1]).predict({"x": 1.5})
    assert found == {"label": "cat"}


def test_scores_that_do_not_fit_the_labels_are_refused():
    source = Known(lambda x: [np.zeros(4)], SourceInput("x", "float32", (1,)))
    with pytest.raises(RequantError, match="3 class labels, but no output of the source has as many"):
        runner(source, [Feature("x", "array", (1,))], [Feature("l", "label")], class_labels=["a", "b", "c"]).predict(
            {"x": np.zeros(1)}
        )


class Float:
    """A float model that adds to what the source gives."""

    def __init__(self, error):
        self.inputs, self.outputs = [Feature("x", "array", (4,))], [Feature("y", "array", (4,))]
        self.error = error

    def make_state(self):
        return None

    def predict(self, inputs, state=None):
        return {"y": np.asarray(inputs["x"], np.float64) * 2 + self.error}


@pytest.fixture
def check(monkeypatch, tmp_path):
    """Return a function that checks the conversion of `2x` to `2x + error` with these settings."""
    data = tmp_path / "data.npz"
    np.savez(data, x=np.full((5, 4), 5.0, np.float32))

    def run(error, table=None, shape=(4,)):
        source = Known(lambda x: [2 * x.reshape(shape)], SourceInput("x", "float32", (4,)))
        monkeypatch.setattr(checking, "open_source", lambda *_: source)
        monkeypatch.setattr(checking, "open_model", lambda _: Float(error))
        monkeypatch.setattr(checking, "load", lambda _: None)
        return check_conversion(tmp_path / "net.onnx", tmp_path / "net.zip", ConversionSettings.of(table), data)

    return run


def test_the_record_has_the_figures_of_every_output(check):
    record = check(0.01)  # a power of 100 against one of 0.0001
    assert (record["framework"], record["samples"], record["synthetic"]) == ("Numbers 1.0", 5, False)
    assert record["ratio_db"] == pytest.approx(60, abs=1e-3)
    assert record["max_error"] == pytest.approx(0.01)
    assert record["outputs"]["y"]["ratio_db"] == record["ratio_db"]


def test_equal_outputs_have_no_ratio(check):
    assert check(0)["ratio_db"] is None


def test_a_conversion_below_the_limit_is_refused_with_both_figures_and_the_output(check):
    with pytest.raises(RequantError) as refused:
        check(1)
    assert "net.onnx is not good enough: held against Numbers 1.0, the output 'y' has a SNR of 20.0 dB" in str(
        refused.value
    )
    assert "30.0 dB are wanted (min_snr), largest error 1" in str(refused.value)


def test_the_limit_is_the_users(check):
    assert check(1, {"min_snr": 19})["ratio_db"] == pytest.approx(20)
    with pytest.raises(RequantError, match=r"60.0 dB, and 61.0 dB are wanted"):
        check(0.01, {"min_snr": 61})


def test_an_output_of_another_shape_is_refused(check):
    with pytest.raises(RequantError, match=r"the output 'y' has the shape \(2, 2\) in the source, but \(4,\)"):
        check(0, shape=(2, 2))
