"""Resizing of pictures and other arrays.

What one operation of MIL computes exactly is that operation. Any other resize between known sizes is taken apart into
its axes: the nearest elements are taken by index, and a weighted mean of elements is a product with a matrix of
weights. Both are exact on every grid that ONNX knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil.types.symbolic import is_symbolic

from requant.convert.onnx.operators.linear import product
from requant.convert.onnx.operators.registry import Node, operator
from requant.convert.onnx.values import Array, Value, cast, is_known, kind_of, known_size, rank_of, shape_of, transposed
from requant.errors import RequantError

_UNDER_UNKNOWN = "Core ML resizes arrays of sizes that are left open by whole factors only, and has not"

# The grids on which MIL resizes linearly, by its own names.
_SAMPLING = {
    "half_pixel": "UNALIGN_CORNERS", "pytorch_half_pixel": "UNALIGN_CORNERS", "align_corners": "STRICT_ALIGN_CORNERS",
    "asymmetric": "DEFAULT",
}  # fmt: skip


@dataclass(frozen=True)
class _Grid:
    """Where the elements of a resized axis lie in the original one.

    Attributes:
        mode: `nearest`, `linear` or `cubic`.
        transformation: of coordinates.
        rounding: of coordinates, for the nearest element.
        cubic: the coefficient of cubic interpolation.
        antialias: whether a smaller array is a mean of all elements.
        exclude_outside: whether elements beyond the edges do not count.
        extrapolation: the value beyond the edges of a region.
    """

    mode: str
    transformation: str
    rounding: str = "round_prefer_floor"
    cubic: float = -0.75
    antialias: bool = False
    exclude_outside: bool = False
    extrapolation: float = 0.0


@operator("Upsample")
def upsample(node: Node) -> Value:
    """An array enlarged by factors, on the grid that begins with both first elements."""
    factors = node.attribute("scales") if node.opset < 9 else node.constant(1).reshape(-1).tolist()
    grid = _Grid(node.attribute("mode", "nearest"), "asymmetric", "floor")
    x = node.tensor(0)
    return _resized(x, dict(enumerate(factors)), {}, grid, {})


@operator("Resize")
def resize(node: Node) -> Value:
    """An array brought to another size, by factors or to sizes, on one of several grids."""
    x = node.tensor(0)
    axes = [axis % rank_of(x) for axis in node.attribute("axes", range(rank_of(x)))]
    if node.opset < 11:
        grid = _Grid(node.attribute("mode", "nearest"), "asymmetric", "floor")
        return _resized(x, dict(enumerate(node.constant(1).reshape(-1).tolist())), {}, grid, {})
    grid = _grid(node)
    regions = _regions(node, axes) if grid.transformation == "tf_crop_and_resize" else {}
    given = node.value(2)
    if given is not None and (not is_known(given) or given.size):
        factors = node.constant(2).reshape(-1).tolist()
        return _resized(x, dict(zip(axes, factors, strict=True)), {}, grid, regions)
    sizes = _sizes(node, axes)
    policy = node.attribute("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        sizes = _in_proportion(x, axes, sizes, policy)
    by_axis, whole = _as_factors(x, sizes)
    return _resized(x, by_axis, whole, grid, regions)


def _grid(node: Node) -> _Grid:
    return _Grid(
        node.attribute("mode", "nearest"),
        node.attribute("coordinate_transformation_mode", "half_pixel"),
        node.attribute("nearest_mode", "round_prefer_floor"),
        node.attribute("cubic_coeff_a", -0.75),
        bool(node.attribute("antialias", 0)),
        bool(node.attribute("exclude_outside", 0)),
        node.attribute("extrapolation_value", 0.0),
    )


def _regions(node: Node, axes: Sequence[int]) -> dict[int, tuple[float, float]]:
    numbers = node.constant(1).reshape(-1).tolist()
    return {axis: (numbers[index], numbers[index + len(axes)]) for index, axis in enumerate(axes)}


def _sizes(node: Node, axes: Sequence[int]) -> dict[int, Any]:
    """Return the wanted sizes by axis: numbers, or symbols of coremltools for those that are computed of sizes."""
    given = node.given(3)
    found = given.tolist() if is_known(given) else node.scope.symbols(given)
    if found is None:
        raise RequantError("the sizes that it resizes to are computed while the model runs, of more than other sizes")
    return dict(zip(axes, list(found), strict=True))


def _as_factors(x: Value, sizes: dict[int, Any]) -> tuple[dict[int, float], dict[int, int]]:
    """Return factors by axis, and the exact sizes where they are known.

    Raises:
        RequantError: if an open size is to become anything but a multiple of itself.
    """
    factors, whole = {}, {}
    for axis, size in sizes.items():
        own = x.shape[axis]
        if not is_symbolic(size) and not is_symbolic(own):
            factors[axis], whole[axis] = int(size) / int(own), int(size)
            continue
        try:
            factors[axis] = float(size / own)
        except TypeError as error:
            raise RequantError(f"it resizes axis {axis} to a size that is no multiple of the size left open") from error
    return factors, whole


def _in_proportion(x: Value, axes: Sequence[int], sizes: dict[int, Any], policy: str) -> dict[int, Any]:
    """Return sizes with which all axes have the same factor, the least or the greatest that is wanted."""
    if any(is_symbolic(sizes[axis]) for axis in axes):
        raise RequantError("it keeps proportions (keep_aspect_ratio_policy) of sizes that are left open")
    own = {axis: known_size(x, axis, "a resize that keeps proportions") for axis in axes}
    ratios = [sizes[axis] / own[axis] for axis in axes]
    factor = min(ratios) if policy == "not_larger" else max(ratios)
    return {axis: int(np.floor(factor * own[axis] + 0.5)) for axis in axes}


@operator("GridSample")
def grid_sample(node: Node) -> Value:
    """Pictures looked up at points (batch, height, width, 2), each across then down, from -1 to 1.

    Raises:
        RequantError: if it interpolates cubically or has more than two dimensions.
    """
    x = node.tensor(0)
    mode = {"bilinear": "bilinear", "linear": "bilinear", "nearest": "nearest"}.get(node.attribute("mode", "linear"))
    padding = {"zeros": "constant", "border": "border", "reflection": "reflection"}[
        node.attribute("padding_mode", "zeros")
    ]
    if mode is None or rank_of(x) != 4:
        raise RequantError("it samples cubically, or in more than two dimensions, which Core ML has not")
    aligned = bool(node.attribute("align_corners", 0))
    if padding == "reflection" and not aligned:
        padding = "symmetric"
    return mb.resample(
        x=x, coordinates=node.tensor(1), sampling_mode=mode, padding_mode=padding, padding_value=np.float32(0),
        coordinates_mode="normalized_minus_one_to_one", align_corners=aligned,
    )  # fmt: skip


def _resized(
    x: Value,
    factors: dict[int, float],
    whole: dict[int, int],
    grid: _Grid,
    regions: dict[int, tuple[float, float]],
) -> Value:
    """Return an array resized along all axes whose factor is not 1."""
    kind = kind_of(x)
    wanted = {axis: factor for axis, factor in factors.items() if factor != 1 or axis in regions}
    if not wanted:
        return mb.identity(x=x)
    x = cast(x, "float")
    result = None if regions else _by_operation(x, wanted, whole, grid)
    for axis, factor in wanted.items() if result is None else ():
        x = _along_axis(x, axis, factor, whole.get(axis), grid, regions.get(axis))
    return cast(x if result is None else result, kind)


def _by_operation(x: Value, factors: dict[int, float], whole: dict[int, int], grid: _Grid) -> Value | None:
    """Return what an operation of MIL makes of the last two axes, None if there is none for this grid."""
    rank = rank_of(x)
    if rank not in (3, 4) or set(factors) - {rank - 2, rank - 1}:
        return None
    up, right = factors.get(rank - 2, 1.0), factors.get(rank - 1, 1.0)
    is_enlarged = float(up).is_integer() and float(right).is_integer()
    if grid.mode == "nearest" and is_enlarged and _is_plain_nearest(grid):
        return mb.upsample_nearest_neighbor(x=x, scale_factor_height=int(up), scale_factor_width=int(right))
    if grid.mode != "linear" or grid.antialias or grid.transformation not in _SAMPLING:
        return None
    sampling = _SAMPLING[grid.transformation]
    if grid.transformation == "pytorch_half_pixel" and 1 in [whole.get(axis) for axis in factors]:
        return None  # PyTorch takes the first element then, and not the middle
    if is_enlarged and sampling != "DEFAULT":
        aligned = sampling == "STRICT_ALIGN_CORNERS"
        return mb.upsample_bilinear(
            x=x, scale_factor_height=int(up), scale_factor_width=int(right), align_corners=aligned
        )
    return _to_known_size(x, factors, whole, sampling)


def _to_known_size(x: Value, factors: dict[int, float], whole: dict[int, int], sampling: str) -> Value | None:
    """Return pictures resized linearly, None where sizes are open or MIL would take other factors than those given."""
    sizes = []
    for axis in (-2, -1):
        own = shape_of(x)[axis]
        if own is None:
            return None
        factor = factors.get(axis % rank_of(x), 1.0)
        new = whole.get(axis % rank_of(x), int(np.floor(own * np.float32(factor))))
        if sampling != "STRICT_ALIGN_CORNERS" and new != own * factor:
            return None
        sizes.append(new)
    return mb.resize_bilinear(x=x, target_size_height=sizes[0], target_size_width=sizes[1], sampling_mode=sampling)


def _is_plain_nearest(grid: _Grid) -> bool:
    """Return whether whole factors repeat each element on this grid."""
    if grid.transformation == "asymmetric":
        return grid.rounding == "floor"
    return grid.transformation in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric") and grid.rounding in (
        "round_prefer_floor",
        "round_prefer_ceil",
    )


def _along_axis(
    x: Value, axis: int, factor: float, size: int | None, grid: _Grid, region: tuple[float, float] | None
) -> Value:
    """Return an array resized along one axis, element by element of the new one."""
    own = shape_of(x)[axis]
    if own is None:
        raise RequantError(f"{_UNDER_UNKNOWN} {grid.mode} with {grid.transformation} by {factor:g}")
    new = int(np.floor(own * np.float32(factor))) if size is None else size
    points, outside = _points(own, new, factor, grid.transformation, region)
    if grid.mode == "nearest":
        places = np.clip(_rounded(points, grid.rounding), 0, own - 1).astype(np.int32)
        if not outside.any():
            return mb.gather(x=x, indices=places, axis=axis)
        weights = np.zeros((new, own), np.float32)
        weights[np.arange(new), places] = 1
    else:
        weights = _weights(points, own, min(factor, 1.0) if grid.antialias else 1.0, grid)
    weights[outside] = 0
    result = _weighted(x, axis, weights)
    if not outside.any() or grid.extrapolation == 0:
        return result
    added = np.where(outside, np.float32(grid.extrapolation), np.float32(0))
    return mb.add(x=result, y=added.reshape([-1 if each == axis else 1 for each in range(rank_of(x))]))


def _weighted(x: Value, axis: int, weights: Array) -> Value:
    """Return an array whose elements along an axis are means of those there, weighted by a matrix (new, old)."""
    order = [each for each in range(rank_of(x)) if each != axis] + [axis]
    moved = product(transposed(x, order), mb.const(val=np.ascontiguousarray(weights.T, np.float32)))
    return transposed(moved, [order.index(each) for each in range(rank_of(x))])


def _points(
    own: int, new: int, factor: float, transformation: str, region: tuple[float, float] | None
) -> tuple[Array, Array]:
    """Return where the new elements lie among the old ones, and which of them lie outside a region."""
    index = np.arange(new, dtype=np.float64)
    scale = float(np.float32(factor))
    if transformation == "tf_crop_and_resize":
        start, end = region or (0.0, 1.0)
        step = (end - start) * (own - 1) / (new - 1) if new > 1 else 0.0
        first = start * (own - 1) if new > 1 else 0.5 * (start + end) * (own - 1)
        points = first + index * step
        return points, (points < 0) | (points > own - 1)
    if transformation not in _TRANSFORMATIONS:
        raise RequantError(f"it resizes on the grid {transformation!r}, which ONNX does not define")
    return _TRANSFORMATIONS[transformation](index, own, new, scale), np.zeros(new, bool)


def _symmetric(index: Array, own: int, new: int, scale: float) -> Array:
    adjustment = new / (scale * own)
    offset = own / 2 * (1 - adjustment)
    return np.asarray(offset + (index + 0.5) / scale - 0.5)


_TRANSFORMATIONS: dict[str, Callable[[Array, int, int, float], Array]] = {
    "half_pixel": lambda index, _own, _new, scale: (index + 0.5) / scale - 0.5,
    "half_pixel_symmetric": _symmetric,
    "pytorch_half_pixel": lambda index, _own, new, scale: (index + 0.5) / scale - 0.5 if new > 1 else index * 0,
    "align_corners": lambda index, own, new, _scale: index * (own - 1) / max(new - 1, 1),
    "asymmetric": lambda index, _own, _new, scale: index / scale,
    "tf_half_pixel_for_nn": lambda index, _own, _new, scale: (index + 0.5) / scale,
}


def _rounded(points: Array, rounding: str) -> Array:
    if rounding == "floor":
        return np.asarray(np.floor(points))
    if rounding == "ceil":
        return np.asarray(np.ceil(points))
    return np.asarray(np.ceil(points - 0.5) if rounding == "round_prefer_floor" else np.floor(points + 0.5))


def _weights(points: Array, own: int, scale: float, grid: _Grid) -> Array:
    """Return the weight of each old element in each new one, (new, old); those beyond the edges count as the edges."""
    reach = (1 if grid.mode == "linear" else 2) / scale
    kernel = _triangle if grid.mode == "linear" else _cubic(grid.cubic)
    weights = np.zeros((len(points), own))
    for row, point in enumerate(points):
        taps = np.arange(int(np.floor(point - reach)) + 1, int(np.ceil(point + reach)))
        if not len(taps):
            taps = np.array([int(np.floor(point))])
        values = kernel((taps - point) * scale)
        if grid.exclude_outside:
            values = np.where((taps < 0) | (taps >= own), 0, values)
        np.add.at(weights[row], np.clip(taps, 0, own - 1), values / values.sum())
    return weights.astype(np.float32)


def _triangle(distance: Array) -> Array:
    return np.asarray(np.maximum(1 - np.abs(distance), 0))


class _cubic:  # noqa: N801 - a function with a parameter
    """The kernel of cubic interpolation with a coefficient."""

    def __init__(self, a: float) -> None:
        self.a = a

    def __call__(self, distance: Array) -> Array:
        d, a = np.abs(distance), self.a
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        return np.asarray(np.where(d <= 1, near, np.where(d < 2, far, 0)))
