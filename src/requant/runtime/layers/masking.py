"""Layers that choose numbers by a mask, or find out where one holds."""

from __future__ import annotations

from typing import Any

from requant.errors import RequantError
from requant.runtime.graph import Tensor
from requant.runtime.layers.context import Array, Context, exactly
from requant.runtime.layers.registry import layer
from requant.runtime.operations import tensor_operation as mil


@layer("whereNonZero")
def where_non_zero(context: Context, layer: Any, x: Array) -> list[Array]:
    """The indices of all numbers that are not zero, one row each."""
    del layer
    rows = mil.non_zero(context.graph, context.full(x))
    return [exactly(context.graph.cast(rows, "float32"))]


@layer("whereBroadcastable")
def where_broadcastable(context: Context, layer: Any, condition: Array, x: Array, y: Array) -> list[Tensor]:
    """The number of one array where a condition holds, else that of another."""
    del layer
    return [context.graph.node("Where", context.graph.cast(condition.tensor, "bool"), x.tensor, y.tensor)]


@layer("matrixBandPart")
def matrix_band_part(context: Context, layer: Any, x: Array) -> list[Tensor]:
    """Matrices with zeros outside of a band around the main diagonal; a negative width leaves that side whole."""
    params = layer.matrixBandPart
    return [mil.band_part(context.graph, _matrices(context, x), params.numLower, params.numUpper)]


@layer("lowerTriangular")
def lower_triangular(context: Context, layer: Any, x: Array) -> list[Tensor]:
    """Matrices with zeros above a diagonal."""
    return [_triangle(context, _matrices(context, x), layer.lowerTriangular.k, upper=False)]


@layer("upperTriangular")
def upper_triangular(context: Context, layer: Any, x: Array) -> list[Tensor]:
    """Matrices with zeros below a diagonal."""
    return [_triangle(context, _matrices(context, x), layer.upperTriangular.k, upper=True)]


def _triangle(context: Context, x: Tensor, diagonal: int, upper: bool) -> Tensor:
    return context.graph.node("Trilu", x, context.graph.scalar(diagonal, "int64"), upper=int(upper))


def _matrices(context: Context, x: Array) -> Tensor:
    if x.rank < 2:
        raise RequantError(f"it needs matrices, but gets an input of {x.rank} axis")
    return x.tensor if x.tensor.rank >= 2 else context.full(x)
