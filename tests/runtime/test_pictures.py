"""Pictures that go into ML Programs and come out of them, from a package as `ct.convert` writes it."""

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import types
from PIL import Image

from requant.runtime.onnx_runner import OnnxRunner
from tests.building import FLOAT32, IOS16, as_model
from tests.runtime.reference import close

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
PLANES = PIXELS.transpose(2, 0, 1)[np.newaxis].astype(np.float32)
LAYOUTS = {"RGB": ct.colorlayout.RGB, "BGR": ct.colorlayout.BGR}


def converted(function, channels, given, wanted="", dtype=types.fp32):
    """Return a runner of a program of one picture x (1, channels, 6, 5) whose output y is a picture too, if wanted."""
    made = mb.program(input_specs=[mb.TensorSpec((1, channels, 6, 5), dtype)], opset_version=IOS16)(function)
    options = {"minimum_deployment_target": IOS16, "compute_precision": FLOAT32, "skip_model_load": True}
    model = as_model(ct.convert(made, inputs=[given], **options))
    if wanted:
        picture = model.spec.description.output[0].type.imageType
        picture.height, picture.width = 6, 5
        picture.colorSpace = picture.ColorSpace.Value(wanted)
    return OnnxRunner(model)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_scale_and_bias_of_a_picture(layout):
    given = ct.ImageType("x", scale=1 / 127.5, bias=[-1.0, -0.9, -0.8], color_layout=LAYOUTS[layout])
    runner = converted(lambda x: mb.identity(x=x, name="y"), 3, given)
    planes = PLANES if layout == "RGB" else PLANES[:, ::-1]
    bias = np.array([-1.0, -0.9, -0.8]).reshape(1, 3, 1, 1)
    close(runner.predict({"x": Image.fromarray(PIXELS)})["y"], planes / 127.5 + bias)


@pytest.mark.parametrize("going_in", LAYOUTS)
@pytest.mark.parametrize("coming_out", LAYOUTS)
def test_colours_keep_their_order(going_in, coming_out):
    given = ct.ImageType("x", color_layout=LAYOUTS[going_in])
    runner = converted(lambda x: mb.sub(x=255.0, y=x, name="y"), 3, given, coming_out)
    found = runner.predict({"x": Image.fromarray(PIXELS)})["y"]
    assert (found.mode, found.size) == ("RGB", (5, 6))
    expected = 255 - (PIXELS if going_in == coming_out else PIXELS[..., ::-1])
    np.testing.assert_array_equal(np.asarray(found), expected)


def test_a_grey_picture():
    given = ct.ImageType("x", color_layout=ct.colorlayout.GRAYSCALE)
    runner = converted(lambda x: mb.mul(x=x, y=2.0, name="y"), 1, given, "GRAYSCALE")
    grey = PIXELS[..., 0]
    found = runner.predict({"x": Image.fromarray(grey)})["y"]
    assert found.mode == "L"
    np.testing.assert_array_equal(np.asarray(found), np.minimum(grey.astype(int) * 2, 255))


def test_a_grey_picture_of_floats():
    given = ct.ImageType("x", color_layout=ct.colorlayout.GRAYSCALE_FLOAT16)
    half = np.float16(0.5)
    runner = converted(lambda x: mb.mul(x=x, y=half, name="y"), 1, given, "GRAYSCALE_FLOAT16", types.fp16)
    depth = np.random.default_rng(1).normal(0, 500, (6, 5)).astype(np.float32)
    found = runner.predict({"x": Image.fromarray(depth)})["y"]
    assert found.mode == "F"
    np.testing.assert_array_equal(np.asarray(found), depth.astype(np.float16) / 2)
