"""The weights of a NeuralNetwork: where they are, which shape they have, how they are stored.

Every weight is a `WeightParams` message (Apple's `NeuralNetwork.proto`): float32 numbers, float16 numbers, or packed
codes with a scale and a bias, or a lookup table. All such messages are found by walking the format's own description.
The two tables below say of every one of them whether it can be quantized, and why not; `QUANTIZABLE` adds what the
description does not say, the shape and which axis holds the output channels.

The tables follow the comments of `NeuralNetwork.proto` and what Core ML accepts when it loads a network: in
https://github.com/apple/coremltools, `mlmodel/src/Validation`, `NeuralNetworkLayerValidator.cpp` (sizes, and how many
scales) and `QuantizationValidationUtils.cpp` (bits, scales, biases, tables).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from requant.coreml.packing import packed_size, unpack
from requant.coreml.weights import Form, StoredWeight
from requant.errors import RequantError

Shape = tuple[int, ...]
T = TypeVar("T")


@dataclass(frozen=True)
class Layout:
    """What the format does not say of a weight.

    Attributes:
        shape: of the tensor.
        axis: of the output channels, along which linear quantization has its scales; None where one scale is stored
            for the whole tensor.
        blocks: the tensor's shape with the channels on axes of their own, where they are not those of `axis`.
        channels: the axes of `blocks` that are channels: where a file may have a scale per channel that requant does
            not write.
    """

    shape: Shape
    axis: int | None = None
    blocks: Shape = ()
    channels: tuple[int, ...] = ()


def _convolution(params: Any) -> Layout:
    kernel = (*params.kernelSize, 3, 3)[:2] if len(params.kernelSize) < 2 else tuple(params.kernelSize)
    if not params.isDeconvolution:
        return Layout((params.outputChannels, params.kernelChannels, *kernel), 0)
    groups, inputs = max(params.nGroups, 1), params.kernelChannels
    outputs = params.outputChannels // groups
    shape = (inputs, outputs, *kernel)
    if groups == 1:
        return Layout(shape, 1)
    return Layout(shape, None, (groups, inputs // groups, outputs, *kernel), (0, 2))


def _map(shape: Any) -> Layout:
    """Return the layout of a tensor of any shape, whose first of three axes may have scales of its own."""
    size = math.prod(shape)
    if len(shape) == 3 and shape[0]:
        return Layout((size,), None, (shape[0], size // shape[0]), (0,))
    return Layout((size,))


def _input_matrix(params: Any) -> Layout:
    return Layout((params.outputVectorSize, params.inputVectorSize), 0)


def _recursion_matrix(params: Any) -> Layout:
    return Layout((params.outputVectorSize, params.outputVectorSize), 0)


# Every weight field that Core ML reads quantized and that is a weight in the narrow sense, by the type of the layer and
# its path in the layer's message.
QUANTIZABLE: dict[str, Callable[[Any], Layout]] = {
    "convolution.weights": _convolution,
    "innerProduct.weights": lambda p: Layout((p.outputChannels, p.inputChannels), 0),
    "embedding.weights": lambda p: Layout((p.outputChannels, p.inputDim), 0),
    "embeddingND.weights": lambda p: Layout((p.embeddingSize, p.vocabSize), 0),
    "batchedMatmul.weights": lambda p: Layout((p.weightMatrixSecondDimension, p.weightMatrixFirstDimension), 0),
    "loadConstant.data": lambda p: _map(p.shape),
    "loadConstantND.data": lambda p: Layout((math.prod(p.shape),)),
    "simpleRecurrent.weightMatrix": _input_matrix,
    "simpleRecurrent.recursionMatrix": _recursion_matrix,
    "gru.*WeightMatrix": _input_matrix,
    "gru.*RecursionMatrix": _recursion_matrix,
    "*DirectionalLSTM.weightParams.*WeightMatrix": _input_matrix,
    "*DirectionalLSTM.weightParams.*RecursionMatrix": _recursion_matrix,
    # Quantizable where there is a number for each place of a map; one number per channel is a bias or a normalization.
    "scale.scale": lambda p: _map(p.shapeScale),
    "scale.bias": lambda p: _map(p.shapeBias),
    "bias.bias": lambda p: _map(p.shape),
}
_BIAS = "a bias: small, and added to every sum"
_NORMALIZATION = "a parameter of a normalization: small, and every output is multiplied by it"
_ACTIVATION = "a parameter of an activation: one number per channel at the most"
ONLY_FLOAT32 = "Core ML takes it as float32 only"
CUSTOM = "it is read by the code of the layer, which is not in the model"
# Every other weight field, with the reason why it stays float.
FLOAT: dict[str, str] = {
    "convolution.bias": _BIAS,
    "innerProduct.bias": _BIAS,
    "embedding.bias": _BIAS,
    "embeddingND.bias": _BIAS,
    "batchedMatmul.bias": _BIAS,
    "simpleRecurrent.biasVector": _BIAS,
    "gru.*BiasVector": _BIAS,
    "*DirectionalLSTM.weightParams.*BiasVector": _BIAS,
    "*DirectionalLSTM.weightParams.*PeepholeVector": "a peephole: one number per cell",
    "batchnorm.*": _NORMALIZATION,
    "layerNormalization.*": ONLY_FLOAT32,
    "convolution3d.*": "Core ML refuses it quantized",
    "activation.*": _ACTIVATION,
    "*.activation*.*": _ACTIVATION,
    "custom.weights": CUSTOM,
}
# The length of the vectors among them, by type of layer.
_SIZES = {
    "batchnorm": "channels",
    "batchedMatmul": "weightMatrixSecondDimension",
    "embeddingND": "embeddingSize",
    **dict.fromkeys(("convolution", "convolution3d", "embedding", "innerProduct"), "outputChannels"),
    **dict.fromkeys(("simpleRecurrent", "gru", "uniDirectionalLSTM", "biDirectionalLSTM"), "outputVectorSize"),
}
_INDEX = re.compile(r"\[\d+\]")
_FLOAT_TAG = b"\x0a"  # field 1, a length and the numbers
_PARTS = ("floatValue", "float16Value", "rawValue", "int8RawValue")


def reason_to_stay_float(kind: str, path: str) -> str | None:
    """Return why a weight field is never quantized, None for one that can be.

    Args:
        kind: the type of the layer, as `convolution`.
        path: of the field in the layer's message, without the numbers of repeated ones, as `weightParams.weights`.

    Raises:
        KeyError: if it is a field that neither table knows, of a newer version of the format.
    """
    name = f"{kind}.{path}"
    if _first(QUANTIZABLE, name) is not None:
        return None
    reason = _first(FLOAT, name)
    if reason is None:
        raise KeyError(name)
    return reason


def _first(table: Mapping[str, T], name: str) -> T | None:
    return next((value for pattern, value in table.items() if fnmatchcase(name, pattern)), None)


@dataclass(frozen=True)
class WeightField:
    """One `WeightParams` message in a network.

    Attributes:
        name: the layer's name and the field's, as `conv1.weights`, after that of the model in a pipeline.
        params: the message itself, which may be changed where the spec is a copy.
        shape: of the tensor; (size,) where the format does not say more.
        axis: the axis of the output channels, along which linear quantization has its scales; None where Core ML takes
            one scale for the whole tensor.
        quantizable: whether it is a weight in the narrow sense. Biases, normalization parameters and peepholes are
            not: Core ML computes with them in float, and they are small.
        layer: the name of the layer.
        kind: the type of the layer, as `convolution`.
        float16: whether Core ML takes it as float16.
        reason: why it is not quantizable.
        blocks: see `Layout`.
        channels: see `Layout`.
    """

    name: str
    params: Any
    shape: Shape
    axis: int | None
    quantizable: bool
    layer: str = ""
    kind: str = ""
    float16: bool = True
    reason: str = ""
    blocks: Shape = ()
    channels: tuple[int, ...] = ()


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
    """Return every weight field of a network that holds numbers, in the order of the file.

    The second layer of a name, or without one, is told apart by a number: `conv#2.weights`.
    """
    fields = []
    counts: Counter[str] = Counter()
    for layer in walk_layers(network_of(spec).layers):
        kind = layer.WhichOneof("layer")
        if kind is None or kind in ("branch", "loop"):
            continue
        name, params = layer.name or kind, getattr(layer, kind)
        counts[name] += 1
        unique = name if counts[name] == 1 else f"{name}#{counts[name]}"
        for path, message in _weight_messages(params, ""):
            if element_count(message) or message.rawValue or message.int8RawValue:
                fields.append(_weight_field(unique, kind, params, path, message))
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


def _weight_field(layer: str, kind: str, params: Any, path: str, message: Any) -> WeightField:
    name, field = f"{layer}.{path}", f"{kind}.{_INDEX.sub('', path)}"
    layout_of = _first(QUANTIZABLE, field)
    layout = layout_of(params) if layout_of else None
    if layout is None or (kind in ("scale", "bias") and not _is_map(layout)):
        size = _size_of(message, getattr(params, _SIZES[kind]) if kind in _SIZES else 0)
        reason = _first(FLOAT, field) or "one number per channel"
        return WeightField(name, message, (size,), 0, False, layer, kind, reason not in (ONLY_FLOAT32, CUSTOM), reason)
    return WeightField(
        name, message, layout.shape, layout.axis, True, layer, kind, blocks=layout.blocks, channels=layout.channels
    )


def convolution_weights(layer: Any) -> WeightField:
    """Return the weights of a layer of type convolution."""
    return _weight_field(layer.name, "convolution", layer.convolution, "weights", layer.convolution.weights)


def _is_map(layout: Layout) -> bool:
    """Return whether a tensor has a number for each place, not only for each channel."""
    return math.prod(layout.blocks[1:]) > 1


def element_count(params: Any) -> int:
    """Return how many float numbers a `WeightParams` message holds, 0 where it holds codes."""
    return len(params.floatValue) or len(params.float16Value) // 2


def _size_of(params: Any, declared: int) -> int:
    """Return how many numbers a vector has; codes do not tell it alone, for the last byte may be filled up."""
    bits, data = params.quantization.numberOfBits, params.rawValue
    if data and bits and packed_size(declared, bits) == len(data):
        return declared
    return element_count(params) or len(params.int8RawValue) or (len(data) * 8 // bits if bits else 0)


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
        RequantError: if the field's parts do not fit each other, or Core ML would refuse them.
    """
    params = field.params
    try:
        if sum(len(getattr(params, part)) > 0 for part in _PARTS) > 1:
            raise ValueError("numbers are stored in more than one form")
        if len(params.floatValue):
            return np.array(params.floatValue, np.float32).reshape(field.shape)
        if params.float16Value:
            return np.frombuffer(params.float16Value, "<f2").astype(np.float32).reshape(field.shape)
        return _decode_codes(field)
    except (ValueError, OverflowError) as error:
        raise RequantError(
            f"the weights {field.name} are damaged: their numbers do not fit the shape {field.shape} that the layer "
            f"declares, or each other ({error})."
        ) from error


