import dataclasses
import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax
from scipy.stats import binomtest, entropy

from requant.coreml.audit import audit
from requant.coreml.description import Feature
from requant.coreml.model import load, save, to_bytes
from requant.errors import RequantError
from requant.evaluate import comparison
from requant.evaluate.comparison import compare, delivered_size, evaluate, judge_outputs, zipped_size
from requant.evaluate.data import EvaluationData
from requant.evaluate.metrics import flip
from requant.evaluate.outputs import ModelOutputs, load_outputs, run_all, save_outputs
from tests.building import network
from tests.workflow.project import DIGITS, picture_network


class Echo:
    """A runner whose outputs are known."""

    inputs = (Feature("x", "array", (2,)),)
    outputs = (
        Feature("picture", "picture", (2, 2)), Feature("y", "array", (2,)), Feature("p", "dictionary"),
        Feature("label", "label"),
    )  # fmt: skip

    def make_state(self):
        return None

    def predict(self, inputs, state=None):
        x = inputs["x"]
        if x[0] > 100:
            raise RequantError("too much")
        return {
            "picture": Image.new("RGB", (2, 2), (int(x[0]), 0, 0)),
            "y": x * 2,
            "p": {"a": float(x[0]), "b": float(x[1])},
            "label": "a" if x[0] > x[1] else "b",
        }


def outputs(rows, targets=()):
    values = [np.array(row, float) for row in rows]
    data = EvaluationData([str(i) for i in range(len(rows))], lambda i: {"x": values[i]}, targets)
    return run_all(Echo(), data)


def test_outputs_of_every_kind_are_collected_and_come_back_from_their_file(tmp_path):
    collected = outputs([(3, 1), (0, 2)], ["a", "a"])
    save_outputs(collected, tmp_path / "o.npz")
    for found in (collected, load_outputs(tmp_path / "o.npz")):
        assert found.pictures["picture"][0, 0, 0].tolist() == [3, 0, 0]
        assert found.arrays["y"].tolist() == [[6, 2], [0, 4]]
        assert found.classes == ["a", "b"]
        assert found.probabilities["p"].tolist() == [[3, 1], [0, 2]]
        assert found.labels["label"] == ["a", "b"]
        assert found.targets == ["a", "a"]


class Scores:
    """A runner that gives the input back as the scores of classes, and another array as large."""

    inputs = (Feature("x", "array", (3,)),)
    outputs = (Feature("scores", "array", (1, 3)), Feature("other", "array", (3,)))

    def make_state(self):
        return None

    def predict(self, inputs, state=None):
        return {"scores": inputs["x"][None], "other": inputs["x"]}


def scored(rows, classes, targets=(), name="scores"):
    values = [np.array(row, float) for row in rows]
    data = EvaluationData(list(map(str, range(len(rows)))), lambda i: {"x": values[i]}, targets)
    return run_all(Scores(), dataclasses.replace(data, classes=classes, class_scores=name))


def test_an_array_of_scores_is_read_as_a_classifiers_output():
    logits = [(3.0, 1, -1), (0, 2, 5)]
    found = scored(logits, ["cat", "dog", "cow"], ["cat", "dog"])
    assert found.labels == {"scores_label": ["cat", "cow"]}
    assert found.classes == ["cat", "dog", "cow"]
    assert found.probabilities["scores"] == pytest.approx(softmax(logits, axis=1))
    assert list(found.arrays) == ["other"]
    assert compare(found, found)["scores_label"]["accuracy"] == 0.5


def test_scores_that_are_probabilities_stay_what_they_are():
    rows = [(0.5, 0.25, 0.25), (0.0, 0.25, 0.75)]
    assert scored(rows, ["a", "b", "c"]).probabilities["scores"].tolist() == [list(row) for row in rows]


