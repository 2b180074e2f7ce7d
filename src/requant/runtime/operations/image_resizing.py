"""Resizing, cropping and resampling of pictures.

A resize that one node of ONNX computes exactly is that node; any other is gathered from the pixels around each grid
point.
"""

from __future__ import annotations

import numpy as np

from requant.errors import RequantError
from requant.runtime.graph import Graph, Tensor
from requant.runtime.operations.registry import operation

_TRANSFORMATIONS = {
    "DEFAULT": "asymmetric",
    "STRICT_ALIGN_CORNERS": "align_corners",
    "ALIGN_CORNERS": "align_corners",
    "UNALIGN_CORNERS": "half_pixel",
}
_CORNERS = ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS")
_END = np.iinfo(np.int64).max


@operation
def upsample_nearest_neighbor(
    graph: Graph, x: Tensor, scale_factor_height: float = 1, scale_factor_width: float = 1
) -> Tensor:
    """The nearest pixel at or before `i * size / new size`, where the new size is the scaled one rounded down.

    The sizes count, not the factors: Apple's test of fractional factors tells the two apart.
    """
    factors = (scale_factor_height, scale_factor_width)
    if all(float(factor).is_integer() for factor in factors):
        scales = graph.constant(np.array(factors, np.float32))
        return _resized(graph, x, scales=scales, mode="nearest", transformation="asymmetric")
    return _nearest(graph, x, _scaled_sizes(graph, x, factors), centered=False)


@operation
def resize_nearest_neighbor(graph: Graph, x: Tensor, target_size_height: int, target_size_width: int) -> Tensor:
    """The pixel that holds the centre of each new pixel, `(i + 0.5) * size / new size`.

    So does the converter from TensorFlow take it (`half_pixel_centers`), and so does Apple's test of `resize`, which
    this operation is a special case of.
    """
    return _nearest(graph, x, [graph.integers(target_size_height), graph.integers(target_size_width)], centered=True)


@operation
def upsample_bilinear(
    graph: Graph,
    x: Tensor,
    scale_factor_height: float = 1,
    scale_factor_width: float = 1,
    align_corners: bool = True,
    half_pixel_centers: bool | None = None,
) -> Tensor:
    """A bilinear enlargement to the scaled size rounded down, on the grid of both sizes.

    Raises:
        RequantError: if both corners and half pixels are to be aligned, which no grid can.
    """
    centers = not align_corners if half_pixel_centers is None else half_pixel_centers
    if align_corners and centers:
        raise RequantError("it has align_corners and half_pixel_centers, which exclude each other.")
    mode = "STRICT_ALIGN_CORNERS" if align_corners else "UNALIGN_CORNERS" if centers else "DEFAULT"
    return _linear(graph, x, _scaled_sizes(graph, x, (scale_factor_height, scale_factor_width)), mode)


@operation
def resize_bilinear(
    graph: Graph, x: Tensor, target_size_height: int = 1, target_size_width: int = 1, sampling_mode: str = "DEFAULT"
) -> Tensor:
    """A bilinear resize to a size; the sampling mode says which grid is laid over the picture (`grid_points`)."""
    return _linear(graph, x, [graph.integers(target_size_height), graph.integers(target_size_width)], sampling_mode)


@operation
def resize(
    graph: Graph,
    x: Tensor,
    shape: Tensor,
    resized_dims: int,
    interpolation_mode: str = "LINEAR",
    sampling_mode: str = "DEFAULT",
) -> Tensor:
    """The last axes in the sizes at the end of `shape`, 0 for the size that an axis has.

    Raises:
        RequantError: if it takes the nearest pixel on another grid than the default one, or interpolates integers: what
            either gives is not defined.
    """
    if resized_dims == 0:
        return x
    given = graph.cast(shape, "int64")
    parts = graph.node("Slice", given, graph.integers(-resized_dims), graph.integers(_END), graph.integers(0))
    sizes = []
    for index in range(resized_dims):
        own = graph.size_of(x, index - resized_dims)
        size = graph.node("Gather", parts, graph.integers(index), axis=0)
        sizes.append(graph.node("Where", graph.node("Equal", size, graph.integers(0)), own, size))
    if interpolation_mode == "LINEAR":
        if x.dtype != "float32":
            raise RequantError("it interpolates integers; how they are rounded is not defined.")
        return _linear(graph, x, sizes, sampling_mode)
    if sampling_mode != "DEFAULT":
        raise RequantError(f"it takes the nearest pixel with the sampling mode {sampling_mode}, which is not defined.")
    return _nearest(graph, x, sizes, centered=True)