def _decode_codes(field: WeightField) -> NDArray[np.float32]:
    params, quantization = field.params, field.params.quantization
    bits = quantization.numberOfBits
    kind = quantization.WhichOneof("QuantizationType")
    if kind is None or not 1 <= bits <= 8 or (params.int8RawValue and (bits, kind) != (8, "linearQuantization")):
        raise ValueError(f"codes of {bits} bits, {kind or 'without scale and table'}")
    if params.int8RawValue:  # of a layer with int8DynamicQuantize
        codes: NDArray[np.int8] | NDArray[np.uint8] = np.frombuffer(params.int8RawValue, np.int8)
    else:
        codes = unpack(params.rawValue, math.prod(field.shape), bits, "most significant first")
    if kind == "lookupTableQuantization":
        table = np.array(quantization.lookupTableQuantization.floatValue, np.float32)
        if table.size != 1 << bits:
            raise ValueError(f"a table of {table.size} entries for codes of {bits} bits")
        return table[codes].reshape(field.shape)
    scale, bias = (np.array(part, np.float32) for part in _scale_and_bias(quantization.linearQuantization))
    numbers = codes.astype(np.float32).reshape(field.blocks or field.shape)
    numbers *= _per_channel(scale, field)
    if bias.size:
        numbers += _per_channel(bias, field)
    return numbers.reshape(field.shape)


