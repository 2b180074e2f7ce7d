import numpy as np
import pytest

from requant.coreml.network import decode, set_float32, weight_fields
from requant.runtime import open_model
from tests.building import add_convolution, network, numbers
from tests.runtime.reference import close, convolved_in, deconvolved_in, pooled_in, same_pads
from tests.runtime.running import run_network

X = numbers(2, 4, 5, 6, 7)
CUSTOM = ("front", "back", "top", "bottom", "left", "right")
AMOUNTS = (1, 0, 2, 1, 0, 3)


def padding(mode, names):
    """Return the builder's parameters for a padding of volumes, and the pads."""
    given = {f"{prefix}_{name}": n for prefix, name, n in zip(["padding"] * 6, names, AMOUNTS, strict=True)}
    pads = [AMOUNTS[0:2], AMOUNTS[2:4], AMOUNTS[4:6]] if mode == "custom" else [(0, 0)] * 3
    return given if mode == "custom" else {}, pads


@pytest.mark.parametrize("mode", ["valid", "same", "custom"])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_convolution_of_volumes(stride, dilation, mode):
    weights, bias = numbers(6, 2, 2, 3, 2), numbers(6)
    given, pads = padding(mode, CUSTOM)
    if mode == "same":
        pads = same_pads(X.shape[2:], [(k - 1) * dilation + 1 for k in (2, 3, 2)], [stride] * 3)
    steps = {f"stride_{n}": stride for n in ("depth", "height", "width")}
    steps |= {f"dilation_{n}": dilation for n in ("depth", "height", "width")}
    found = run_network(
        lambda b: b.add_convolution3d(
            "l", 4, 6, 2, 3, 2, weights, bias, True, groups=2, padding_mode=mode,
            input_name="x", output_name="y", **steps, **given,
        ),
        x=X,
    )[0]  # fmt: skip
    close(found, convolved_in(X, weights, bias, [stride] * 3, pads, [dilation] * 3, groups=2))


@pytest.mark.parametrize("groups", [1, 2])
def test_deconvolution_of_volumes(groups):
    weights = numbers(4, 3, 2, 3, 2)
    found = run_network(
        lambda b: b.add_convolution3d(
            "l", 4, 3 * groups, 2, 3, 2, weights.swapaxes(0, 1), None, False, groups=groups, is_deconv=True,
            stride_depth=2, stride_height=2, stride_width=1, padding_mode="valid", input_name="x", output_name="y",
        ),
        x=X,
    )[0]  # fmt: skip
    close(found, deconvolved_in(X, weights, (2, 2, 1), (1, 1, 1), groups=groups))


def test_weights_that_are_an_input():
    x, weights = numbers(1, 4, 7, 8), numbers(5, 4, 3, 2)

    def layers(b):
        b.add_convolution(
            "l", 4, 5, 3, 2, 2, 1, "valid", 1, W=None, b=None, has_bias=False,
            input_name=["x", "w"], output_name="y",
        )  # fmt: skip

    close(run_network(layers, x=x, w=weights)[0], convolved_in(x, weights, None, (2, 1), [(0, 0)] * 2, (1, 1)))


@pytest.mark.parametrize("kind", ["MAX", "AVERAGE"])
@pytest.mark.parametrize("mode", ["VALID", "SAME", "CUSTOM"])
@pytest.mark.parametrize("exclude", [False, True])
def test_pooling_of_volumes(exclude, mode, kind):
    given = {f"custom_padding_{n}": 1 for n in CUSTOM} if mode == "CUSTOM" else {}
    pads = {"VALID": [(0, 0)] * 3, "CUSTOM": [(1, 1)] * 3, "SAME": same_pads(X.shape[2:], (3, 2, 3), (2, 2, 1))}[mode]
    found = run_network(
        lambda b: b.add_pooling3d(
            "l", "x", "y", kind, 3, 2, 3, 2, 2, 1, padding_mode=mode, average_pooling_count_excludes_padding=exclude,
            **given,
        ),
        x=X,
    )[0]  # fmt: skip
    name = {"MAX": "max", "AVERAGE": "avg"}[kind]
    close(found, pooled_in(X, (3, 2, 3), (2, 2, 1), pads, name, exclude))


@pytest.mark.parametrize(("kind", "function"), [("MAX", np.max), ("AVERAGE", np.mean)])
def test_pooling_of_whole_volumes(kind, function):
    found = run_network(lambda b: b.add_global_pooling3d("l", "x", "y", kind), x=X)[0]
    close(found, function(X, axis=(2, 3, 4), keepdims=True))


@pytest.mark.parametrize("whole", [False, True])
def test_pooling_by_length(whole):
    x = numbers(1, 3, 6, 7)
    found = run_network(lambda b: b.add_pooling("l", 2, 3, 2, 2, "L2", "VALID", "x", "y", is_global=whole), x=x)[0]
    if whole:
        close(found, np.sqrt((x**2).sum((2, 3), keepdims=True)))
    else:
        close(found, pooled_in(x, (2, 3), (2, 2), [(0, 0)] * 2, "l2"))


def test_a_grouped_deconvolution_with_a_scale_per_output_channel():
    model = network(lambda b: add_convolution(b, numbers(4, 3, 3, 3), deconvolution=True, groups=2), {"x": (4, 6, 6)})
    (field,) = weight_fields(model.spec)
    codes = np.random.default_rng(0).integers(0, 256, 4 * 3 * 9, np.uint8)
    field.params.Clear()
    field.params.quantization.numberOfBits = 8
    field.params.quantization.linearQuantization.scale.extend([1, 2, 3, 4, 5, 6])  # 2 groups of 3 channels
    field.params.quantization.linearQuantization.bias.extend([0, -1, 0, 1, 0, 2])
    field.params.rawValue = codes.tobytes()
    x = numbers(4, 6, 6)
    found = next(iter(open_model(model).predict({"x": x}).values()))
    # By hand: input channels 0 and 1 give outputs 0 to 2, input channels 2 and 3 outputs 3 to 5.
    by_hand = codes.reshape(2, 2, 3, 9) * np.float32([[1, 2, 3], [4, 5, 6]])[:, None, :, None]
    by_hand += np.float32([[0, -1, 0], [1, 0, 2]])[:, None, :, None]
    np.testing.assert_array_equal(decode(field), by_hand.reshape(4, 3, 3, 3))
    set_float32(field.params, by_hand)
    np.testing.assert_array_equal(found, next(iter(open_model(model).predict({"x": x}).values())))
