import numpy as np
import pytest

from requant.coreml.network import set_float16
from requant.runtime.onnx_runner import OnnxRunner
from tests.building import network, numbers
from tests.runtime.reference import close
from tests.runtime.running import add_layer, run_network

A, THREE = numbers(2, 3, 4), np.float32([3, 1, 2])
OPENED = pytest.mark.parametrize("opened", [(), ("x",)], ids=["known", "open"])


@OPENED
def test_one_number(opened):
    close(run_network(add_layer("fill_like", value=1.5), opened=opened, x=A)[0], np.full(A.shape, 1.5))
    close(run_network(add_layer("fill_dynamic", value=-2), x=THREE)[0], np.full((3, 1, 2), -2))
    static = run_network(lambda b: b.add_fill_static("fill", "y", (2, 5), 7), x=A)[0]
    close(static, np.full((2, 5), 7))


def test_constants():
    close(run_network(lambda b: b.add_load_constant("c", "y", A, A.shape), exact=False, x=A)[0], A)
    close(run_network(lambda b: b.add_load_constant("c", "y", A, A.shape), x=A)[0], A[None, None])
    close(run_network(lambda b: b.add_load_constant_nd("c", "y", A[0], A[0].shape), x=A)[0], A[0])


def test_a_constant_in_float16():
    model = network(lambda b: b.add_load_constant_nd("c", "y", A, A.shape), {"x": (1,)}, exact=True)
    set_float16(model.spec.neuralNetwork.layers[0].loadConstantND.data, A)
    close(OnnxRunner(model).predict({"x": np.zeros(1, np.float32)})["y"], A.astype(np.float16))


@pytest.mark.parametrize(("start", "end", "step"), [(0, 5, 1), (2, -3, -1.5), (1, 2, 0.3)])
def test_ranges(start, end, step):
    expected = np.arange(start, end, step, np.float32)
    found = run_network(lambda b: b.add_range_static("range", "y", end=end, start=start, step=step), x=A)[0]
    close(found, expected)

    def layers(b):
        b.add_range_dynamic("range", ["x", "s", "d"], "y")
        b.add_range_dynamic("other", ["x"], "z", start=start, step=step)

    numbers_in = {name: np.float32([value]) for name, value in {"x": end, "s": start, "d": step}.items()}
    for found in run_network(layers, outputs=("y", "z"), **numbers_in):
        close(found, expected)


@OPENED
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("axis", [0, -1, 1])
def test_one_hot(axis, given, opened):
    indices = np.float32([[2, 0, 5], [-1, 1, 3]])

    def layers(b):
        sources = ["x", "n"] if given else ["x"]
        b.add_one_hot("hot", sources, "y", None if given else 4, axis=axis, on_value=5, off_value=-1)

    found = run_network(layers, opened=opened, x=indices, **({"n": np.float32([4])} if given else {}))[0]
    expected = np.where(indices[..., None] == np.arange(4), 5, -1)  # an index outside chooses nothing
    close(found, np.moveaxis(expected, -1, axis))
