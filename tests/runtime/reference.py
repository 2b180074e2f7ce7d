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


# The same in any number of dimensions, for tensors (batch, channels, *sizes); pads are (start, end) per axis.


def bordered(x, pads, value=0.0):
    return np.pad(x, ((0, 0), (0, 0), *pads), constant_values=value)


def windowed(x, kernel, stride, dilation):
    """Return (batch, channels, *places, *kernel)."""
    axes = len(kernel)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(x, reach, axis=tuple(range(2, 2 + axes)))
    return view[(slice(None), slice(None), *(slice(None, None, s) for s in (*stride, *dilation)))]


def convolved_in(x, weights, bias, stride, pads, dilation, groups=1):
    axes = weights.ndim - 2
    view = windowed(bordered(x.astype(np.float64), pads), weights.shape[2:], stride, dilation)
    parts = []
    for part, kernels in zip(np.split(view, groups, 1), np.split(weights.astype(np.float64), groups), strict=True):
        inner = [1, *range(2 + axes, 2 + 2 * axes)]
        parts.append(np.moveaxis(np.tensordot(part, kernels, (inner, range(1, 2 + axes))), -1, 1))
    result = np.concatenate(parts, 1)
    return result if bias is None else result + bias.reshape(-1, *[1] * axes)


def deconvolved_in(x, weights, stride, dilation, groups=1):
    """Return the transposed convolution with nothing cropped."""
    axes = weights.ndim - 2
    sizes = [
        (n - 1) * s + (k - 1) * d + 1
        for n, s, k, d in zip(x.shape[2:], stride, weights.shape[2:], dilation, strict=True)
    ]
    result = np.zeros((x.shape[0], groups, weights.shape[1], *sizes))
    split = x.astype(np.float64).reshape(x.shape[0], groups, -1, *x.shape[2:])
    kernels = weights.astype(np.float64).reshape(groups, -1, *weights.shape[1:])
    for place in np.ndindex(*weights.shape[2:]):
        each = np.einsum("ngi...,gio->ngo...", split, kernels[(..., *place)])
        where = [
            slice(p * d, p * d + (n - 1) * s + 1, s)
            for p, d, n, s in zip(place, dilation, x.shape[2:], stride, strict=True)
        ]
        result[(slice(None), slice(None), slice(None), *where)] += each
    return result.reshape(x.shape[0], -1, *sizes[-axes:])


def pooled_in(x, kernel, stride, pads, function, exclude=False, extra=None):
    """Pool; `extra` per axis comes after the border and counts for nothing."""
    axes, places = len(kernel), tuple(range(-len(kernel), 0))
    more = [(0, e) for e in extra or [0] * axes]
    ones = np.ones(x.shape[2:])[np.newaxis, np.newaxis]
    counted = bordered(bordered(ones, pads, 0.0 if exclude else 1.0), more)
    empty = -np.inf if function == "max" else 0.0
    view = windowed(bordered(bordered(x.astype(np.float64), pads, empty), more, empty), kernel, stride, [1] * axes)
    if function == "max":
        return view.max(places)
    if function == "l2":
        return np.sqrt((view**2).sum(places))
    return view.sum(places) / windowed(counted, kernel, stride, [1] * axes).sum(places)


def lstm_steps(x, weights, hidden, bias, h, c, activations, peephole=None, limit=None, coupled=False):
    """Return all outputs, the last state and the last cell state; gates are input, forget, output, block input."""
    gate, block, output = activations
    p = np.split(peephole, 3) if peephole is not None else [0, 0, 0]
    outputs = []
    for step in x:
        i, f, o, z = np.split(step @ weights.T + h @ hidden.T + bias, 4, axis=-1)
        i = gate(i + p[0] * c)
        f = 1 - i if coupled else gate(f + p[1] * c)
        c = f * c + i * block(z)
        c = c if limit is None else np.clip(c, -limit, limit)
        h = gate(o + p[2] * c) * output(c)
        outputs.append(h)
    return np.array(outputs), h, c


def gru_steps(x, weights, hidden, bias, h, activations, hidden_bias=0.0, reset_after=False):
    """Return all outputs and the last state; gates are reset, output, update."""
    gate, output = activations
    outputs = []
    for step in x:
        xr, xo, xz = np.split(step @ weights.T + bias, 3, axis=-1)
        hr, ho, hz = np.split(h @ hidden.T + hidden_bias, 3, axis=-1)
        r, z = gate(xr + hr), gate(xz + hz)
        if reset_after:
            o = output(xo + r * ho)
        else:
            third = len(hidden) // 3
            extra = np.broadcast_to(hidden_bias, len(hidden))[third : 2 * third]
            o = output(xo + (r * h) @ hidden[third : 2 * third].T + extra)
        h = (1 - z) * o + z * h
        outputs.append(h)
    return np.array(outputs), h


def rnn_steps(x, weights, hidden, bias, h, activation, limit=np.inf):
    outputs = []
    for step in x:
        h = activation(np.clip(step @ weights.T + h @ hidden.T + bias, -limit, limit))
        outputs.append(h)
    return np.array(outputs), h
