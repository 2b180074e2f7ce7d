"""Shapes: reading them, and giving an array another one."""

from __future__ import annotations

import numpy as np
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from onnx import numpy_helper

from requant.convert.onnx.operators.registry import Node, operator
from requant.convert.onnx.values import (
    Value,
    cast,
    computed_as,
    is_known,
    kind_of,
    known_size,
    product_of,
    rank_of,
    reshaped,
    shape_of,
    shape_vector,
    size_of,
    variable,
    without_bool,
)
from requant.errors import RequantError


@operator("Constant")
def constant(node: Node) -> Value:
    """A value in the file.

    Raises:
        RequantError: if it is none of numbers.
    """
    ((key, value),) = node.attributes.items()
    if key == "value":
        return numpy_helper.to_array(value)
    if key in ("value_float", "value_floats"):
        return np.array(value, np.float32)
    if key in ("value_int", "value_ints"):
        return np.array(value, np.int64)
    raise RequantError(f"it is a constant of another kind than numbers ({key})")


@operator("Shape")
def shape(node: Node) -> Value:
    """The shape of an array, or a part of it."""
    x = node.given(0)
    rank = rank_of(x)
    places = range(rank)[slice(node.attribute("start", 0), node.attribute("end"))]
    sizes = [shape_of(x)[axis] for axis in places]
    if None not in sizes:
        return np.array(sizes, np.int64)
    whole = mb.shape(x=x)
    if len(places) == rank:
        return whole
    return mb.slice_by_index(x=whole, begin=[places.start], end=[places.stop])


@operator("Size")
def size(node: Node) -> Value:
    """The number of elements of an array."""
    x = node.given(0)
    found = product_of([size_of(x, axis) for axis in range(rank_of(x))])
    return np.array(found, np.int64) if isinstance(found, int) else found


@operator("Reshape")
def reshape(node: Node) -> Value:
    """Another shape, in which 0 takes over a size and -1 stands for what is left."""
    x, wanted = node.given(0), node.given(1)
    keeps = not node.attribute("allowzero", 0)
    if not is_known(wanted):
        sizes = cast(wanted, "int")
        return mb.reshape(x=variable(x), shape=_without_zeros(x, sizes) if keeps else sizes)
    numbers: list[Value] = [None if each == -1 else int(each) for each in wanted]
    if keeps:
        numbers = [size_of(x, axis) if each == 0 else each for axis, each in enumerate(numbers)]
    if not numbers:
        return mb.squeeze(x=variable(x))
    return reshaped(x, numbers)


def _without_zeros(x: Value, sizes: Value) -> Value:
    """Return a computed shape in which 0 is replaced by the size that an array has there.

    Where coremltools follows the sizes as symbols, they are replaced one by one, so that it still does.
    """
    count = int(sizes.shape[0])
    own = [size_of(x, axis) if axis < rank_of(x) else 1 for axis in range(count)]
    if sizes.sym_val is not None:
        if not any(each == 0 for each in sizes.sym_val):
            return sizes
        each_one = [mb.gather(x=sizes, indices=np.array([axis], np.int32), axis=0) for axis in range(count)]
        kept = [mb.squeeze(x=each, axes=[0]) for each in each_one]
        return shape_vector([own[axis] if sizes.sym_val[axis] == 0 else kept[axis] for axis in range(count)])
    is_zero = mb.equal(x=sizes, y=np.int32(0))
    return mb.select(cond=is_zero, a=variable(shape_vector(own)), b=sizes)


@operator("Flatten")
def flatten(node: Node) -> Value:
    """Two axes: those before a place as one, and the others as one."""
    x = node.given(0)
    sizes = [size_of(x, index) for index in range(rank_of(x))]
    axis = node.attribute("axis", 1)
    axis = axis + len(sizes) if axis < 0 else axis
    first, second = product_of(sizes[:axis]), product_of(sizes[axis:])
    return reshaped(x, [first, None] if isinstance(first, int) else [None, second])


@operator("Transpose")
def transpose(node: Node) -> Value:
    """The axes in another order, by default in the opposite one."""
    x = node.tensor(0)
    return mb.transpose(x=x, perm=node.attribute("perm", list(range(rank_of(x)))[::-1])) if rank_of(x) else x


@operator("Squeeze")
def squeeze(node: Node) -> Value:
    """Fewer axes of size 1, all of them if none are named."""
    x, axes = node.tensor(0), node.numbers(1, "axes")
    if axes is None:
        axes = [axis for axis, each in enumerate(shape_of(x)) if each == 1]
    return mb.squeeze(x=x, axes=axes) if axes else mb.identity(x=x)


@operator("Unsqueeze")
def unsqueeze(node: Node) -> Value:
    """New axes of size 1."""
    axes = node.numbers(1, "axes") or []
    x = node.tensor(0)
    rank = rank_of(x) + len(axes)
    return mb.expand_dims(x=x, axes=sorted(axis % rank for axis in axes)) if axes else mb.identity(x=x)


