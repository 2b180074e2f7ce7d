"""Bringing an ONNX model into the one form that is run and translated.

In this form all functions are inlined, the operators are of a version that ONNX Runtime knows, numbers are float32
where the original has another floating type, and the shapes of inputs are those of the configuration. The source is run
in this very form, so that what is compared is the same network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, inliner, numpy_helper, version_converter

from requant.convert.onnx.reading import graphs, graphs_in, is_standard, read
from requant.convert.settings import ConversionSettings, SizeRange
from requant.convert.source import ResolvedInput, SourceInput, constant_inputs, resolve_inputs
from requant.errors import RequantError

# The oldest version of the operators that ONNX Runtime promises to run.
_OLDEST_OPSET = 7
# Since this version of the file format, files say which version of the operators they are written in, and a constant
# need not be listed among the inputs.
_FIRST_IR_WITH_OPSETS = 3
_FIRST_IR_WITH_PLAIN_CONSTANTS = 4
_OTHER_FLOATS = (TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
# Attributes whose number is a type: of Cast; of EyeLike and of random numbers; of softmax's and attention's inside.
_TYPE_ATTRIBUTES = ("to", "dtype", "stash_type", "softmax_precision")
_CHANNEL_AXES = {"Conv": 0, "ConvTranspose": 1}  # of their weights
# Operators that are translated through ONNX's own definition by simpler ones.
DEFINED_BY_OTHERS = ("AffineGrid", "Attention", "CenterCropPad", "RotaryEmbedding", "SwiGLU")
_BINARY = ("Add", "Sub", "Mul", "Div")


@dataclass(frozen=True)
class Prepared:
    """An ONNX model in the form that is run and translated.

    Attributes:
        model: the model.
        inputs: of the source, as the file declares them.
        resolved: with what the configuration says of them, without those that it makes constants.
        constants: the other inputs. They stay inputs of the graph, for ONNX Runtime does not load every network in
            which they are constants; they are given to it in each run, and are known where the graph is translated.
    """

    model: Any
    inputs: list[SourceInput]
    resolved: list[ResolvedInput]
    constants: dict[str, NDArray[Any]]

    @property
    def output_names(self) -> list[str]:
        """The names of the graph's outputs."""
        return [output.name for output in self.model.graph.output]


def prepare(original: Path, settings: ConversionSettings) -> Prepared:
    """Return an ONNX file's model in the form that is run and translated.

    Raises:
        RequantError: if the file can't be read or brought into that form, or the configuration does not fit it.
    """
    model = read(original)
    model = inlined(model)
    upgrade(model)
    model = _with_known_opset(model, original)
    to_float32(model)
    _drop_defaults(model.graph)
    declared = [_declared(value, original) for value in model.graph.input]
    constants = constant_inputs(declared, settings)
    resolved = resolve_inputs(declared, settings)
    for each in resolved:
        _require_same_rank(each, original)
    _open_sizes(model.graph, resolved)
    return Prepared(model, declared, resolved, constants)


def inlined(model: Any) -> Any:
    """Return a model without functions, and without those operators that ONNX itself defines by simpler ones."""
    if model.functions:
        model = inliner.inline_local_functions(model)
    kinds = {node.op_type for graph in graphs(model) for node in graph.node if is_standard(node)}
    defined = [("", kind) for kind in DEFINED_BY_OTHERS if kind in kinds]
    try:
        return inliner.inline_selected_functions(model, defined, inline_schema_functions=True) if defined else model
    except RuntimeError:  # types that can't be inferred: the operator is refused by its name later
        return model


