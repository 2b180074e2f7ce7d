"""Layers that resize and crop pictures."""

from __future__ import annotations

from typing import Any

from requant.runtime.layers.context import Array, Context, unsupported
from requant.runtime.layers.registry import layer
from requant.runtime.operations import image_resizing as mil

# `SamplingMode.Method`, `UpsampleLayerParams.LinearUpsampleMode` and `BoxCoordinatesMode.Coordinates`, by number.
_SAMPLING_MODES = ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS")
_UPSAMPLING = (
    {"align_corners": False, "half_pixel_centers": False},
    {"align_corners": True},
    {"align_corners": False},
)
_BOX_MODES = ("CORNERS_HEIGHT_FIRST", "CORNERS_WIDTH_FIRST", "CENTER_SIZE_HEIGHT_FIRST", "CENTER_SIZE_WIDTH_FIRST")
_NEAREST = 0


@layer("upsample")
def upsample(context: Context, layer: Any, x: Array) -> list[Array]:
    """An enlargement by factors, by the nearest pixel or bilinear."""
    params = layer.upsample
    height, width = list(params.scalingFactor) or list(params.fractionalScalingFactor) or [1, 1]
    pictures = context.pictures(x)
    if params.mode == _NEAREST:
        result = mil.upsample_nearest_neighbor(context.graph, pictures, height, width)
    else:
        grid = _UPSAMPLING[params.linearUpsampleMode]
        result = mil.upsample_bilinear(context.graph, pictures, height, width, **grid)
    return [context.from_pictures(result, x)]


@layer("resizeBilinear")
def resize_bilinear(context: Context, layer: Any, x: Array) -> list[Array]:
    """A bilinear resize to a size."""
    params = layer.resizeBilinear
    height, width = list(params.targetSize) or [1, 1]
    mode = _SAMPLING_MODES[params.mode.samplingMethod]
    return [context.from_pictures(mil.resize_bilinear(context.graph, context.pictures(x), height, width, mode), x)]


@layer("crop")
def crop(context: Context, layer: Any, x: Array, reference: Array | None = None) -> list[Array]:
    """The picture without its edges, or a window of the size that another one has."""
    params, graph, pictures = layer.crop, context.graph, context.pictures(x)
    if reference is None:
        amounts = [(a.startEdgeSize, a.endEdgeSize) for a in params.cropAmounts.borderAmounts] or [(0, 0), (0, 0)]
        return [context.from_pictures(mil.crop(graph, pictures, *amounts), x)]
    starts = graph.integers(*(list(params.offset) or [0, 0]))
    window = context.pictures(reference)
    size = graph.shape(graph.size_of(window, -2), graph.size_of(window, -1))
    cut = graph.node("Slice", pictures, starts, graph.node("Add", starts, size), graph.integers(-2, -1))
    return [context.from_pictures(cut, x)]


@layer("cropResize")
def crop_resize(context: Context, layer: Any, x: Array, roi: Array) -> list[Array]:
    """Pictures cut out of pictures (1, batch, channel, height, width) and brought to one size."""
    params, graph = layer.cropResize, context.graph
    pictures, boxes = context.full(x), context.full(roi)
    if pictures.rank != 5 or boxes.rank != 5:
        raise unsupported(f"inputs of {pictures.rank} and {boxes.rank} axes instead of five")
    height, width = list(params.targetSize) or [1, 1]
    result = mil.crop_resize(
        graph,
        graph.reshape(pictures, *(graph.size_of(pictures, axis) for axis in range(1, 5))),
        roi=boxes,
        target_height=height,
        target_width=width,
        normalized_coordinates=params.normalizedCoordinates,
        spatial_scale=params.spatialScale or 1.0,
        box_coordinate_mode=_BOX_MODES[params.boxIndicesMode.boxMode],
        sampling_mode=_SAMPLING_MODES[params.mode.samplingMethod],
    )
    return [Array(result, 5)]