@operation
def crop(graph: Graph, x: Tensor, crop_height: tuple[int, ...], crop_width: tuple[int, ...]) -> Tensor:
    """The picture without some rows and columns at its edges."""
    starts = graph.integers(crop_height[0], crop_width[0])
    ends = graph.integers(*(-amount if amount else _END for amount in (crop_height[1], crop_width[1])))
    return graph.node("Slice", x, starts, ends, graph.integers(-2, -1))


@operation
def crop_resize(
    graph: Graph,
    x: Tensor,
    roi: Tensor | None = None,
    boxes: Tensor | None = None,
    box_indices: Tensor | None = None,
    target_height: int = 1,
    target_width: int = 1,
    normalized_coordinates: bool = False,
    spatial_scale: float = 1.0,
    box_coordinate_mode: str = "CORNERS_HEIGHT_FIRST",
    sampling_mode: str = "DEFAULT",
    pad_value: float = 0.0,
) -> Tensor:
    """Pictures cut out of pictures and brought to one size; `pad_value` where a grid point is outside.

    Args:
        graph: the graph.
        x: (batch, channels, height, width).
        roi: of iOS 15: (boxes, 1, 4, 1, 1) for boxes in all pictures, or (boxes, 1, 5, 1, 1) with the picture's index
            before the box. The result is (boxes, batch or 1, channels, target height, target width).
        boxes: of iOS 17: (boxes, 4). The result is (boxes, channels, target height, target width).
        box_indices: of iOS 17: the picture of each box, (boxes,); by default the one of its own number.
        target_height: rows of the result.
        target_width: columns of the result.
        normalized_coordinates: whether the boxes are given from 0 to 1.
        spatial_scale: multiplies the boxes.
        box_coordinate_mode: corners, or centre and size; height or width first.
        sampling_mode: the grid, see `grid_points`.
        pad_value: outside the picture.

    Raises:
        RequantError: if the sampling mode is `UNALIGN_CORNERS`: its formula leaves open what the box is, and the only
            published result agrees with no reading of it.
    """
    if sampling_mode == "UNALIGN_CORNERS":
        raise RequantError("it cuts boxes with the sampling mode UNALIGN_CORNERS, which is not defined for boxes.")
    count = graph.integers(-1)
    given = boxes if boxes is not None else roi
    if given is None:
        raise RequantError("it has neither roi nor boxes.")
    flat = graph.cast(graph.reshape(given, -1, given.shape[1] if boxes is not None else given.shape[2]), "float32")
    if boxes is not None:
        count = graph.size_of(boxes, 0)
        pictures = _range(graph, count) if box_indices is None else graph.cast(box_indices, "int64")
        pictures = graph.reshape(pictures, -1, 1)
    elif flat.shape[1] == 5:
        pictures = graph.cast(_columns(graph, flat, 0, 1), "int64")
        flat = _columns(graph, flat, 1, 5)
    else:
        pictures = graph.reshape(_range(graph, graph.size_of(x, 0)), 1, -1)
    edges = _edges(graph, x, flat, normalized_coordinates, spatial_scale, box_coordinate_mode)
    rows = grid_points(graph, sampling_mode, edges[0], edges[2], graph.integers(target_height))
    columns = grid_points(graph, sampling_mode, edges[1], edges[3], graph.integers(target_width))
    inside = graph.node(
        "And",
        graph.node("Unsqueeze", _within(graph, rows, graph.size_of(x, -2)), graph.integers(1, 3)),
        graph.node("Unsqueeze", _within(graph, columns, graph.size_of(x, -1)), graph.integers(1, 2)),
    )
    rows = graph.node("Unsqueeze", rows, graph.integers(1, 3))
    columns = graph.node("Unsqueeze", columns, graph.integers(1, 2))
    place = graph.node("Unsqueeze", pictures, graph.integers(2, 3))
    values = _interpolated(graph, x, place, rows, columns)
    values = graph.node("Where", graph.node("Unsqueeze", inside, graph.integers(4)), values, graph.scalar(pad_value))
    cut = graph.node("Transpose", values, perm=[0, 1, 4, 2, 3])
    return graph.node("Squeeze", cut, graph.integers(1)) if boxes is not None else cut