def upgrade(model: Any) -> None:
    """Repair what exporters wrote before ONNX had versions of its operators.

    Files of the format's first versions (`ir_version` below 3) were written by exporters that knew no operator sets.
    Where such a file was labelled with an operator set later, its nodes were not rewritten. Two things in them mean
    something else today: a vector added to the result of a convolution belongs to its channels, where ONNX today aligns
    the last axes; and the factors of `Upsample` are those of height and width, where ONNX today has one for every axis.
    """
    if not model.graph.name:
        model.graph.name = "graph"
    if model.ir_version < _FIRST_IR_WITH_OPSETS:
        if not model.opset_import:
            model.opset_import.append(onnx.helper.make_opsetid("", 1))
        for graph in graphs(model):
            _align_channels(graph)
            _complete_factors(graph)
    model.ir_version = max(model.ir_version, _FIRST_IR_WITH_PLAIN_CONSTANTS)


def _align_channels(graph: Any) -> None:
    constants = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    aligned: dict[tuple[str, int], str] = {}
    for node in graph.node:
        if node.op_type not in _BINARY or len(node.input) != 2 or node.attribute:
            continue
        vector, maker = constants.get(node.input[1]), makers.get(node.input[0])
        if vector is None or maker is None or maker.op_type not in _CHANNEL_AXES or len(vector.dims) != 1:
            continue
        weight = constants.get(maker.input[1])
        if weight is None or vector.dims[0] != weight.dims[_CHANNEL_AXES[maker.op_type]]:
            continue
        key = (vector.name, len(weight.dims) - 2)
        if key not in aligned:
            aligned[key] = f"{vector.name}_of_channels"
            array = numpy_helper.to_array(vector).reshape(-1, *[1] * key[1])
            graph.initializer.append(numpy_helper.from_array(array, aligned[key]))
        node.input[1] = aligned[key]


def _complete_factors(graph: Any) -> None:
    for node in graph.node:
        for attribute in node.attribute if node.op_type == "Upsample" else ():
            if attribute.name == "scales" and len(attribute.floats) == 2:
                attribute.floats[:] = [1.0, 1.0, *attribute.floats]


def _with_known_opset(model: Any, original: Path) -> Any:
    """Return a model whose operators have a version that ONNX Runtime runs."""
    version = opset_of(model)
    if version >= _OLDEST_OPSET:
        return model
    _align_broadcasts(model.graph, _ranks(model))
    try:
        return version_converter.convert_version(model, _OLDEST_OPSET)
    except Exception as error:  # the converter has no common class for its errors
        raise RequantError(
            f"{original} is written in version {version} of ONNX's operators, which can't be brought up to version "
            f"{_OLDEST_OPSET}: {str(error).strip()} Export the network again with a newer exporter."
        ) from error


def _ranks(model: Any) -> dict[str, int]:
    """Return the number of axes of all values of a graph of which it is known."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    found = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    for value in [*graph.input, *graph.value_info, *graph.output]:
        if value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape"):
            found[value.name] = len(value.type.tensor_type.shape.dim)
    return found


def _align_broadcasts(graph: Any, ranks: Mapping[str, int]) -> None:
    """Write out which axes of two arrays belong together, as nodes could say (`axis`) up to version 6.

    ONNX's own converter takes only those that fit today's rule already.
    """
    nodes = []
    for node in graph.node:
        attributes = {each.name: each.i for each in node.attribute if each.name in ("axis", "broadcast")}
        if attributes.get("broadcast"):
            first, second = (ranks.get(name) for name in node.input)
            missing = (first or 0) - (second or 0) - attributes.get("axis", (first or 0) - (second or 0))
            if first is not None and second is not None and missing > 0:
                name = f"{node.input[1]}_for_{node.output[0]}"
                axes = list(range(second, second + missing))
                nodes.append(onnx.helper.make_node("Unsqueeze", [node.input[1]], [name], axes=axes))
                node.input[1] = name
            kept = [each for each in node.attribute if each.name not in attributes]
            del node.attribute[:]
            node.attribute.extend(kept)
        nodes.append(node)
    copied = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copied)


def opset_of(model: Any) -> int:
    """Return the version of ONNX's own operators that a model is written in."""
    return max((each.version for each in model.opset_import if is_standard(each)), default=1)


