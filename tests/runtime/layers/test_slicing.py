import numpy as np
import pytest

from requant.errors import RequantError
from tests.building import numbers
from tests.runtime.reference import X, close
from tests.runtime.running import add_layer, run_network

A = numbers(5, 6, 7)
NO = [False] * 3
OPENED = pytest.mark.parametrize("opened", [(), ("x",)], ids=["known", "open"])


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(("axis", "index"), [("channel", 0), ("height", 1), ("width", 2)])
@pytest.mark.parametrize(("start", "end", "step"), [(1, 3, 1), (0, -1, 2), (1, 100, 1)])
def test_section_of_a_picture(axis, index, start, end, step, exact):
    layers = add_layer("slice", axis=axis, start_index=start, end_index=end, stride=step)
    part = [slice(None)] * 3
    part[index] = slice(start, end, step)
    close(run_network(layers, exact, x=X)[0], X[tuple(part)])


@OPENED
def test_constant_section(opened):
    layers = add_layer(
        "slice_static", begin_ids=[1, 2, 3], end_ids=[3, -3, 2], strides=[2, 2, 2],
        begin_masks=[True, False, True], end_masks=[False, True, True],
    )  # fmt: skip
    close(run_network(layers, opened=opened, x=A)[0], A[:3:2, 2::2, ::2])


@OPENED
def test_constant_section_backwards_and_of_one_index(opened):
    layers = add_layer(
        "slice_static", begin_ids=[-1, -2, 0], end_ids=[0, 0, 0], strides=[-2, 1, -1],
        begin_masks=[False, False, True], end_masks=[False, False, True], squeeze_masks=[False, True, False],
    )  # fmt: skip
    close(run_network(layers, opened=opened, x=A)[0], A[-1:0:-2, -2, ::-1])


@OPENED
def test_computed_section(opened):
    begin, end = np.float32([1, 0, -4]), np.float32([4, 2, -1])
    close(run_network(add_layer("slice_dynamic", "b", "e"), opened=opened, x=A, b=begin, e=end)[0], A[1:4, :2, -4:-1])
    layers = add_layer(
        "slice_dynamic", "b", end_ids=[4, 0, -1], strides=[2, 1, 1], begin_masks=NO, end_masks=[False, True, False],
        squeeze_masks=[False, False, False],
    )  # fmt: skip
    close(run_network(layers, opened=opened, x=A, b=begin)[0], A[1:4:2, :, -4:-1])


def test_computed_section_with_constant_inputs_for_strides_and_masks():
    def layers(b):
        for name, values in {"steps": [1, 2, 1], "from": [1, 0, 0], "to": [0, 0, 1], "one": [0, 1, 0]}.items():
            b.add_load_constant_nd(name, name, np.float32(values), [3])
        b.add_slice_dynamic("slice", ["x", "b", "e", "steps", "from", "to", "one"], "y")

    found = run_network(layers, x=A, b=np.float32([2, -1, 1]), e=np.float32([3, 0, 0]))[0]
    close(found, A[:3, -1, 1:])


def test_computed_strides_are_refused_by_name():
    layers = add_layer("slice_dynamic", "b", "e", "s")
    three = np.ones(3, np.float32)
    with pytest.raises(RequantError, match=r"type sliceDynamic .* strides or masks that are computed \(its input 4\)"):
        run_network(layers, x=A, b=three, e=three, s=three)


@OPENED
def test_section_of_a_size(opened):
    layers = add_layer("slice_by_size", "b", axis=1, size=2)
    close(run_network(layers, opened=opened, x=A, b=np.float32([3]))[0], A[:, 3:5])


@OPENED
@pytest.mark.parametrize(("axis", "size", "step"), [(0, 2, 1), (1, 3, 2), (-1, 7, 3)])
def test_sliding_windows(axis, size, step, opened):
    found = run_network(
        add_layer("sliding_windows", axis=axis, window_size=size, step=step), opened=opened, x=A
    )[0]  # fmt: skip
    windows = np.lib.stride_tricks.sliding_window_view(A, size, axis)
    axis %= 3
    expected = np.moveaxis(windows, -1, axis + 1).take(range(0, windows.shape[axis], step), axis)
    close(found, expected)