@operation
def affine(
    graph: Graph,
    x: Tensor,
    transform_matrix: Tensor,
    output_height: int,
    output_width: int,
    sampling_mode: str,
    padding_mode: str,
    padding_value: float,
    coordinates_mode: str,
    align_corners: bool,
) -> Tensor:
    """Bilinear samples where a matrix (1 or batch, 6) takes the grid of the result; an axis of one point is at 0.

    Raises:
        RequantError: if it has a mode that Core ML does not compute either.
    """
    modes = (sampling_mode.lower(), padding_mode.lower(), coordinates_mode.lower())
    if modes != ("bilinear", "constant", "normalized_minus_one_to_one") or padding_value != 0 or not align_corners:
        raise RequantError(
            "it has modes that Core ML does not define: only bilinear samples, zeros outside, and corners"
        )
    lines = [np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in (output_height, output_width)]
    down, right = np.meshgrid(*lines, indexing="ij")
    points = np.stack([right, down, np.ones_like(right)], axis=-1).reshape(1, -1, 3).astype(np.float32)
    matrix = graph.node("Transpose", graph.reshape(transform_matrix, -1, 2, 3), perm=[0, 2, 1])
    grid = graph.node("MatMul", graph.constant(points), matrix)
    batch = graph.size_of(x, 0)
    grid = graph.node("Expand", grid, graph.shape(batch, 1, 1))
    grid = graph.reshape(grid, batch, output_height, output_width, 2)
    return graph.node("GridSample", x, grid, mode="bilinear", padding_mode="zeros", align_corners=1)


@operation
def resample(
    graph: Graph,
    x: Tensor,
    coordinates: Tensor,
    sampling_mode: str,
    padding_mode: str,
    padding_value: float,
    coordinates_mode: str,
    align_corners: bool,
) -> Tensor:
    """The picture at points (batch, height, width, 2), each x then y; the nearest pixel is rounded to even at a tie."""
    grid = graph.cast(coordinates, "float32")
    paddings = {"constant": "zeros", "border": "border", "reflection": "reflection", "symmetric": "reflection"}
    if padding_mode not in paddings or sampling_mode not in ("bilinear", "nearest"):
        raise RequantError(f"it has the modes {sampling_mode} and {padding_mode}, which are not defined.")
    reflects = padding_mode in ("reflection", "symmetric")
    agrees = not reflects or (sampling_mode == "bilinear" and align_corners == (padding_mode == "reflection"))
    plain = padding_mode != "constant" or padding_value == 0
    if coordinates_mode == "unnormalized" or not agrees or not plain:
        return _resampled(graph, x, grid, sampling_mode, padding_mode, padding_value, (coordinates_mode, align_corners))
    if coordinates_mode == "normalized_zero_to_one":
        grid = graph.node("Sub", graph.node("Mul", grid, graph.scalar(2)), graph.scalar(1))
    return graph.node(
        "GridSample",
        x,
        grid,
        mode=sampling_mode,
        padding_mode=paddings[padding_mode],
        align_corners=int(align_corners),
    )


def grid_points(graph: Graph, mode: str, start: Tensor, end: Tensor, count: Tensor) -> Tensor:
    """Return where a sampling mode puts its points between two pixels, float32 (..., count).

    The formulas are those of `resize_bilinear` in MIL's reference and of `SamplingMode` in `NeuralNetwork.proto`, for
    an interval that begins at any pixel.

    Args:
        graph: the graph.
        mode: the sampling mode, by MIL's name.
        start: the first pixel, float32 (..., 1).
        end: the last pixel, float32 (..., 1).
        count: of the points, int64 (1,).
    """
    index = graph.cast(_range(graph, count), "float32")
    number = graph.cast(count, "float32")
    one, half = graph.scalar(1), graph.scalar(0.5)
    if mode in _CORNERS:
        part = graph.node("Div", index, graph.node("Max", graph.node("Sub", number, one), one))
        if mode == "ALIGN_CORNERS":
            part = graph.node("Where", graph.node("Equal", count, graph.integers(1)), half, part)
        first = graph.node("Mul", start, graph.node("Sub", one, part))
        return graph.node("Add", first, graph.node("Mul", end, part))
    length = graph.node("Sub", end, start)
    if mode == "OFFSET_CORNERS":
        spacing = graph.node("Div", graph.node("Max", length, one), number)
        offset = graph.node("Mul", graph.node("Add", index, half), spacing)
    elif mode == "UNALIGN_CORNERS":
        spacing = graph.node("Div", graph.node("Add", length, one), number)
        offset = graph.node("Sub", graph.node("Mul", graph.node("Add", index, half), spacing), half)
    elif mode == "DEFAULT":
        offset = graph.node("Mul", index, graph.node("Div", graph.node("Add", length, one), number))
    else:
        raise RequantError(f"it has the sampling mode {mode}, which is not defined.")
    return graph.node("Min", end, graph.node("Max", start, graph.node("Add", start, offset)))


