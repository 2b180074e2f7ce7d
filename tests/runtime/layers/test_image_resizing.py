import itertools

import numpy as np
import pytest
from coremltools.models import datatypes
from coremltools.models.neural_network import NeuralNetworkBuilder

from requant.coreml.model import Model
from requant.runtime.onnx_runner import OnnxRunner
from tests.building import numbers
from tests.runtime.reference import close
from tests.runtime.running import run_network
from tests.runtime.sampling import cut, resized

X = numbers(3, 5, 4)
SAMPLING = {
    "STRICT_ALIGN_ENDPOINTS_MODE": "STRICT_ALIGN_CORNERS",
    "ALIGN_ENDPOINTS_MODE": "ALIGN_CORNERS",
    "UPSAMPLE_MODE": "DEFAULT",
    "ROI_ALIGN_MODE": "OFFSET_CORNERS",
}
UPSAMPLING = {
    "DEFAULT": "DEFAULT",
    "ALIGN_CORNERS_TRUE": "STRICT_ALIGN_CORNERS",
    "ALIGN_CORNERS_FALSE": "UNALIGN_CORNERS",
}


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(
    ("factors", "mode"),
    [*itertools.product([(2, 3), (1, 4)], UPSAMPLING), *itertools.product([(1.5, 2.5)], list(UPSAMPLING)[1:])],
)
def test_upsample_bilinear(factors, mode, exact):
    def layers(b):
        b.add_upsample("up", *factors, "x", "y", mode="BILINEAR", linear_upsample_mode=mode)

    (found,) = run_network(layers, exact, x=X)
    close(found, resized(X, int(5 * factors[0]), int(4 * factors[1]), UPSAMPLING[mode]))


@pytest.mark.parametrize("shape", [(3, 5, 4), (2, 3, 5, 4), (2, 2, 3, 5, 4)])
def test_upsample_nearest(shape):
    x = numbers(*shape)
    (found,) = run_network(lambda b: b.add_upsample("up", 3, 2, "x", "y", mode="NN"), x=x)
    np.testing.assert_array_equal(found, x.repeat(3, -2).repeat(2, -1))


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(("size", "mode"), itertools.product([(7, 9), (1, 1), (3, 4)], SAMPLING))
def test_resize_bilinear(size, mode, exact):
    (found,) = run_network(lambda b: b.add_resize_bilinear("resize", "x", "y", *size, mode), exact, x=X)
    close(found, resized(X, *size, SAMPLING[mode]))


@pytest.mark.parametrize("exact", [True, False])
def test_crop(exact):
    def edges(b):
        b.add_crop("crop", 1, 0, 2, 1, 0, ["x"], "y")

    def window(b):
        b.add_crop("crop", 0, 0, 0, 0, [2, 1], ["x", "like"], "y")

    close(run_network(edges, exact, x=X)[0], X[:, 2:4, 1:4])
    close(run_network(window, exact, x=X, like=numbers(3, 2, 3))[0], X[:, 2:4, 1:4])


BOXES = np.array([[0, 0, 4, 3], [1, 0.5, 3.5, 2.5], [-1, 1, 2, 2]], np.float32)


@pytest.mark.parametrize("mode", SAMPLING)
def test_crop_resize_in_exact_shapes(mode):
    pictures = numbers(1, 2, 3, 5, 4)

    def layers(b):
        b.add_crop_resize("crop", ["x", "boxes"], "y", 3, 2, mode, False, "CORNERS_HEIGHT_FIRST", 1.0)

    expected = [[cut(picture, box, 3, 2, SAMPLING[mode], 0) for picture in pictures[0]] for box in BOXES]
    close(run_network(layers, x=pictures, boxes=BOXES.reshape(3, 1, 4, 1, 1))[0], expected)
    numbered = np.hstack([[[1], [1], [0]], BOXES]).astype(np.float32).reshape(3, 1, 5, 1, 1)
    expected = [[cut(pictures[0, i], box, 3, 2, SAMPLING[mode], 0)] for i, box in zip((1, 1, 0), BOXES, strict=True)]
    close(run_network(layers, x=pictures, boxes=numbered)[0], expected)


def test_crop_resize_of_a_sequence_of_boxes():
    """The first versions declare three axes and take five."""
    builder = NeuralNetworkBuilder(
        [("x", datatypes.Array(3, 5, 4)), ("boxes", datatypes.Array(4, 1, 1))], [("y", None)]
    )
    builder.add_crop_resize("crop", ["x", "boxes"], "y", 2, 2, "ALIGN_ENDPOINTS_MODE", True, "CORNERS_WIDTH_FIRST", 1.0)
    boxes = (BOXES[:, [1, 0, 3, 2]] / [3, 4, 3, 4]).astype(np.float32)
    model = Model(builder.spec, {}, "net.mlmodel")
    inputs = {"x": X[np.newaxis, np.newaxis], "boxes": boxes.reshape(3, 1, 4, 1, 1)}
    found = OnnxRunner(model).predict(inputs)["y"]
    close(found, [[cut(X, box, 2, 2, "ALIGN_CORNERS", 0)] for box in BOXES])