@pytest.mark.parametrize(
    ("classes", "name", "targets", "message"),
    [
        (["a", "b"], "", (), "no output of the model can hold their scores .scores has 3 numbers, other has 3 numbers"),
        (["a", "b", "c"], "", (), "more than one output .* Say which one it is: class_scores"),
        (["a", "b", "c"], "third", (), "no output of the model can hold"),
        (["a", "b", "c"], "scores", ["0"], "no sample has a label that is in classes: the samples have '0'"),
    ],
)
def test_classes_that_do_not_fit_are_refused(classes, name, targets, message):
    with pytest.raises(RequantError, match=message):
        scored([(1, 2, 3)], classes, targets, name)


def test_classes_are_refused_for_a_model_that_gives_labels():
    data = EvaluationData(["0"], lambda _: {"x": np.ones(2)}, classes=["a", "b"])
    with pytest.raises(RequantError, match="and this one does, as 'label'"):
        run_all(Echo(), data)


def test_flip_is_made_of_evenly_spaced_pictures_where_they_are_very_many(monkeypatch):
    monkeypatch.setattr(comparison, "FLIP_PIXELS", 3 * 20 * 20)
    pictures = np.random.default_rng(0).integers(0, 256, (9, 20, 20, 3), np.uint8)
    names = [str(index) for index in range(9)]
    wanted, found = (ModelOutputs(names, [], False, {"out": each}) for each in (pictures, pictures // 2))
    figures = judge_outputs(found, wanted)["out"]
    each = [float(value) for value in figures["flip_of_each"].split()]
    assert each == pytest.approx([flip(pictures[index], pictures[index] // 2) for index in (0, 4, 8)], rel=1e-5)
    assert figures["flip_low"] <= figures["flip"] <= figures["flip_high"]
    assert len(figures["ssim_of_each"].split()) == 9


def test_the_same_outputs_give_the_same_file(tmp_path):
    for name in ("1.npz", "2.npz"):
        save_outputs(outputs([(3, 1)]), tmp_path / name)
    assert (tmp_path / "1.npz").read_bytes() == (tmp_path / "2.npz").read_bytes()


def test_the_sample_that_fails_is_named():
    with pytest.raises(RequantError, match="sample 1: too much"):
        outputs([(1, 1), (101, 1)])


def test_numbers_that_are_not_finite_are_refused():
    with pytest.raises(RequantError, match="'y' has numbers that are not finite"):
        outputs([(1, np.inf)])


def test_figures_by_kind_of_output():
    reference, found = outputs([(30, 1), (0, 2)], ["a", "b"]), outputs([(30, 2), (3, 2)], ["a", "b"])
    figures = compare(found, reference)
    assert figures["label"] == {
        "type": "label", "agreement": 0.5, "accuracy": 0.5, "accuracy_drop": 0.5, "float_accuracy": 1.0,
    }  # fmt: skip
    assert figures["y"]["max_error"] == 6
    assert figures["y"]["snr_db"] == pytest.approx(10 * np.log10((60**2 + 2**2 + 4**2) / (2**2 + 6**2)))
    assert figures["picture"]["psnr_db"] == pytest.approx(10 * np.log10(255**2 / (4 * 9 / 24)))
    assert figures["picture"]["psnr_db_of_each"][0] is None
    assert figures["picture"]["worst_psnr_db"] == pytest.approx(10 * np.log10(255**2 / 3))


def test_equal_outputs_have_no_finite_ratio():
    same = outputs([(3, 1)])
    assert compare(same, same)["y"]["snr_db"] is None
    assert compare(same, same)["y"]["relative_error"] == 0
    assert compare(same, same)["y"]["cosine"] == pytest.approx(1)
    assert compare(same, same)["label"]["agreement"] == 1


def test_sizes_are_those_of_what_is_delivered(tmp_path):
    network = tmp_path / "n.mlmodel"
    network.write_bytes(to_bytes(picture_network(), "n"))
    assert delivered_size(network) == network.stat().st_size
    package = tmp_path / "p.mlpackage.zip"
    model = load(DIGITS)
    package.write_bytes(to_bytes(model, "p"))
    with zipfile.ZipFile(package) as archive:
        assert delivered_size(package) == sum(len(archive.read(name)) for name in archive.namelist())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(network)
    assert zipped_size(network) == pytest.approx(len(buffer.getvalue()), rel=0.02)


def test_of_a_large_file_the_deflated_size_is_estimated_from_pieces(tmp_path, monkeypatch):
    random = np.random.default_rng(3)
    codes = [random.integers(0, 1 << random.integers(2, 9), 1 << 16, np.uint8).tobytes() for _ in range(128)]
    path = tmp_path / "large.mlmodel"
    path.write_bytes(b"".join(codes))
    whole = zipped_size(path)
    monkeypatch.setattr(comparison, "DEFLATED_WHOLE", 4 << 20)
    assert zipped_size(path) != whole
    assert zipped_size(path) == pytest.approx(whole, rel=0.1)


def test_dictionaries_may_have_other_keys_in_every_sample():
    class Counts:
        outputs = (Feature("counts", "dictionary"),)

        def make_state(self):
            return None

        def predict(self, inputs, state=None):
            return {"counts": inputs}

    samples = [{"a": 1.0}, {"b": 2.0, "a": 3.0}, {}]
    collected = run_all(Counts(), EvaluationData(["0", "1", "2"], lambda i: samples[i]))
    assert collected.classes == ["a", "b"]
    assert collected.probabilities["counts"].tolist() == [[1, 0], [3, 2], [0, 0]]


def test_a_model_that_is_not_run_is_measured_all_the_same(tmp_path):
    model = network(lambda b: b.add_activation("relu", "RELU", "x", "y"))
    path = tmp_path / "n.mlmodel"
    save(model, path)
    record = evaluate(path, audit(model, model, "float"), path.stat().st_size)
    assert record["bytes"] == record["original_bytes"] == path.stat().st_size
    assert record["data"] == {"samples": 0, "synthetic": False, "labelled": False}
    assert record["outputs"] == record["metrics"] == {}
    assert (record["type"], record["bits_per_weight"], record["ios"]) == ("NeuralNetwork", None, "11")


def test_made_up_outputs_keep_their_mark(tmp_path):
    save_outputs(ModelOutputs(["1"], [], synthetic=True), tmp_path / "o.npz")
    assert load_outputs(tmp_path / "o.npz").synthetic


def classifier(probabilities, targets=()):
    """Return what a classifier of eight classes gave."""
    numbers = np.asarray(probabilities, float)
    classes = list("abcdefgh")
    labels = [classes[column] for column in numbers.argmax(axis=1)]
    return ModelOutputs(
        [str(i) for i in range(len(numbers))], list(targets), False, probabilities={"p": numbers}, classes=classes,
        labels={"label": labels},
    )  # fmt: skip


@pytest.fixture
def pair():
    """Return what a variant and the float model gave for 60 samples, and the right classes."""
    random = np.random.default_rng(0)
    scores = random.standard_normal((60, 8))
    float_model, variant = softmax(3 * scores, axis=1), softmax(3 * scores + random.standard_normal((60, 8)), axis=1)
    targets = ["abcdefgh"[column] for column in (scores + 0.5 * random.standard_normal((60, 8))).argmax(axis=1)]
    return classifier(variant, targets), classifier(float_model, targets)


def test_a_classifier_has_all_its_figures_with_intervals_and_a_test(pair):
    variant, reference = pair
    figures = judge_outputs(variant, reference)
    label, p = figures["label"], figures["p"]
    right = [[a == b for a, b in zip(each.labels["label"], each.targets, strict=True)] for each in pair]
    assert label["correct"] == "".join("01"[value] for value in right[0])
    assert label["accuracy"] == np.mean(right[0])
    assert label["accuracy_drop"] == pytest.approx(np.mean(right[1]) - np.mean(right[0]))
    lost, gained = (sum(a and not b for a, b in zip(x, y, strict=True)) for x, y in (right[::-1], right))
    assert label["accuracy_p"] == pytest.approx(binomtest(lost, lost + gained).pvalue)
    assert label["agrees"].count("1") == round(60 * label["agreement"])
    best = np.argsort(-variant.probabilities["p"], axis=1)[:, :5]
    top = [target in [variant.classes[c] for c in row] for row, target in zip(best, variant.targets, strict=True)]
    assert p["top5_accuracy"] == np.mean(top) > label["accuracy"]
    divergences = [entropy(a, b) for a, b in zip(reference.probabilities["p"], variant.probabilities["p"], strict=True)]
    assert p["kl_divergence"] == pytest.approx(np.mean(divergences))
    assert [float(x) for x in p["kl_divergence_of_each"].split()] == pytest.approx(divergences, rel=1e-5)
    for found, names in ((label, ("agreement", "accuracy", "accuracy_drop")), (p, ("top5_accuracy", "kl_divergence"))):
        assert all(found[f"{name}_low"] <= found[name] <= found[f"{name}_high"] for name in names)


def test_of_the_float_model_only_what_is_no_comparison_with_itself_is_unsure(pair):
    figures = judge_outputs(pair[1], pair[1], itself=True)
    ends = {key for each in figures.values() for key in each if key.endswith("_low")}
    assert ends == {"accuracy_low", "top5_accuracy_low"}
    assert "accuracy_p" not in figures["label"]


def test_five_classes_have_no_top_five_and_scores_no_divergence():
    five = ModelOutputs(["0"], ["a"], False, probabilities={"p": np.full((1, 5), 0.2)}, classes=list("abcde"))
    assert "top5_accuracy" not in compare(five, five)["p"]
    scores = classifier(np.arange(8.0)[None])
    assert set(compare(scores, scores)["p"]) == {"type", "max_error"}


def test_arrays_have_ratios_and_a_direction_per_sample():
    random = np.random.default_rng(1)
    wanted = random.standard_normal((30, 4, 5)).astype(np.float32)
    found = wanted + 0.1 * random.standard_normal(wanted.shape).astype(np.float32)
    names = [str(i) for i in range(30)]
    reference, variant = (ModelOutputs(names, [], False, arrays={"y": each}) for each in (wanted, found))
    figures = judge_outputs(variant, reference)["y"]
    error = (found.astype(float) - wanted) ** 2
    assert figures["relative_error"] == pytest.approx(np.sqrt(error.mean() / (wanted.astype(float) ** 2).mean()))
    each = 10 * np.log10((wanted.astype(float) ** 2).sum(axis=(1, 2)) / error.sum(axis=(1, 2)))
    assert [float(x) for x in figures["snr_db_of_each"].split()] == pytest.approx(each, rel=1e-5)
    for name in ("snr_db", "cosine", "relative_error"):
        assert figures[f"{name}_low"] < figures[name] < figures[f"{name}_high"]


def test_a_single_number_has_no_direction_and_nothing_but_zeros_no_signal():
    def numbers(values):
        return ModelOutputs(["0", "1"], [], False, arrays={"y": np.array(values, float)[:, None]})

    assert "cosine" not in compare(numbers([1, 2]), numbers([1, 3]))["y"]
    lost = compare(numbers([1, 2]), numbers([0, 0]))["y"]
    assert lost["snr_db"] == -999
    assert lost["relative_error"] is None


def test_pictures_smaller_than_its_window_have_no_similarity():
    random = np.random.default_rng(2)
    names = [str(i) for i in range(4)]

    def painted(side):
        return ModelOutputs(names, [], False, pictures={"out": random.integers(0, 256, (4, side, side), np.uint8)})

    assert "ssim" not in judge_outputs(painted(10), painted(10))["out"]
    figures = judge_outputs(painted(16), painted(16))["out"]
    assert figures["ssim"] == pytest.approx(np.mean([float(x) for x in figures["ssim_of_each"].split()]), abs=1e-6)
    assert figures["psnr_db_low"] < figures["psnr_db"] < figures["psnr_db_high"]


def test_the_same_outputs_give_the_same_record(pair):
    assert json.dumps(judge_outputs(*pair)) == json.dumps(judge_outputs(*pair))


def test_one_sample_has_figures_without_intervals():
    one = judge_outputs(outputs([(3, 1)], ["a"]), outputs([(3, 2)], ["a"]))
    assert not [key for figures in one.values() for key in figures if key.endswith(("_low", "_high"))]