def _scaled_sizes(graph: Graph, x: Tensor, factors: tuple[float, ...]) -> list[Tensor]:
    """Return the sizes of the last axes, scaled in float32 and rounded down."""
    sizes = []
    for axis, factor in zip((-2, -1), factors, strict=True):
        if x.shape[axis] >= 0:
            sizes.append(graph.integers(int(np.floor(np.float32(factor) * np.float32(x.shape[axis])))))
            continue
        scaled = graph.node("Mul", graph.cast(graph.size_of(x, axis), "float32"), graph.scalar(factor))
        sizes.append(graph.cast(graph.node("Floor", scaled), "int64"))
    return sizes


def _linear(graph: Graph, x: Tensor, sizes: list[Tensor], mode: str) -> Tensor:
    """Resize the last axes linearly."""
    single = any(size.value is None or int(size.value[0]) == 1 for size in sizes)
    exact = mode in _TRANSFORMATIONS and not (mode == "ALIGN_CORNERS" and single)
    if exact and len(sizes) <= 2:
        if len(sizes) == 1:
            sizes = [graph.size_of(x, -2) if x.rank > 1 else graph.integers(1), *sizes]
        return _resized(graph, x, sizes=sizes, mode="linear", transformation=_TRANSFORMATIONS[mode])
    result = x
    for axis, size in enumerate(sizes, x.rank - len(sizes)):
        last = graph.cast(graph.node("Sub", graph.size_of(x, axis), graph.integers(1)), "float32")
        points = grid_points(graph, mode, graph.constant(np.zeros(1, np.float32)), last, size)
        low = graph.node("Floor", points)
        high = graph.node("Min", graph.node("Add", low, graph.scalar(1)), last)
        weight = graph.reshape(graph.node("Sub", points, low), -1, *[1] * (x.rank - 1 - axis))
        before, after = (graph.node("Gather", result, graph.cast(at, "int64"), axis=axis) for at in (low, high))
        result = _mixed(graph, before, after, weight)
    return result


def _resized(
    graph: Graph,
    x: Tensor,
    sizes: list[Tensor] | None = None,
    scales: Tensor | None = None,
    mode: str = "linear",
    transformation: str = "asymmetric",
) -> Tensor:
    """Add ONNX's `Resize` of the last two axes, on the four axes that ONNX Runtime is fast with."""
    pictures = x
    if x.rank != 4:
        own = [graph.size_of(x, axis) for axis in range(-min(x.rank, 2), 0)]
        pictures = graph.reshape(x, 1, -1, *[1] * (2 - len(own)), *own)
    leading = graph.node("Slice", graph.shape_of(pictures), graph.integers(0), graph.integers(2), graph.integers(0))
    resized = graph.node(
        "Resize",
        pictures,
        None,
        graph.constant(np.concatenate([[1, 1], scales.value]).astype(np.float32)) if scales else None,
        graph.node("Concat", leading, *sizes, axis=0) if sizes else None,
        mode=mode,
        coordinate_transformation_mode=transformation,
        nearest_mode="floor",
    )
    if x.rank == 4:
        return resized
    last = [graph.size_of(resized, axis) for axis in range(-min(x.rank, 2), 0)]
    return graph.reshape(resized, *(graph.size_of(x, axis) for axis in range(x.rank - 2)), *last)


