import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import get_new_symbol

from tests.building import IOS16, numbers
from tests.runtime.operations.test_conv import PADS, SIZES, padding
from tests.runtime.reference import close, pooled_in
from tests.runtime.running import run_program

OPERATIONS = {
    "max": (mb.max_pool, False),
    "avg": (lambda **o: mb.avg_pool(exclude_padding_from_average=False, **o), False),
    "avg without borders": (lambda **o: mb.avg_pool(exclude_padding_from_average=True, **o), True),
    "l2": (mb.l2_pool, False),
}
KERNELS = {1: (4,), 2: (4, 3), 3: (4, 3, 4)}


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("pad", PADS)
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("name", OPERATIONS)
def test_pool(name, axes, stride, pad, opened):
    if name == "l2" and axes == 3:
        pytest.skip("MIL has none")
    function, exclude = OPERATIONS[name]
    sizes, kernel, strides = SIZES[axes], KERNELS[axes], [stride] * axes
    x = numbers(2, 3, *sizes)
    options, pads = padding(pad, sizes, kernel, strides)
    shapes = [mb.TensorSpec((2, 3, *(get_new_symbol() for _ in sizes)))] if opened else None
    found = run_program(
        lambda x: function(x=x, kernel_sizes=kernel, strides=strides, **options), x, shapes=shapes, target=IOS16
    )[0]
    close(found, pooled_in(x, kernel, strides, pads, name.split(" ", maxsplit=1)[0], exclude))


def beyond(size, pad, kernel, stride):
    """Return what comes after the border where the number of windows is rounded up, by MIL's reference."""
    windows = -(-(size + 2 * pad - kernel) // stride) + 1
    if pad and (windows - 1) * stride >= size + pad:
        windows -= 1
    return max((windows - 1) * stride + kernel - size - 2 * pad, 0)


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("size", [7, 8, 9, 10])
@pytest.mark.parametrize(
    ("pad", "kernel", "stride"), [(0, 2, 2), (1, 2, 3), (1, 3, 2), (0, 3, 3), (1, 2, 2), (1, 4, 3)]
)
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_number_of_windows_rounded_up(name, pad, kernel, stride, size, opened):
    function, exclude = OPERATIONS[name]
    x = np.abs(numbers(1, 2, size, 8)) + 1
    options = {"kernel_sizes": [kernel, 2], "strides": [stride, 2], "pad_type": "custom", "pad": [pad, pad, 0, 0]}
    shapes = [mb.TensorSpec((1, 2, get_new_symbol(), 8))] if opened else None
    found = run_program(lambda x: function(x=x, ceil_mode=True, **options), x, shapes=shapes)[0]
    extra = [beyond(size, pad, kernel, stride), 0]
    kind = name.split(" ", maxsplit=1)[0]
    close(found, pooled_in(x, (kernel, 2), (stride, 2), ((pad, pad), (0, 0)), kind, exclude, extra))


@pytest.mark.parametrize("name", OPERATIONS)
def test_borders_as_wide_as_the_windows(name):
    function, exclude = OPERATIONS[name]
    x = numbers(1, 2, 6, 6)
    options = {"kernel_sizes": [2, 2], "strides": [3, 3], "pad_type": "custom", "pad": [1, 3, 2, 0]}
    found = run_program(lambda x: function(x=x, **options), x)[0]
    with np.errstate(invalid="ignore"):
        expected = pooled_in(x, (2, 2), (3, 3), ((1, 3), (2, 0)), name.split(" ", maxsplit=1)[0], exclude)
    close(found, np.maximum(expected, np.finfo(np.float32).min))