@operator("Concat")
def concat(node: Node) -> Value:
    """Arrays one after the other along an axis; those without elements are left out."""
    known = [index for index in range(len(node.inputs)) if 0 not in shape_of(node.given(index))]
    values = [node.tensor(index) for index in known]
    kind = kind_of(values[0])
    if len(values) == 1:
        return mb.identity(x=values[0])
    if kind == "bool":
        values = [cast(value, "int") for value in values]
    return cast(mb.concat(values=values, axis=node.attribute("axis")), kind)


@operator("Split")
def split(node: Node) -> list[Value]:
    """Parts of an array along an axis, of equal sizes if none are named."""
    x, axis = node.tensor(0), node.attribute("axis", 0)
    count = len(node.outputs)
    sizes = node.numbers(1, "split") if node.opset < 18 or node.value(1) is not None else None
    if sizes is None:
        whole = known_size(x, axis, "a split into equal parts")
        part = -(-whole // count)
        sizes = [min(part, whole - part * index) for index in range(count)]
    if count == 1:
        return [mb.identity(x=x)]
    return list(mb.split(x=x, split_sizes=sizes, axis=axis))


@operator("Expand")
def expand(node: Node) -> Value:
    """An array repeated along axes of size 1, as broadcasting does it."""
    x, wanted = node.tensor(0), node.given(1)
    count = int(wanted.shape[0])
    if rank_of(x) < count:
        x = mb.expand_dims(x=x, axes=list(range(count - rank_of(x))))
    own = shape_of(x)
    lead = len(own) - count
    if is_known(wanted):
        # An axis of another size than 1 is as broadcasting leaves it: the wanted size is the same, or 1.
        times = [1] * lead + [int(new) if old == 1 else 1 for old, new in zip(own[lead:], wanted, strict=True)]
        open_ones = [axis for axis, old in enumerate(own) if old is None and axis >= lead and wanted[axis - lead] != 1]
        if not open_ones and all(each == 1 for each in times):
            return mb.identity(x=x)
        if not open_ones:
            return without_bool(lambda value: mb.tile(x=value, reps=times), x)
    sizes = mb.shape(x=x) if None in own else np.array(own, np.int32)
    sizes = sizes if not lead else mb.slice_by_index(x=variable(sizes), begin=[lead], end=[len(own)])
    larger = mb.maximum(x=variable(sizes), y=cast(variable(wanted), "int"))
    factor = mb.floor_div(x=larger, y=sizes)
    reps = factor if not lead else mb.concat(values=[variable(np.ones(lead, np.int32)), factor], axis=0)
    return without_bool(lambda value: mb.tile(x=value, reps=reps), x)


@operator("Tile")
def tile(node: Node) -> Value:
    """An array repeated along its axes."""
    x, times = node.tensor(0), node.given(1)
    reps = [int(each) for each in times] if is_known(times) else cast(times, "int")
    return without_bool(lambda value: mb.tile(x=value, reps=reps), x)


@operator("ConstantOfShape")
def constant_of_shape(node: Node) -> Value:
    """One value in every place of a shape that is computed."""
    given = node.attribute("value")
    value = numpy_helper.to_array(given).reshape(()) if given is not None else np.array(0, np.float32)
    return _filled(node.tensor(0), value)


def _filled(sizes: Value, value: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Value:
    kind = kind_of(value)
    number = np.float32(value) if kind == "float" else np.int32(value)
    return cast(mb.fill(shape=cast(sizes, "int"), value=number), kind)


@operator("Range")
def counted(node: Node) -> Value:
    """Numbers from a start to a limit in equal steps."""
    start, limit, step = (node.tensor(index) for index in range(3))
    return mb.range_1d(start=start, end=limit, step=step)


@operator("EyeLike")
def eye_like(node: Node) -> Value:
    """Ones on a diagonal, in the shape of an array.

    Raises:
        RequantError: if the shape is left open.
    """
    x = node.given(0)
    rows, columns = (known_size(x, axis, "a diagonal") for axis in (0, 1))
    to = node.attribute("dtype")
    kind = kind_of(x) if to is None else "float" if to == 1 else "bool" if to == 9 else "int"
    return cast(np.eye(rows, columns, node.attribute("k", 0), dtype=np.float32), kind)


@operator("DepthToSpace")
def depth_to_space(node: Node) -> Value:
    """Channels laid out as blocks of pixels, in either order of the two."""
    x, block = node.tensor(0), node.attribute("blocksize")
    if node.attribute("mode", "DCR") == "CRD":
        return computed_as("float", lambda value: mb.pixel_shuffle(x=value, upscale_factor=block), x)
    return computed_as("float", lambda value: mb.depth_to_space(x=value, block_size=block), x)


@operator("SpaceToDepth")
def space_to_depth(node: Node) -> Value:
    """Blocks of pixels laid out as channels, in either order of the two."""
    x, block = node.tensor(0), node.attribute("blocksize")
    found = computed_as("float", lambda value: mb.space_to_depth(x=value, block_size=block), x)
    if node.attribute("mode", "DCR") == "DCR":
        return found
    channels = known_size(x, 1, "this order of channels")
    order = np.arange(channels * block * block, dtype=np.int32).reshape(-1, channels).T
    return mb.gather(x=found, indices=order.reshape(-1), axis=1)
