"""What Apple's framework is handed and what is made of its answer, with coremltools' class replaced."""

import coremltools as ct
import numpy as np
import pytest
from PIL import Image

from requant.runtime.apple import AppleRunner
from tests.building import network

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8)


@pytest.fixture
def given(monkeypatch):
    """Return the inputs that a replaced `MLModel` gets; it answers with a picture as coremltools makes them."""
    seen = {}

    class Replaced:
        def __init__(self, path, compute_units, **options):
            seen.update(path=path, units=compute_units, **options)

        def predict(self, values):
            seen["values"] = values
            return {"y": Image.fromarray(PIXELS).convert("RGBA"), "z": np.ones(2)}

    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr(ct.models, "MLModel", Replaced)
    return seen


def picture_network(colour):
    model = network(lambda b: b.add_activation("relu", "RELU", "x", "y"), {"x": (3, 6, 6), "other": (3, 6, 6)})
    kind = model.spec.description.input[0].type.imageType
    kind.height = kind.width = 6
    kind.colorSpace = kind.ColorSpace.Value(colour)
    model.spec.description.input[1].type.isOptional = True
    return model


@pytest.mark.parametrize(
    ("colour", "mode"), [("RGB", "RGB"), ("BGR", "RGB"), ("GRAYSCALE", "L"), ("GRAYSCALE_FLOAT16", "F")]
)
def test_pictures_in_the_modes_that_coremltools_wants_and_without_its_alpha(given, colour, mode):
    runner = AppleRunner(picture_network(colour))
    found = runner.predict({"x": PIXELS, "other": None})
    assert list(given["values"]) == ["x"]
    assert given["values"]["x"].mode == mode
    np.testing.assert_array_equal(np.asarray(found["y"]), PIXELS)
    np.testing.assert_array_equal(found["z"], np.ones(2))
