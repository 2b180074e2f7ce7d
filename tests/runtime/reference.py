"""What layers and operations compute, with plain loops, after the text of NeuralNetwork.proto and MIL's reference."""

import numpy as np

from tests.building import numbers

X = numbers(4, 7, 6)


def close(found, expected, tolerance=2e-5):
    expected = np.asarray(expected)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def padded(x, pads, value=0.0):
    (top, bottom), (left, right) = pads
    return np.pad(x, ((0, 0), (top, bottom), (left, right)), constant_values=value)


def same_pads(size, kernel, stride, mode="BOTTOM_RIGHT_HEAVY"):
    pads = []
    for n, k, s in zip(size, kernel, stride, strict=True):
        total = max(0, (-(-n // s) - 1) * s + k - n)
        first = total // 2 if mode == "BOTTOM_RIGHT_HEAVY" else total - total // 2
        pads.append((first, total - first))
    return pads


def windows(x, kernel, stride, dilation=(1, 1)):
    """Yield row, column and window of (channels, kernel height, kernel width)."""
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    for i, top in enumerate(range(0, x.shape[1] - reach[0] + 1, stride[0])):
        for j, left in enumerate(range(0, x.shape[2] - reach[1] + 1, stride[1])):
            yield i, j, x[:, top : top + reach[0] : dilation[0], left : left + reach[1] : dilation[1]]


def convolved(x, weights, bias=None, stride=(1, 1), pads=((0, 0), (0, 0)), dilation=(1, 1), groups=1):
    found = {}
    for group in range(groups):
        inputs = np.split(padded(x.astype(np.float64), pads), groups)[group]
        kernels = np.split(weights.astype(np.float64), groups)[group]
        for i, j, window in windows(inputs, weights.shape[2:], stride, dilation):
            found[group, i, j] = (kernels * window).sum(axis=(1, 2, 3))
    rows, columns = max(k[1] for k in found) + 1, max(k[2] for k in found) + 1
    result = np.array([[[found[g, i, j] for j in range(columns)] for i in range(rows)] for g in range(groups)])
    result = result.transpose(0, 3, 1, 2).reshape(-1, rows, columns)
    return result if bias is None else result + bias[:, None, None]


def deconvolved(x, weights, bias=None, stride=(1, 1), crop=((0, 0), (0, 0)), groups=1):
    _, outputs, height, width = weights.shape
    rows, columns = (x.shape[1] - 1) * stride[0] + height, (x.shape[2] - 1) * stride[1] + width
    result = np.zeros((groups * outputs, rows, columns))
    of_group = x.shape[0] // groups
    for channel, i, j in np.ndindex(*x.shape):
        group = channel // of_group
        top, left = i * stride[0], j * stride[1]
        result[group * outputs : (group + 1) * outputs, top : top + height, left : left + width] += (
            float(x[channel, i, j]) * weights[channel]
        )
    (top, bottom), (left, right) = crop
    result = result[:, top : rows - bottom, left : columns - right]
    return result if bias is None else result + bias[:, None, None]


def pooled(x, kernel, stride, pads, function, exclude=False):
    """Pool; the border counts as -inf for the maximum, and for the mean as zero or not at all."""
    border = padded(x, pads, -np.inf if function == "MAX" else 0.0)
    inside = padded(np.ones_like(x), pads)
    found = {}
    for (i, j, window), (_, _, counted) in zip(
        windows(border, kernel, stride), windows(inside, kernel, stride), strict=True
    ):
        count = counted.sum(axis=(1, 2)) if exclude else kernel[0] * kernel[1]
        found[i, j] = window.max(axis=(1, 2)) if function == "MAX" else window.sum(axis=(1, 2)) / count
    rows, columns = max(k[0] for k in found) + 1, max(k[1] for k in found) + 1
    return np.array([[found[i, j] for j in range(columns)] for i in range(rows)]).transpose(2, 0, 1)
