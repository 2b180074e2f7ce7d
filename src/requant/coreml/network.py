"""The weights of a NeuralNetwork: where they are, which shape they have, how they are stored.

Every weight is a `WeightParams` message (Apple's `NeuralNetwork.proto`): float32 numbers, float16 numbers, or packed
codes with either a scale and a bias per channel or a lookup table. All such messages are found by walking the
format's own description; the table below adds what the description does not say: the shape, and which axis holds the
output channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from requant.coreml.packing import unpack
from requant.coreml.weights import Form, StoredWeight
from requant.errors import RequantError

Layout = tuple[tuple[int, ...], int | None]  # shape and axis of the output channels

_RECURRENT_MATRICES = {"WeightMatrix": "inputVectorSize", "RecursionMatrix": "outputVectorSize"}


@dataclass(frozen=True)
class WeightField:
    """One `WeightParams` message in a network.

    Attributes:
        name: the layer's name and the field's, as `conv1.weights`.
        params: the message itself, which may be changed where the spec is a copy.
        shape: of the tensor; (size,) where the format does not say more.
        axis: the axis of the output channels, along which linear quantization has its scales; None where Core ML takes
            one scale for the whole tensor.
        quantizable: whether it is a weight in the narrow sense. Biases, normalization parameters and peepholes are
            not: Core ML computes with them in float, and they are small.
        layer: the name of the layer.
        kind: the type of the layer, as `convolution`.
    """

    name: str
    params: Any
    shape: tuple[int, ...]
    axis: int | None
    quantizable: bool
    layer: str = ""
    kind: str = ""


def network_of(spec: Any) -> Any:
    """Return the network message of a spec that holds a NeuralNetwork, a classifier or a regressor of that kind."""
    return getattr(spec, spec.WhichOneof("Type"))


def walk_layers(layers: Any) -> Iterator[Any]:
    """Yield all layers, those inside branches and loops too, in the order of the file."""
    for layer in layers:
        yield layer
        kind = layer.WhichOneof("layer")
        if kind == "branch":
            yield from walk_layers(layer.branch.ifBranch.layers)
            yield from walk_layers(layer.branch.elseBranch.layers)
        elif kind == "loop":
            yield from walk_layers(layer.loop.conditionNetwork.layers)
            yield from walk_layers(layer.loop.bodyNetwork.layers)


def weight_fields(spec: Any) -> list[WeightField]:
    """Return every weight field of a network that holds numbers, in the order of the file."""
    fields = []
    for layer in walk_layers(network_of(spec).layers):
        kind = layer.WhichOneof("layer")
        if kind is None or kind in ("branch", "loop"):
            continue
        params = getattr(layer, kind)
        for path, message in _weight_messages(params, ""):
            if element_count(message) or message.rawValue or message.int8RawValue:
                fields.append(_weight_field(layer.name or kind, kind, params, path, message))
    return fields


def _weight_messages(message: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None:
            continue
        repeated = not hasattr(value, "ListFields")
        for index, item in enumerate(value if repeated else [value]):
            path = f"{prefix}{descriptor.name}" + (f"[{index}]" if repeated else "")
            if descriptor.message_type.name == "WeightParams":
                yield path, item
            elif hasattr(item, "ListFields"):
                yield from _weight_messages(item, f"{path}.")


def _weight_field(layer_name: str, kind: str, params: Any, path: str, message: Any) -> WeightField:
    layout = _layout(kind, params, path)
    name = f"{layer_name}.{path}"
    if layout is None:
        return WeightField(name, message, (_size_of(message),), 0, quantizable=False, layer=layer_name, kind=kind)
    shape, axis = layout
    return WeightField(name, message, shape, axis, quantizable=True, layer=layer_name, kind=kind)


def _layout(kind: str, params: Any, path: str) -> Layout | None:
    """Return shape and channel axis of a weight in the narrow sense, None for all that stays in float."""
    if kind in _LAYOUTS and path == _LAYOUTS[kind][0]:
        return _LAYOUTS[kind][1](params)
    if kind in ("simpleRecurrent", "gru", "uniDirectionalLSTM", "biDirectionalLSTM"):
        name = path.rpartition(".")[2]
        for ending, columns in _RECURRENT_MATRICES.items():
            if name.lower().endswith(ending.lower()):
                return (params.outputVectorSize, getattr(params, columns)), 0
    return None


def _convolution(params: Any) -> Layout:
    kernel = tuple(params.kernelSize) or (3, 3)
    if params.isDeconvolution:
        groups = max(params.nGroups, 1)
        return (params.kernelChannels, params.outputChannels // groups, *kernel), None if groups > 1 else 1
    return (params.outputChannels, params.kernelChannels, *kernel), 0


# Not here: convolution3d, for which Core ML takes no quantized weights.
_LAYOUTS: dict[str, tuple[str, Callable[[Any], Layout]]] = {
    "convolution": ("weights", _convolution),
    "innerProduct": ("weights", lambda p: ((p.outputChannels, p.inputChannels), 0)),
    "embedding": ("weights", lambda p: ((p.outputChannels, p.inputDim), 0)),
    "embeddingND": ("weights", lambda p: ((p.embeddingSize, p.vocabSize), 0)),
    "batchedMatmul": ("weights", lambda p: ((p.weightMatrixSecondDimension, p.weightMatrixFirstDimension), 0)),
    "loadConstant": ("data", lambda p: ((int(np.prod(p.shape)),), None)),
    "loadConstantND": ("data", lambda p: ((int(np.prod(p.shape)),), None)),
}


def element_count(params: Any) -> int:
    """Return how many float numbers a `WeightParams` message holds, 0 where it holds codes."""
    return len(params.floatValue) or len(params.float16Value) // 2


def _size_of(params: Any) -> int:
    bits = params.quantization.numberOfBits
    return element_count(params) or len(params.int8RawValue) or (len(params.rawValue) * 8 // bits if bits else 0)


def stored_form(params: Any) -> tuple[Form, int]:
    """Return how a `WeightParams` message stores its numbers, and in how many bits."""
    if len(params.floatValue):
        return "float32", 32
    if params.float16Value:
        return "float16", 16
    lookup = params.quantization.WhichOneof("QuantizationType") == "lookupTableQuantization"
    return ("lookup table" if lookup else "linear"), params.quantization.numberOfBits


def decode(field: WeightField) -> NDArray[np.float32]:
    """Return the numbers of a weight, float32 in its shape, as Core ML computes with them.

    Linear: `code * scale + bias` with the scale and bias of the channel; lookup table: `table[code]`
    (`NeuralNetwork.proto`, `QuantizationParams`).

    Raises:
        RequantError: if the field's parts do not fit each other.
    """
    params = field.params
    try:
        if len(params.floatValue):
            return np.array(params.floatValue, np.float32).reshape(field.shape)
        if params.float16Value:
            return np.frombuffer(params.float16Value, "<f2").astype(np.float32).reshape(field.shape)
        return _decode_codes(field)
    except (ValueError, IndexError) as error:
        raise RequantError(
            f"the weights {field.name} are damaged: their numbers do not fit the shape {field.shape} that the layer "
            f"declares ({error})."
        ) from error


def _decode_codes(field: WeightField) -> NDArray[np.float32]:
    quantization = field.params.quantization
    count = int(np.prod(field.shape))
    if field.params.int8RawValue:  # of a layer with int8DynamicQuantize
        codes: NDArray[np.int8] | NDArray[np.uint8] = np.frombuffer(field.params.int8RawValue, np.int8)
    else:
        codes = unpack(field.params.rawValue, count, quantization.numberOfBits, "most significant first")
    if quantization.WhichOneof("QuantizationType") == "lookupTableQuantization":
        table = np.array(quantization.lookupTableQuantization.floatValue, np.float32)
        return table[codes].reshape(field.shape)
    linear = quantization.linearQuantization
    scale = _per_channel(np.array(linear.scale, np.float32), field)
    bias = _per_channel(np.array(linear.bias, np.float32), field) if len(linear.bias) else np.float32(0)
    return np.asarray(codes.reshape(field.shape) * scale + bias, np.float32)


def _per_channel(values: NDArray[np.float32], field: WeightField) -> NDArray[np.float32]:
    if values.size == 1 or field.axis is None:
        return values.reshape((1,) * len(field.shape))
    return values.reshape([-1 if axis == field.axis else 1 for axis in range(len(field.shape))])


def stored_weights(spec: Any) -> list[StoredWeight]:
    """Return every weight of a network with its decoded numbers and how it is stored."""
    return [
        StoredWeight(
            field.name,
            decode(field),
            *stored_form(field.params),
            stored_bytes=_stored_bytes(field.params),
            quantizable=field.quantizable,
        )
        for field in weight_fields(spec)
    ]


def _stored_bytes(params: Any) -> int:
    quantization = params.quantization
    tables = (
        len(quantization.linearQuantization.scale)
        + len(quantization.linearQuantization.bias)
        + len(quantization.lookupTableQuantization.floatValue)
    )
    codes = len(params.float16Value) + len(params.rawValue) + len(params.int8RawValue)
    return 4 * (len(params.floatValue) + tables) + codes


def set_float32(params: Any, values: NDArray[np.float32]) -> None:
    """Store numbers as float32 in a `WeightParams` message."""
    params.Clear()
    params.floatValue.extend(values.reshape(-1).tolist())


def set_float16(params: Any, values: NDArray[np.float32]) -> None:
    """Store numbers as float16, rounded to nearest, in a `WeightParams` message."""
    params.Clear()
    params.float16Value = values.reshape(-1).astype("<f2").tobytes()