def _nearest(graph: Graph, x: Tensor, sizes: list[Tensor], centered: bool) -> Tensor:
    """Take the nearest pixels by indices, which are computed in integers so that no rounding moves one.

    Args:
        graph: the graph.
        x: the tensor.
        sizes: of the last axes, int64 (1,) each.
        centered: whether the centre of a new pixel counts, or where it begins.
    """
    for axis, size in enumerate(sizes, x.rank - len(sizes)):
        own = graph.size_of(x, axis)
        if own.value is not None and size.value is not None and own.value[0] == size.value[0]:
            continue
        numerator, denominator = _range(graph, size), size
        if centered:
            numerator = graph.node("Add", graph.node("Mul", numerator, graph.integers(2)), graph.integers(1))
            denominator = graph.node("Mul", size, graph.integers(2))
        index = graph.node("Div", graph.node("Mul", numerator, own), denominator)
        x = graph.node("Gather", x, index, axis=axis)
    return x


def _range(graph: Graph, count: Tensor) -> Tensor:
    """Return the integers before `count`, int64; a constant where it is known."""
    if count.value is not None:
        return graph.constant(np.arange(int(count.value.reshape(-1)[0]), dtype=np.int64))
    zero, one = graph.constant(np.array(0, np.int64)), graph.constant(np.array(1, np.int64))
    return graph.node("Range", zero, graph.node("Squeeze", count, graph.integers(0)), one)


def _columns(graph: Graph, x: Tensor, first: int, end: int) -> Tensor:
    return graph.node("Slice", x, graph.integers(first), graph.integers(end), graph.integers(-1))


def _edges(graph: Graph, x: Tensor, boxes: Tensor, normalized: bool, scale: float, mode: str) -> list[Tensor]:
    """Return the first row, first column, last row and last column of boxes (count, 4), (count, 1) each."""
    order = [0, 1, 2, 3] if mode.endswith("HEIGHT_FIRST") else [1, 0, 3, 2]
    parts = [_columns(graph, boxes, index, index + 1) for index in order]
    if normalized:
        sizes = [graph.cast(graph.size_of(x, axis), "float32") for axis in (-2, -1)]
        lasts = [graph.node("Sub", size, graph.scalar(1)) for size in sizes]
        parts = [graph.node("Mul", part, lasts[index % 2]) for index, part in enumerate(parts)]
    if scale != 1:
        parts = [graph.node("Mul", part, graph.scalar(scale)) for part in parts]
    if mode.startswith("CORNERS"):
        return parts
    halves = [graph.node("Mul", size, graph.scalar(0.5)) for size in parts[2:]]
    starts = [graph.node("Sub", centre, half) for centre, half in zip(parts[:2], halves, strict=True)]
    return starts + [graph.node("Add", centre, half) for centre, half in zip(parts[:2], halves, strict=True)]


def _within(graph: Graph, points: Tensor, size: Tensor) -> Tensor:
    last = graph.node("Sub", graph.cast(size, "float32"), graph.scalar(1))
    first = graph.node("GreaterOrEqual", points, graph.scalar(0))
    return graph.node("And", first, graph.node("LessOrEqual", points, last))