def to_float32(model: Any) -> None:
    """Turn all other floating types of a model into float32."""
    for graph in graphs(model):
        for tensor in graph.initializer:
            _tensor_to_float32(tensor)
        for sparse in graph.sparse_initializer:
            _tensor_to_float32(sparse.values)
        for value in [*graph.input, *graph.output]:
            if value.type.tensor_type.elem_type in _OTHER_FLOATS:
                value.type.tensor_type.elem_type = TensorProto.FLOAT
        del graph.value_info[:]  # they may be of another type or shape than the graph gets here
        for node in graph.node:
            _node_to_float32(node)


def _node_to_float32(node: Any) -> None:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            _tensor_to_float32(attribute.t)
        elif attribute.name in _TYPE_ATTRIBUTES and attribute.i in _OTHER_FLOATS:
            attribute.i = TensorProto.FLOAT


def _tensor_to_float32(tensor: Any) -> None:
    if tensor.data_type in _OTHER_FLOATS:
        array = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _drop_defaults(graph: Any) -> None:
    """Take out of the inputs those that have a value in the file: they are its constants."""
    constants = {tensor.name for tensor in graph.initializer}
    kept = [value for value in graph.input if value.name not in constants]
    del graph.input[:]
    graph.input.extend(kept)


def _declared(value: Any, original: Path) -> SourceInput:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type" or value.type.tensor_type.elem_type in (TensorProto.STRING, TensorProto.UNDEFINED):
        raise RequantError(f"{original}: its input {value.name!r} is no array of numbers, which Core ML can't take.")
    tensor = value.type.tensor_type
    dtype = str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    if not tensor.HasField("shape"):
        return SourceInput(value.name, dtype)
    shape = tuple(each.dim_value if each.WhichOneof("value") == "dim_value" else None for each in tensor.shape.dim)
    return SourceInput(value.name, dtype, tuple(size if size and size > 0 else None for size in shape))


def _require_same_rank(each: ResolvedInput, original: Path) -> None:
    known, name = each.source.shape, each.source.name
    if known is not None and any(len(shape) != len(known) for shape in each.shapes):
        shape = ", ".join("?" if size is None else str(size) for size in known)
        raise RequantError(
            f"conversion.inputs: {name!r} has {len(known)} axes in {original} ({shape}), and others in the "
            f"configuration ({', '.join(map(str, each.default_shape))})."
        )
    if not each.default_shape:
        raise RequantError(
            f"{original}: its input {name!r} is a single number without axes, which Core ML can't take. Make it a "
            f"constant: conversion: {{inputs: [{{name: {name}, value: ...}}]}}"
        )


def _open_sizes(graph: Any, inputs: Sequence[ResolvedInput]) -> None:
    """Leave open what the file declares of the sizes of inputs and the configuration says otherwise.

    Sizes that the file leaves open stay so: ONNX Runtime would not load a network of which one branch does not fit the
    sizes of the configuration, even if that branch is never taken.
    """
    values = {value.name: value for value in graph.input}
    for each in inputs:
        for axis, dimension in enumerate(values[each.source.name].type.tensor_type.shape.dim):
            if is_open(each, axis) or dimension.dim_value != each.default_shape[axis]:
                dimension.Clear()
    for value in graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")


def is_open(each: ResolvedInput, axis: int) -> bool:
    """Return whether the float model leaves the size of an input along an axis open."""
    sizes = {shape[axis] for shape in each.shapes}
    return len(sizes) > 1 or isinstance(next(iter(sizes)), SizeRange)


def needed_nodes(graph: Any) -> list[Any]:
    """Return the nodes that a graph's outputs hang on, in order."""
    wanted = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            kept.append(node)
            wanted.update(_names_read(node))
    return kept[::-1]


def _names_read(node: Any) -> set[str]:
    names = set(node.input)
    for attribute in node.attribute:
        for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
            for inner in graphs_in(graph):
                names.update(value.name for value in inner.output)
                names.update(name for each in inner.node for name in each.input)
    return names - {""}
