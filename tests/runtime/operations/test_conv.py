import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import get_new_symbol

from tests.building import IOS16, numbers
from tests.runtime.reference import close, convolved_in, deconvolved_in, same_pads
from tests.runtime.running import run_program

SIZES, KERNELS = {1: (9,), 2: (7, 8), 3: (5, 6, 7)}, {1: (4,), 2: (3, 2), 3: (2, 3, 2)}
CUSTOM = [1, 2, 0, 1, 3, 0]
PADS = ("valid", "custom", "same", "same_lower")


def padding(kind, sizes, reach, stride):
    """Return MIL's parameters for a padding, and the pads that it stands for."""
    axes = len(sizes)
    if kind == "custom":
        pads = [(CUSTOM[2 * i], CUSTOM[2 * i + 1]) for i in range(axes)]
        return {"pad_type": kind, "pad": CUSTOM[: 2 * axes]}, pads
    mode = "BOTTOM_RIGHT_HEAVY" if kind == "same" else "TOP_LEFT_HEAVY"
    pads = [(0, 0)] * axes if kind == "valid" else same_pads(sizes, reach, stride, mode)
    return {"pad_type": kind}, pads


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("pad", PADS)
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2), (2, 2), (3, 2)])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_conv(axes, stride, dilation, pad, opened):
    sizes, kernel = SIZES[axes], KERNELS[axes]
    x, weights, bias = numbers(2, 4, *sizes), numbers(6, 2, *kernel), numbers(6)
    strides, dilations = [stride] * axes, [dilation] * axes
    options, pads = padding(pad, sizes, [(k - 1) * dilation + 1 for k in kernel], strides)
    shapes = [mb.TensorSpec((2, 4, *(get_new_symbol() for _ in sizes)))] if opened else None
    found = run_program(
        lambda x: mb.conv(x=x, weight=weights, bias=bias, strides=strides, dilations=dilations, groups=2, **options),
        x,
        shapes=shapes,
        target=IOS16,
    )[0]
    close(found, convolved_in(x, weights, bias, strides, pads, dilations, groups=2))


def test_weights_that_are_computed():
    x, weights = numbers(1, 3, 8, 8), numbers(5, 3, 3, 3)
    found = run_program(lambda x, w: mb.conv(x=x, weight=mb.tanh(x=w), pad_type="same"), x, weights)[0]
    close(found, convolved_in(x, np.tanh(weights), None, (1, 1), ((1, 1), (1, 1)), (1, 1)))


@pytest.mark.parametrize("pad", ["valid", "custom", "same"])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2), (3, 2), (4, 1)])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_conv_transpose(axes, stride, dilation, pad):
    sizes, kernel = SIZES[axes], KERNELS[axes]
    x, weights, bias = numbers(2, 4, *sizes), numbers(4, 3, *kernel), numbers(6)
    strides, dilations = [stride] * axes, [dilation] * axes
    options = {"pad_type": "custom", "pad": [1, 0, 0, 1, 1, 0][: 2 * axes]} if pad == "custom" else {"pad_type": pad}
    found = run_program(
        lambda x: mb.conv_transpose(
            x=x, weight=weights, bias=bias, strides=strides, dilations=dilations, groups=2, **options
        ),
        x,
    )[0]
    whole = deconvolved_in(x, weights, strides, dilations, groups=2)
    crops = [(0, 0)] * axes
    if pad == "custom":
        crops = [(1, 0), (0, 1), (1, 0)][:axes]
    if pad == "same":
        crops = [((n - size * stride) // 2, n - size * stride) for n, size in zip(whole.shape[2:], sizes, strict=True)]
        crops = [(max(total, 0) // 2, total - max(total, 0) // 2) for _, total in crops]
    close(found, cropped(whole, crops) + bias.reshape(-1, *[1] * axes))


def cropped(x, crops):
    """Return a tensor less a border; a negative one is added as zeros."""
    added = np.pad(x, ((0, 0), (0, 0), *((max(-a, 0), max(-b, 0)) for a, b in crops)))
    where = [slice(max(a, 0), size - max(b, 0)) for (a, b), size in zip(crops, added.shape[2:], strict=True)]
    return added[(slice(None), slice(None), *where)]


@pytest.mark.parametrize(("pad", "size", "crops"), [
    ("same", (14, 15), ((0, 1), (0, 1))),
    ("same", (13, 16), ((1, 1), (0, 0))),
    ("valid", (16, 17), ((0, -1), (0, -1))),
    ("custom", (13, 15), ((1, 1), (0, 1))),
])  # fmt: skip
def test_an_output_shape_says_what_is_cropped(pad, size, crops):
    x, weights = numbers(1, 4, 7, 8), numbers(4, 3, 3, 2)
    options = {"pad_type": pad} | ({"pad": [1, 1, 0, 1]} if pad == "custom" else {})
    found = run_program(
        lambda x: mb.conv_transpose(x=x, weight=weights, strides=[2, 2], output_shape=(1, 3, *size), **options), x
    )[0]
    assert found.shape[2:] == size
    close(found, cropped(deconvolved_in(x, weights, (2, 2), (1, 1)), crops))


@pytest.mark.parametrize("pad", ["valid", "same"])
def test_conv_transpose_of_an_open_size(pad):
    x, weights = numbers(1, 4, 7, 8), numbers(4, 3, 4, 4)
    specification = mb.TensorSpec((1, 4, get_new_symbol(), get_new_symbol()))
    found = run_program(
        lambda x: mb.conv_transpose(x=x, weight=weights, strides=[2, 2], pad_type=pad), x, shapes=[specification]
    )[0]
    crop = ((1, 1), (1, 1)) if pad == "same" else ((0, 0), (0, 0))
    close(found, cropped(deconvolved_in(x, weights, (2, 2), (1, 1)), crop))
