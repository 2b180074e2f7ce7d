"""Reading an ONNX file, and what is said of a file that is none, is damaged, or is quantized already."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from requant.errors import RequantError

_STANDARD = ("", "ai.onnx")
# Nodes that hold or compute with quantized numbers; there are more of them in onnxruntime's own domain.
_QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger")
_QUANTIZED_BEGIN = ("QLinear", "QAttention", "QGemm", "QMoE", "DynamicQuantize", "MatMulNBits", "MatMulBnb4")


def read(path: Path) -> Any:
    """Return an ONNX model with all its weights.

    Raises:
        RequantError: if the file is no ONNX model or damaged, misses its weights, or is quantized already.
    """
    try:
        model = onnx.load_model(path, format="protobuf", load_external_data=False)
    except OSError as error:
        raise RequantError(f"{path} can't be read: {error.strerror or error}.") from error
    except (DecodeError, UnicodeDecodeError) as error:
        raise RequantError(f"{path} is no ONNX model, or it is damaged: {error}") from error
    if not model.graph.output or (not model.opset_import and model.ir_version >= 3):
        raise RequantError(f"{path} is no ONNX model, or it is damaged: there is no network in it.")
    _load_external(model, path)
    _require_float(model, path)
    return model


def _load_external(model: Any, path: Path) -> None:
    """Read the weights that are in files of their own."""
    tensors = [tensor for tensor in _tensors(model) if tensor.data_location == onnx.TensorProto.EXTERNAL]
    if not tensors:
        return
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        places = sorted(
            {entry.value for tensor in tensors for entry in tensor.external_data if entry.key == "location"}
        )
        raise RequantError(
            f"{path} has weights in files of their own ({', '.join(places)}), which have to be complete and beside it: "
            f"{error}"
        ) from error


def _tensors(model: Any) -> Iterator[Any]:
    for graph in graphs(model):
        yield from graph.initializer
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t


def graphs(model: Any) -> Iterator[Any]:
    """Yield a model's graph, its functions, and all graphs in their nodes."""
    yield from graphs_in(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from _nested(node)


def graphs_in(graph: Any) -> Iterator[Any]:
    """Yield a graph and all graphs in its nodes."""
    yield graph
    for node in graph.node:
        yield from _nested(node)


def _nested(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
            yield from graphs_in(graph)


def is_standard(node: Any) -> bool:
    """Return whether a node is of ONNX's own domain."""
    return node.domain in _STANDARD


def _require_float(model: Any, path: Path) -> None:
    nodes = [node for graph in graphs(model) for node in graph.node]
    nodes += [node for function in model.functions for node in function.node]
    for node in nodes:
        if node.op_type in _QUANTIZED or node.op_type.startswith(_QUANTIZED_BEGIN):
            raise RequantError(
                f"{path} is quantized already: it has the operator {node.op_type} (node {label(node)}). "
                "Quantizing again adds to the loss of the first time; keep the float original that it was made from."
            )


def label(node: Any) -> str:
    """Return how messages name a node: by its name, or by its first result where it has none."""
    return node.name or next((name for name in node.output if name), "(unnamed)")