def _scale_and_bias(linear: Any) -> tuple[Any, Any]:
    if len(linear.bias) not in (0, len(linear.scale)):
        raise ValueError(f"{len(linear.scale)} scales and {len(linear.bias)} biases")
    return linear.scale, linear.bias


def _per_channel(values: NDArray[np.float32], field: WeightField) -> NDArray[np.float32]:
    """Return scales or biases in a shape in which numpy spreads them over the tensor."""
    shape = field.blocks or field.shape
    channels = field.channels or (() if field.axis is None else (field.axis % len(shape),))
    if values.size == 1:
        return values.reshape((1,) * len(shape))
    spread = [size if axis in channels else 1 for axis, size in enumerate(shape)]
    if math.prod(spread) != values.size:
        raise ValueError(f"{values.size} scales, where there can be 1 or {math.prod(spread)}")
    return values.reshape(spread)


def each_weight(spec: Any) -> Iterator[StoredWeight]:
    """Yield every weight of a network with its decoded numbers and how it is stored, one at a time."""
    for field in weight_fields(spec):
        form, bits = stored_form(field.params)
        yield StoredWeight(field.name, decode(field), form, bits, _stored_bytes(field.params), field.quantizable)


def stored_weights(spec: Any) -> list[StoredWeight]:
    """Return every weight of a network with its decoded numbers and how it is stored."""
    return list(each_weight(spec))


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
    """Store numbers as float32 in a `WeightParams` message.

    They are merged in as the bytes of a message that holds nothing else: number by number, it takes twenty times as
    long, and ten times the memory.
    """
    data = np.ascontiguousarray(values, "<f4").reshape(-1)
    params.Clear()
    if data.size:
        params.MergeFromString(b"".join([_FLOAT_TAG, _varint(data.nbytes), data.view(np.uint8).data]))


def _varint(number: int) -> bytes:
    """Return a whole number as protobuf writes it: seven bits a byte, the last one without the highest bit."""
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def set_float16(params: Any, values: NDArray[np.float32]) -> None:
    """Store numbers as float16, rounded to nearest, in a `WeightParams` message."""
    params.Clear()
    params.float16Value = values.reshape(-1).astype("<f2").tobytes()
