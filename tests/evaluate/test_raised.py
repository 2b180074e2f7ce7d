import dataclasses

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from PIL import Image

from requant.coreml.model import save
from requant.coreml.raising import Raising, raise_program
from requant.errors import RequantError
from requant.evaluate import raised
from requant.evaluate.raised import compare_raised
from tests.building import IOS16, all_weights, numbers, program, some_weights


def stored(model, folder, name="net"):
    path = folder / f"{name}{model.kind.suffix}"
    save(model, path)
    return path


def picking(last=-1, **options):
    return program(
        lambda x: mb.gather(x=mb.relu(x=x), indices=[0, last], axis=0, name="y"), (3, 4), plain=True, **options
    )


def classifier(x):
    return mb.softmax(x=mb.linear(x=x, weight=numbers(2, 4), bias=numbers(2)), axis=-1, name="scores")


def distorted(monkeypatch, change):
    """Have the raised model's constants changed, as no raising should."""

    def raise_and_change(model, spec_version):
        raising = raise_program(model, spec_version)
        spec = raising.model.copy_spec()
        change(spec.mlProgram.functions["main"].block_specializations["CoreML7"])
        return Raising(dataclasses.replace(raising.model, spec=spec), raising.rewritten)

    monkeypatch.setattr(raised, "raise_program", raise_and_change)


def test_a_program_that_is_rewritten(tmp_path):
    np.savez(tmp_path / "data.npz", x=numbers(5, 3, 4))
    found = compare_raised(stored(picking(), tmp_path), 8, tmp_path / "data.npz")
    assert found == {
        "spec_version": 8,
        "ios": "17",
        "from_ios": "15",
        "samples": 5,
        "synthetic": False,
        "equal": True,
        "rewritten": ["y"],
        "outputs": {
            "y": {"type": "array", "snr_db": None, "relative_error": 0.0, "cosine": pytest.approx(1), "max_error": 0.0}
        },
    }


def test_a_program_on_inputs_that_are_made_up(tmp_path):
    found = compare_raised(stored(some_weights(target=IOS16), tmp_path), 9, None)
    assert (found["ios"], found["from_ios"], found["synthetic"], found["samples"]) == ("18", "16", True, 8)
    assert found["equal"]
    assert found["rewritten"] == []


def test_a_program_that_is_newer_already(tmp_path):
    found = compare_raised(stored(some_weights(target=IOS16), tmp_path), 6, None)
    assert (found["spec_version"], found["ios"], found["from_ios"]) == (7, "16", "16")


def test_pictures_and_labels_are_compared(tmp_path):
    for index in range(2):
        Image.fromarray(np.full((8, 8, 3), 90 + index, np.uint8)).save(tmp_path / f"{index}.png")
    options = {
        "inputs": [ct.ImageType("x", shape=(1, 3, 8, 8), scale=1 / 255)],
        "classifier_config": ct.ClassifierConfig(["a", "b"]),
    }

    def function(x):
        return classifier(mb.reduce_mean(x=mb.reshape(x=x, shape=[1, 4, 48]), axes=[-1]))

    found = compare_raised(stored(program(function, (1, 3, 8, 8), **options), tmp_path), 9, tmp_path)
    assert found["equal"]
    assert {figures["type"] for figures in found["outputs"].values()} == {"label", "probabilities"}


def test_another_output_is_an_error_with_its_figures(tmp_path, monkeypatch):
    def first_instead(block):
        for operation in block.operations:
            for value in (v for k, v in operation.attributes.items() if k == "val"):
                if list(value.immediateValue.tensor.ints.values) == [0, 2]:
                    value.immediateValue.tensor.ints.values[1] = 1

    distorted(monkeypatch, first_instead)
    with pytest.raises(
        RequantError, match=r"raised to iOS 17, the float model gives another 'y' \(largest error .*SNR"
    ):
        compare_raised(stored(picking(), tmp_path), 8, None)


def test_what_can_not_be_raised_is_refused(tmp_path):
    with pytest.raises(RequantError, match="is no ML Program"):
        compare_raised(stored(all_weights(), tmp_path), 8, None)


@pytest.mark.parametrize(
    ("figures", "fine"),
    [
        ({"type": "array", "snr_db": 120.0, "max_error": 1e-6}, True),
        ({"type": "array", "snr_db": 99.0, "max_error": 1e-6}, False),
        ({"type": "array", "snr_db": None, "max_error": 0.0}, True),
        ({"type": "array", "snr_db": None, "max_error": 1.0}, False),  # where there is no signal
        ({"type": "picture", "psnr_db": 90.0, "max_error": 1.0}, False),
        ({"type": "picture", "psnr_db": None, "max_error": 0.0}, True),
        ({"type": "label", "agreement": 0.99}, False),
        ({"type": "label", "agreement": 1.0}, True),
        ({"type": "probabilities", "kl_divergence": 0.0, "max_error": 1e-7}, True),
        ({"type": "probabilities", "kl_divergence": 0.1, "max_error": 1e-3}, False),
    ],
)
def test_what_counts_as_rounding(figures, fine):
    assert raised._is_rounding(figures) is fine
