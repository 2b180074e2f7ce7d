import numpy as np
import pytest

from requant.errors import RequantError
from tests.building import numbers
from tests.runtime.reference import X, close
from tests.runtime.running import add_layer, run_network

A, SEQUENCE = numbers(2, 1, 3, 4), numbers(3, 2, 4, 3, 5)  # (sequence, batch, channel, height, width)

SIX = A.repeat(6, 1)

CASES = {
    "transpose": (add_layer("transpose", axes=(3, 0, 2, 1)), {}, A.transpose(3, 0, 2, 1)),
    "copy": (add_layer("copy"), {}, A),
    "reshape_static": (add_layer("reshape_static", output_shape=(4, -1, 2)), {}, A.reshape(4, 3, 2)),
    "reshape_dynamic": (add_layer("reshape_dynamic", "s"), {"s": np.float32([4, -1])}, A.reshape(4, 6)),
    "reshape_like": (add_layer("reshape_like", "s"), {"s": numbers(4, 6)}, A.reshape(4, 6)),
    "rank_preserving": (add_layer("rank_preserving_reshape", output_shape=(0, 3, -1, 2)), {}, A.reshape(2, 3, 2, 2)),
    "squeeze": (add_layer("squeeze", axes=[-3]), {}, A[:, 0]),
    "squeeze_all": (add_layer("squeeze", squeeze_all=True), {}, A[:, 0]),
    "expand_dims": (add_layer("expand_dims", axes=[-1, 2]), {}, A[:, :, None, :, :, None]),
    "flatten_to_2d": (add_layer("flatten_to_2d", axis=-2), {}, A.reshape(2, 12)),
    "flatten_to_2d_all": (add_layer("flatten_to_2d", axis=0), {}, A.reshape(1, 24)),
    "get_shape": (add_layer("get_shape"), {}, [2, 1, 3, 4]),
    "broadcast_static": (add_layer("broadcast_to_static", output_shape=(5, 2, 6, 3, 4)), {}, np.stack([SIX] * 5)),
    "broadcast_dynamic": (add_layer("broadcast_to_dynamic", "s"), {"s": np.float32([2, 6, 3, 4])}, SIX),
    "broadcast_like": (add_layer("broadcast_to_like", "s"), {"s": numbers(2, 6, 3, 4)}, SIX),
}  # fmt: skip


@pytest.mark.parametrize("opened", [(), ("x",)], ids=["known", "open"])
@pytest.mark.parametrize("name", CASES)
def test_shapes(name, opened):
    layers, others, expected = CASES[name]
    close(run_network(layers, opened=opened, x=A, **others)[0], expected)


def test_one_axis_is_always_left():
    x = numbers(1, 1)
    close(run_network(add_layer("squeeze", axes=[0, 1]), x=x)[0], x[0])
    close(run_network(add_layer("squeeze", squeeze_all=True), x=x)[0], x[0])
    close(run_network(add_layer("squeeze", axes=[0]), x=x[0])[0], x[0])


def test_what_does_not_ask_for_the_number_of_axes_follows_a_squeeze_of_open_axes():
    def layers(b):
        b.add_squeeze("squeeze", "x", "squeezed", squeeze_all=True)
        b.add_activation("relu", "RELU", "squeezed", "y")

    close(run_network(layers, opened=["x"], x=A)[0], np.maximum(A[:, 0], 0))


def test_the_shape_of_an_array_serves_as_a_shape():
    def layers(b):
        b.add_get_shape("shape", "x", "shape")
        b.add_slice_static("rows", "shape", "rows", [0], [1], [1], [False], [False])
        b.add_load_constant_nd("rest", "rest", np.float32([-1]), [1])
        b.add_concat_nd("sizes", ["rows", "rest"], "sizes", axis=0)
        b.add_reshape_dynamic("reshape", ["x", "sizes"], "y")

    for opened in ((), ("x",)):
        close(run_network(layers, opened=opened, x=A)[0], A.reshape(2, 12))


def reshape(target, mode=0):
    return lambda b: b.add_reshape("l", "x", "y", target, mode)


def test_reshape_of_channel_height_and_width():
    close(run_network(reshape((7, 4, 6)), exact=False, x=X)[0], X.reshape(7, 4, 6))


def test_reshape_with_the_channels_last():
    expected = X.transpose(1, 2, 0).reshape(2, 12, 7).transpose(2, 0, 1)
    close(run_network(reshape((7, 2, 12), 1), exact=False, x=X)[0], expected)


def test_reshape_keeps_sequence_and_batch():
    close(run_network(reshape((5, 3, 4)), x=SEQUENCE)[0], SEQUENCE.reshape(3, 2, 5, 3, 4))


@pytest.mark.parametrize("x", [X, SEQUENCE[:, :1], SEQUENCE], ids=["picture", "sequence", "batch"])
def test_reshape_of_the_sequence_with_the_rest(x):
    target = (2, x.shape[-3] * x.shape[-2] // 2, x.shape[-1], x.size // x.shape[-3] // x.shape[-2] // x.shape[-1])
    if x.ndim == 5:
        target = (x.shape[0] * 2, x.shape[2] // 2, x.shape[3], x.shape[4])
    batch = x.shape[1] if x.ndim == 5 else 1
    five = x if x.ndim == 5 else x[None, None]
    expected = np.stack([five[:, i].reshape(target) for i in range(batch)], 1)
    close(run_network(reshape(target), x=x)[0], expected)
    last = np.stack(
        [
            five[:, i].transpose(0, 2, 3, 1).reshape(target[0], *target[2:], target[1]).transpose(0, 3, 1, 2)
            for i in range(batch)
        ],
        1,
    )
    close(run_network(reshape(target, 1), x=x)[0], last)


@pytest.mark.parametrize("order", [(0, 3, 1, 2), (0, 1, 2, 3), (3, 1, 2, 0), (1, 0, 3, 2)])
def test_permutation(order):
    places = [(0, 2, 3, 4)[axis] for axis in order]
    expected = SEQUENCE.transpose(places[0], 1, *places[1:])
    close(run_network(lambda b: b.add_permute("l", order, "x", "y"), x=SEQUENCE)[0], expected)
    if order[0]:
        close(run_network(lambda b: b.add_permute("l", order, "x", "y"), exact=False, x=SEQUENCE)[0], expected)


def test_permutation_of_a_picture():
    close(run_network(lambda b: b.add_permute("l", (0, 2, 3, 1), "x", "y"), exact=False, x=X)[0], X.transpose(1, 2, 0))
    with pytest.raises(RequantError, match="gets an input of 3 axes instead of five"):
        run_network(lambda b: b.add_permute("l", (3, 1, 2, 0), "x", "y"), x=X)


@pytest.mark.parametrize("layers", [reshape((4, 3, 1)), lambda b: b.add_flatten("l", 0, "x", "y")])
def test_two_axes_are_too_few(layers):
    with pytest.raises(RequantError, match="needs the axes channel, height and width, but gets an input of 2 axes"):
        run_network(layers, x=numbers(4, 3))


def test_an_order_of_fewer_axes_leaves_a_batch_of_one_in_place():
    x = numbers(1, 3, 4, 5)
    close(run_network(add_layer("transpose", axes=(1, 2, 0)), x=x)[0], x.transpose(0, 2, 3, 1))
    with pytest.raises(RequantError, match="it orders 3 axes, but gets an input of 4"):
        run_network(add_layer("transpose", axes=(1, 2, 0)), x=A)