def _interpolated(graph: Graph, x: Tensor, pictures: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return bilinear samples of (batch, channels, height, width), with the channels last.

    Args:
        graph: the graph.
        x: the pictures.
        pictures: the index of the picture of each sample, int64.
        rows: float32; points outside count as at the edge.
        columns: likewise. The three are broadcast.
    """
    pixels, taps = _pixels(graph, x), []
    for points, axis in ((rows, -2), (columns, -1)):
        last = graph.node("Sub", graph.cast(graph.size_of(x, axis), "float32"), graph.scalar(1))
        at = graph.node("Min", graph.node("Max", points, graph.scalar(0)), last)
        low = graph.node("Floor", at)
        high = graph.node("Min", graph.node("Add", low, graph.scalar(1)), last)
        weight = graph.node("Unsqueeze", graph.node("Sub", at, low), graph.integers(-1))
        taps.append((low, high, weight))
    (top, bottom, down), (left, right, across) = taps
    lines = []
    for row in (top, bottom):
        first, second = (_at(graph, x, pixels, pictures, row, column) for column in (left, right))
        lines.append(_mixed(graph, first, second, across))
    return _mixed(graph, lines[0], lines[1], down)


def _mixed(graph: Graph, a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """Return `(1 - weight) * a + weight * b`."""
    other = graph.node("Sub", graph.scalar(1), weight)
    return graph.node("Add", graph.node("Mul", a, other), graph.node("Mul", b, weight))


def _pixels(graph: Graph, x: Tensor) -> Tensor:
    """Return all pixels of (batch, channels, height, width) as (pixels, channels)."""
    return graph.reshape(graph.node("Transpose", x, perm=[0, 2, 3, 1]), -1, graph.size_of(x, 1))


def _at(graph: Graph, x: Tensor, pixels: Tensor, pictures: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Return pixels by the index of their picture and by row and column, whole numbers inside the picture."""
    height, width = graph.size_of(x, -2), graph.size_of(x, -1)
    line = graph.node("Add", graph.node("Mul", pictures, height), graph.cast(row, "int64"))
    index = graph.node("Add", graph.node("Mul", line, width), graph.cast(column, "int64"))
    return graph.node("Gather", pixels, index, axis=0)


def _resampled(
    graph: Graph,
    x: Tensor,
    grid: Tensor,
    sampling_mode: str,
    padding_mode: str,
    padding_value: float,
    coordinates: tuple[str, bool],
) -> Tensor:
    """Sample by indices what `GridSample` has no mode for."""
    pictures = graph.reshape(_range(graph, graph.size_of(x, 0)), -1, 1, 1)
    pixels, taps = _pixels(graph, x), []
    for index, axis in ((1, -2), (0, -1)):
        size = graph.cast(graph.size_of(x, axis), "float32")
        last = graph.node("Sub", size, graph.scalar(1))
        given = graph.node("Gather", grid, graph.constant(np.array(index, np.int64)), axis=-1)
        points = _reflected(graph, _unnormalized(graph, given, size, *coordinates), last, padding_mode)
        if sampling_mode == "nearest":
            taps.append([(graph.node("Round", points), last, graph.scalar(1))])
            continue
        low = graph.node("Floor", points)
        weight = graph.node("Unsqueeze", graph.node("Sub", points, low), graph.integers(-1))
        high = graph.node("Add", low, graph.scalar(1))
        taps.append([(low, last, graph.node("Sub", graph.scalar(1), weight)), (high, last, weight)])
    total: Tensor | None = None
    for row, last_row, down in taps[0]:
        for column, last_column, across in taps[1]:
            inside = [_clamped(graph, row, last_row), _clamped(graph, column, last_column)]
            values = _at(graph, x, pixels, pictures, *inside)
            if padding_mode == "constant":
                equal = [graph.node("Equal", a, b) for a, b in zip((row, column), inside, strict=True)]
                known = graph.node("Unsqueeze", graph.node("And", *equal), graph.integers(-1))
                values = graph.node("Where", known, values, graph.scalar(padding_value))
            weighted = graph.node("Mul", values, graph.node("Mul", down, across))
            total = weighted if total is None else graph.node("Add", total, weighted)
    assert total is not None
    return graph.node("Transpose", total, perm=[0, 3, 1, 2])


def _unnormalized(graph: Graph, points: Tensor, size: Tensor, mode: str, align_corners: bool) -> Tensor:
    """Return points in pixels, 0 at the centre of the first one."""
    if mode == "unnormalized":
        return points
    if mode == "normalized_minus_one_to_one":
        points = graph.node("Mul", graph.node("Add", points, graph.scalar(1)), graph.scalar(0.5))
    elif mode != "normalized_zero_to_one":
        raise RequantError(f"it has the coordinates mode {mode}, which is not defined.")
    if align_corners:
        return graph.node("Mul", points, graph.node("Sub", size, graph.scalar(1)))
    return graph.node("Sub", graph.node("Mul", points, size), graph.scalar(0.5))


def _clamped(graph: Graph, points: Tensor, last: Tensor) -> Tensor:
    return graph.node("Min", graph.node("Max", points, graph.scalar(0)), last)


def _reflected(graph: Graph, points: Tensor, last: Tensor, mode: str) -> Tensor:
    """Return points brought into the picture as a padding mode says; those of a constant border stay outside."""
    if mode == "constant":
        return points
    if mode == "border":
        return _clamped(graph, points, last)
    edge = graph.scalar(0.5 if mode == "symmetric" else 0)
    span = graph.node("Add", last, graph.node("Mul", edge, graph.scalar(2)))
    shifted = graph.node("Abs", graph.node("Add", points, edge))
    # A picture of one pixel has no span to reflect in: every point is that pixel.
    period = graph.node("Mul", graph.node("Max", span, graph.scalar(0.5)), graph.scalar(2))
    phase = graph.node("Mod", shifted, period, fmod=1)
    folded = graph.node("Min", phase, graph.node("Sub", period, phase))
    return _clamped(graph, graph.node("Sub", folded, edge), last)
