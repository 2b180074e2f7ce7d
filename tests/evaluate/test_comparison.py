import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from requant.coreml.audit import audit
from requant.coreml.description import Feature
from requant.coreml.model import load, save, to_bytes
from requant.errors import RequantError
from requant.evaluate.comparison import compare, delivered_size, evaluate, zipped_size
from requant.evaluate.data import EvaluationData
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
    assert figures["label"] == {"type": "label", "agreement": 0.5, "accuracy": 0.5, "float_accuracy": 1.0}
    assert figures["y"]["max_error"] == 6
    assert figures["y"]["snr_db"] == pytest.approx(10 * np.log10((60**2 + 2**2 + 4**2) / (2**2 + 6**2)))
    assert figures["picture"]["psnr_db"] == pytest.approx(10 * np.log10(255**2 / (4 * 9 / 24)))
    assert figures["picture"]["psnr_db_of_each"][0] is None
    assert figures["picture"]["worst_psnr_db"] == pytest.approx(10 * np.log10(255**2 / 3))


def test_equal_outputs_have_no_finite_ratio():
    same = outputs([(3, 1)])
    assert compare(same, same)["y"]["snr_db"] is None
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
    assert record["outputs"] == {}
    assert (record["type"], record["bits_per_weight"], record["ios"]) == ("NeuralNetwork", None, "11")


def test_made_up_outputs_keep_their_mark(tmp_path):
    save_outputs(ModelOutputs(["1"], [], synthetic=True), tmp_path / "o.npz")
    assert load_outputs(tmp_path / "o.npz").synthetic
