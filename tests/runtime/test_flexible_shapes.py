"""Inputs whose sizes are left open: ranges, enumerated shapes, pictures of several sizes."""

from pathlib import Path

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import get_new_symbol
from coremltools.models import datatypes
from coremltools.models.neural_network import NeuralNetworkBuilder, flexible_shape_utils
from PIL import Image

from requant.coreml.model import Model
from requant.errors import RequantError
from requant.runtime.onnx_runner import OnnxRunner
from tests.building import FLOAT32, IOS15, add_convolution, as_model, numbers
from tests.runtime.reference import close, convolved

WEIGHT = numbers(4, 3, 3, 3)


def converted(function, symbols, *inputs, **options):
    """Return a runner of a program with flexible inputs, as `ct.convert` declares them."""
    made = mb.program(input_specs=[mb.TensorSpec(shape) for shape in symbols], opset_version=IOS15)(function)
    model = ct.convert(
        made,
        inputs=list(inputs),
        minimum_deployment_target=IOS15,
        compute_precision=FLOAT32,
        skip_model_load=True,
        **options,
    )
    return OnnxRunner(as_model(model))


def features(x):
    return mb.conv(x=x, weight=WEIGHT, name="y")


def test_ranges():
    symbols = (1, 3, get_new_symbol(), get_new_symbol())
    shape = ct.Shape((1, 3, ct.RangeDim(4, 10, default=6), ct.RangeDim(4, 40, default=8)))
    runner = converted(features, [symbols], ct.TensorType("x", shape))
    for size in ((4, 4), (10, 40), (6, 8)):
        x = numbers(1, 3, *size)
        close(runner.predict({"x": x})["y"][0], convolved(x[0], WEIGHT))
    with pytest.raises(RequantError, match=r"'x' is an array of shape \(1, 3, 4 to 10, 4 to 40\)"):
        runner.predict({"x": numbers(1, 3, 11, 8)})


def test_enumerated_shapes():
    symbols = (1, 3, get_new_symbol(), get_new_symbol())
    shapes = ct.EnumeratedShapes([(1, 3, 6, 6), (1, 3, 8, 12)], default=(1, 3, 6, 6))
    runner = converted(features, [symbols], ct.TensorType("x", shapes))
    for size in ((6, 6), (8, 12)):
        x = numbers(1, 3, *size)
        close(runner.predict({"x": x})["y"][0], convolved(x[0], WEIGHT))
    with pytest.raises(RequantError, match=r"shape \(1, 3, 6, 6\) or \(1, 3, 8, 12\), but got one of shape"):
        runner.predict({"x": numbers(1, 3, 6, 12)})


def test_pictures_of_a_range_of_sizes():
    symbols = (1, 3, get_new_symbol(), get_new_symbol())
    shape = ct.Shape((1, 3, ct.RangeDim(4, 10, default=6), ct.RangeDim(4, 10, default=6)))
    runner = converted(features, [symbols], ct.ImageType("x", shape, color_layout=ct.colorlayout.BGR))
    pixels = np.random.default_rng(0).integers(0, 256, (5, 9, 3), np.uint8)
    expected = convolved(pixels[..., ::-1].transpose(2, 0, 1).astype(np.float32), WEIGHT)
    close(runner.predict({"x": Image.fromarray(pixels)})["y"][0], expected, 1e-4)
    with pytest.raises(RequantError, match="a picture of 4 to 10 x 4 to 10 pixels, but got 3 x 9"):
        runner.predict({"x": pixels[:, :3].repeat(2, 0)[:9]})


def flexible_network(change, *shape, result="y", picture=False):
    builder = NeuralNetworkBuilder([("x", datatypes.Array(*shape))], [("y", None)])
    add_convolution(builder, WEIGHT)
    if picture:
        ct.utils.convert_double_to_float_multiarray_type(builder.spec)
        from coremltools.proto import FeatureTypes_pb2

        kind = builder.spec.description.input[0].type
        kind.imageType.width, kind.imageType.height = shape[2], shape[1]
        kind.imageType.colorSpace = FeatureTypes_pb2.ImageFeatureType.RGB
    change(builder.spec)
    return OnnxRunner(Model(builder.spec, {}, Path("net.mlmodel")))


def test_a_network_with_ranges():
    def change(spec):
        flexible_shape_utils.set_multiarray_ndshape_range(spec, "x", [3, 4, 4], [3, 12, -1])

    runner = flexible_network(change, 3, 6, 6)
    for size in ((4, 4), (12, 30)):
        x = numbers(3, *size)
        close(runner.predict({"x": x})["y"], convolved(x, WEIGHT))
    with pytest.raises(RequantError, match="'x'"):
        runner.predict({"x": numbers(3, 13, 6)})


def test_a_network_with_enumerated_shapes():
    def change(spec):
        flexible_shape_utils.add_multiarray_ndshape_enumeration(spec, "x", [(3, 8, 7), (3, 5, 5)])

    runner = flexible_network(change, 3, 6, 6)
    for size in ((6, 6), (8, 7), (5, 5)):
        x = numbers(3, *size)
        close(runner.predict({"x": x})["y"], convolved(x, WEIGHT))
    with pytest.raises(RequantError, match="'x'"):
        runner.predict({"x": numbers(3, 7, 7)})


@pytest.mark.parametrize("enumerated", [True, False])
def test_a_network_for_pictures_of_several_sizes(enumerated):
    def change(spec):
        if enumerated:
            sizes = [flexible_shape_utils.NeuralNetworkImageSize(9, 7)]
            flexible_shape_utils.add_enumerated_image_sizes(spec, "x", sizes)
        else:
            sizes = flexible_shape_utils.NeuralNetworkImageSizeRange((5, 9), (5, -1))
            flexible_shape_utils.update_image_size_range(spec, "x", sizes)

    runner = flexible_network(change, 3, 6, 6, picture=True)
    for size in ((6, 6), (9, 7)):
        pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        expected = convolved(pixels.transpose(2, 0, 1).astype(np.float32), WEIGHT)
        close(runner.predict({"x": pixels})["y"].reshape(expected.shape), expected, 1e-4)
    with pytest.raises(RequantError, match="'x' is a picture of"):
        runner.predict({"x": np.zeros((10, 7, 3), np.uint8)})
