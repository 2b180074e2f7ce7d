"""What resizing, resampling and suppression compute, with plain loops, after MIL's reference."""

import math

import numpy as np

SAMPLING_MODES = ("DEFAULT", "STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "UNALIGN_CORNERS", "OFFSET_CORNERS")


def grid(mode, size, count):
    """Return the grid points of `resize_bilinear` on an axis."""
    if mode == "ALIGN_CORNERS" and count == 1:
        return [(size - 1) / 2]
    points = {
        "DEFAULT": lambda i: i * size / count,
        "STRICT_ALIGN_CORNERS": lambda i: i * (size - 1) / max(count - 1, 1),
        "ALIGN_CORNERS": lambda i: i * (size - 1) / (count - 1),
        "UNALIGN_CORNERS": lambda i: (i + 0.5) * size / count - 0.5,
        "OFFSET_CORNERS": lambda i: (i + 0.5) * max(1, size - 1) / count,
    }[mode]
    return [min(size - 1, max(0, points(i))) for i in range(count)]


def bilinear(x, y_point, x_point):
    """Return the values of (channels, height, width) at one point inside."""
    top, left = math.floor(y_point), math.floor(x_point)
    bottom, right = min(top + 1, x.shape[1] - 1), min(left + 1, x.shape[2] - 1)
    down, across = y_point - top, x_point - left
    upper = (1 - across) * x[:, top, left] + across * x[:, top, right]
    lower = (1 - across) * x[:, bottom, left] + across * x[:, bottom, right]
    return (1 - down) * upper + down * lower


def sampled(x, rows, columns):
    """Return (channels, rows, columns) at the points of two axes."""
    x = np.asarray(x, np.float64)
    return np.stack([np.stack([bilinear(x, r, c) for c in columns], axis=-1) for r in rows], axis=-2)


def resized(x, height, width, mode):
    """Resize the last two axes of an array bilinearly."""
    flat = x.reshape(-1, *x.shape[-2:])
    result = sampled(flat, grid(mode, x.shape[-2], height), grid(mode, x.shape[-1], width))
    return result.reshape(*x.shape[:-2], height, width)


def box_points(mode, start, end, count):
    """Return the grid points of `crop_resize` between the first and the last pixel of a box."""
    if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        if count == 1:
            return [start if mode.startswith("STRICT") else (start + end) / 2]
        return np.linspace(start, end, count).tolist()
    return [start + point for point in grid(mode, end - start + 1, count)]


def cut(picture, box, height, width, mode, outside):
    """Return (channels, height, width) of a box (first row, first column, last row, last column)."""
    rows, columns = box_points(mode, box[0], box[2], height), box_points(mode, box[1], box[3], width)
    result = np.full((picture.shape[0], height, width), outside, np.float64)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            if 0 <= row <= picture.shape[1] - 1 and 0 <= column <= picture.shape[2] - 1:
                result[:, i, j] = bilinear(picture, row, column)
    return result


def unnormalized(point, size, mode, align_corners):
    """Return a coordinate of `resample` in pixels."""
    if mode == "unnormalized":
        return point
    part = (point + 1) / 2 if mode == "normalized_minus_one_to_one" else point
    return part * (size - 1) if align_corners else part * size - 0.5


def reflected(index, size, mode):
    """Return the pixel that stands for a whole number of an axis, None outside."""
    if 0 <= index < size:
        return index
    if mode == "constant":
        return None
    if mode == "border":
        return min(max(index, 0), size - 1)
    if mode == "symmetric":
        index %= 2 * size
        return index if index < size else 2 * size - 1 - index
    if size == 1:
        return 0
    index %= 2 * (size - 1)
    return index if index < size else 2 * (size - 1) - index


def resampled(x, coordinates, sampling, padding, value, mode, align_corners):
    """Return `resample` of (batch, channels, height, width); no coordinate may lie in the middle of two pixels."""
    batch, channels, height, width = x.shape
    result = np.zeros((batch, channels, *coordinates.shape[1:3]))
    for b, i, j in np.ndindex(batch, *coordinates.shape[1:3]):
        column = unnormalized(float(coordinates[b, i, j, 0]), width, mode, align_corners)
        row = unnormalized(float(coordinates[b, i, j, 1]), height, mode, align_corners)
        if sampling == "nearest":
            taps = [(round(row), round(column), 1.0)]
        else:
            taps = [
                (r, c, (1 - abs(row - r)) * (1 - abs(column - c)))
                for r in (math.floor(row), math.floor(row) + 1)
                for c in (math.floor(column), math.floor(column) + 1)
            ]
        for r, c, weight in taps:
            at = reflected(r, height, padding), reflected(c, width, padding)
            result[b, :, i, j] += weight * (value if None in at else x[b, :, at[0], at[1]])
    return result


def overlap(a, b):
    """Return the intersection over the union of two boxes (centre x, centre y, width, height)."""
    lengths = []
    for axis in (0, 1):
        low = max(a[axis] - a[axis + 2] / 2, b[axis] - b[axis + 2] / 2)
        lengths.append(max(0.0, min(a[axis] + a[axis + 2] / 2, b[axis] + b[axis + 2] / 2) - low))
    both = lengths[0] * lengths[1]
    union = a[2] * a[3] + b[2] * b[3] - both
    return both / union if union > 0 else 0.0


def suppressed(boxes, scores, iou, threshold, most, per_class):
    """Return boxes, scores, indices and numbers as `NonMaximumSuppressionLayerParams` says."""
    batch, _, classes = scores.shape
    found = [np.zeros((batch, most, 4)), np.zeros((batch, most, classes)), np.full((batch, most), -1), np.zeros(batch)]
    for b in range(batch):
        best, own = scores[b].max(-1), scores[b].argmax(-1)
        kept = []
        for i in sorted(range(len(best)), key=lambda i: (-best[i], i)):
            rivals = [j for j in kept if not per_class or own[i] == own[j]]
            if best[i] >= threshold and all(overlap(boxes[b, i], boxes[b, j]) <= iou for j in rivals):
                kept.append(i)
        kept = (kept or [int(best.argmax())])[:most]
        found[0][b, : len(kept)], found[1][b, : len(kept)] = boxes[b, kept], scores[b, kept]
        found[2][b, : len(kept)], found[3][b] = kept, len(kept)
    return found
