import math
from fnmatch import fnmatchcase

import coremltools as ct
import numpy as np
import pytest
from coremltools.models.neural_network import NeuralNetworkBuilder, quantization_utils
from coremltools.proto import NeuralNetwork_pb2
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from requant.coreml.network import (
    FLOAT,
    QUANTIZABLE,
    decode,
    each_weight,
    reason_to_stay_float,
    set_float16,
    set_float32,
    stored_weights,
    weight_fields,
)
from requant.coreml.packing import pack
from requant.coreml.weights import bits_per_weight
from requant.errors import RequantError
from tests.building import add_convolution, add_inner_product, network, numbers, weight_messages

MATRIX, SQUARE = ((6, 5), 0), ((6, 6), 0)
LAYOUTS = {
    "conv.weights": ((6, 4, 3, 2), 0),
    "deconv.weights": ((4, 6, 3, 3), 1),
    "fc.weights": ((7, 24), 0),
    "embedding.weights": ((5, 9), 0),
    "embedding_nd.weights": ((5, 11), 0),
    "matmul.weights": ((6, 4), 0),
    "constant.data": ((24,), None),
    "constant_nd.data": ((35,), None),
    "rnn.weightMatrix": MATRIX,
    "rnn.recursionMatrix": SQUARE,
}


def quantized(model, bits, mode):
    return quantization_utils.quantize_weights(
        ct.models.MLModel(model.spec, skip_model_load=True), bits, mode
    ).get_spec()


def fields_of_the_format(message, prefix=""):
    """Yield the path of every `WeightParams` field in a message's description; a network in it has layers again."""
    for field in message.fields:
        if field.message_type is not None and field.message_type.name == "WeightParams":
            yield prefix + field.name
        elif field.message_type is not None and field.message_type.name != "NeuralNetwork":
            yield from fields_of_the_format(field.message_type, f"{prefix}{field.name}.")


LAYERS = NeuralNetwork_pb2.NeuralNetworkLayer.DESCRIPTOR.oneofs_by_name["layer"].fields
FIELDS = [(layer.name, path) for layer in LAYERS for path in fields_of_the_format(layer.message_type)]


def by_name(spec):
    return {field.name: field for field in weight_fields(spec)}


@pytest.mark.parametrize(("kind", "path"), FIELDS, ids=[".".join(field) for field in FIELDS])
def test_every_field_of_the_format_is_in_one_of_the_two_tables(kind, path):
    """A field of a newer format fails here: say in `requant.coreml.network` whether it can be quantized."""
    reason = reason_to_stay_float(kind, path)
    narrow = path in ("weights", "data") or path.endswith(("Matrix", "weightMatrix", "recursionMatrix"))
    if kind in ("scale", "bias"):
        assert reason is None
    else:
        assert (reason is None) == (narrow and kind not in ("convolution3d", "custom"))


def test_the_tables_name_no_field_that_is_not_in_the_format():
    names = [".".join(field) for field in FIELDS]
    for pattern in (*QUANTIZABLE, *FLOAT):
        assert any(fnmatchcase(name, pattern) for name in names), pattern
    assert len(names) == 84


def test_a_field_that_is_in_neither_table_is_told():
    with pytest.raises(KeyError, match=r"newLayer\.weights"):
        reason_to_stay_float("newLayer", "weights")


def test_all_weights_are_found_with_their_numbers(all_weights):
    fields = by_name(all_weights.spec)
    messages = weight_messages(all_weights.spec)
    assert {name for name, field in fields.items() if field.quantizable} == set(messages)
    for name, message in messages.items():
        np.testing.assert_array_equal(decode(fields[name]).reshape(-1), np.float32(message.floatValue))


def test_biases_and_parameters_of_normalizations_are_found_and_stay_float(all_weights):
    stay = {name for name, field in by_name(all_weights.spec).items() if not field.quantizable}
    assert {"conv.bias", "bn.mean", "bn.variance", "scale.scale", "bias.bias", "prelu.PReLU.alpha"} <= stay
    assert {"rnn.biasVector", "lstm.weightParams.inputGatePeepholeVector"} <= stay
    assert len(stay) == 38


def test_shapes_and_channel_axes_are_those_of_the_format(all_weights):
    for name, field in by_name(all_weights.spec).items():
        if field.quantizable:
            default = MATRIX if name.endswith("WeightMatrix") else SQUARE
            assert (field.shape, field.axis) == LAYOUTS.get(name, default), name


def test_weights_in_branches_and_loops_are_found():
    def layers(b):
        branch = b.add_branch("branch", "x")
        loop = b.add_loop("loop", max_iterations=3)
        for message, name in ((branch.branch.ifBranch, "if"), (branch.branch.elseBranch, "else"),
                              (loop.loop.conditionNetwork, "condition"), (loop.loop.bodyNetwork, "body")):  # fmt: skip
            add_inner_product(NeuralNetworkBuilder(nn_spec=message), numbers(2, 3), name=name)

    spec = network(layers, {"x": (1,)}).spec
    assert list(by_name(spec)) == ["if.weights", "else.weights", "condition.weights", "body.weights"]


def test_a_convolution_without_sizes_has_the_defaults_of_the_format():
    spec = network(lambda b: add_convolution(b, numbers(4, 2, 3, 3), deconvolution=True)).spec
    del spec.neuralNetwork.layers[0].convolution.kernelSize[:]
    spec.neuralNetwork.layers[0].convolution.nGroups = 0
    assert by_name(spec)["conv.weights"].shape == (4, 2, 3, 3)


def test_a_grouped_deconvolution_has_one_scale_for_all():
    # Core ML takes one scale or as many as there are output channels, and no axis of these weights has as many.
    spec = network(lambda b: add_convolution(b, numbers(4, 2, 3, 3), deconvolution=True, groups=2)).spec
    field = by_name(spec)["conv.weights"]
    assert (field.shape, field.axis) == ((4, 2, 3, 3), None)


def test_a_3d_convolution_stays_float():
    # Core ML refuses quantized weights there (NeuralNetworkLayerValidator.cpp, validateConvolution3DLayer).
    spec = network(
        lambda b: b.add_convolution3d("conv", 2, 4, 3, 3, 3, numbers(4, 2, 3, 3, 3), None, False, input_name="x")
    ).spec
    field = by_name(spec)["conv.weights"]
    assert not field.quantizable
    assert decode(field).size == 4 * 2 * 27


@pytest.mark.parametrize("kind", ["scale", "bias"])
@pytest.mark.parametrize(
    ("shape", "quantizable"), [([4], False), ([4, 1, 1], False), ([4, 6, 5], True), ([1, 6, 5], True)]
)
def test_a_map_is_a_weight_and_a_number_per_channel_is_not(kind, shape, quantizable):
    def layers(b):
        if kind == "scale":
            b.add_scale("s", numbers(*shape), numbers(*shape, seed=1), True, "x", "y", shape, shape)
        else:
            b.add_bias("b", numbers(*shape), "x", "y", shape)

    fields = weight_fields(network(layers, {"x": (4, 6, 5)}).spec)
    assert len(fields) == (2 if kind == "scale" else 1)
    for field in fields:
        assert field.quantizable is quantizable
        assert field.shape == (math.prod(shape),)
        assert field.axis is None or not quantizable


def test_only_a_layer_normalization_has_to_be_float32(all_weights):
    # NeuralNetworkLayerValidator.cpp, validateLayerNormalizationLayer: it counts `floatValue` and nothing else.
    spec = network(lambda b: b.add_layer_normalization("n", "x", "y", [6], numbers(6), numbers(6)), {"x": (6,)}).spec
    assert [(field.name, field.float16, field.quantizable) for field in weight_fields(spec)] == [
        ("n.gamma", False, False),
        ("n.beta", False, False),
    ]
    assert all(field.float16 for field in weight_fields(all_weights.spec))


def test_layers_of_one_name_are_told_apart():
    def layers(b):
        for result in ("y", "z"):
            add_inner_product(b, numbers(4, 5), name=result, result=result)

    spec = network(layers, {"x": (5,)}).spec
    for layer in spec.neuralNetwork.layers:
        layer.name = "fc"
    assert [(field.name, field.layer) for field in weight_fields(spec)] == [
        ("fc.weights", "fc"),
        ("fc#2.weights", "fc#2"),
    ]


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("mode", ["linear", "linear_lut"])
def test_what_coremltools_quantized_is_decoded_as_coremltools_does(all_weights, mode, bits):
    spec = quantized(all_weights, bits, mode)
    ours = {name: decode(field) for name, field in by_name(spec).items()}
    quantization_utils._dequantize_nn_spec(spec.neuralNetwork)
    for name, message in weight_messages(spec).items():
        expected = np.array(message.floatValue)
        np.testing.assert_allclose(ours[name].reshape(-1), expected, rtol=0, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(("mode", "form"), [("linear", "linear"), ("linear_lut", "lookup table")])
def test_forms_and_bits_are_told(all_weights, mode, form):
    messages = weight_messages(all_weights.spec)
    for weight in stored_weights(quantized(all_weights, 3, mode)):
        if weight.name in messages:
            assert (weight.form, weight.bits) == (form, 3)


def test_stored_bytes_count_codes_scales_and_tables(all_weights):
    linear = {w.name: w.stored_bytes for w in stored_weights(quantized(all_weights, 3, "linear"))}
    table = {w.name: w.stored_bytes for w in stored_weights(quantized(all_weights, 3, "linear_lut"))}
    assert linear["fc.weights"] == 7 * 24 * 3 // 8 + 2 * 4 * 7  # a scale and a bias per channel
    assert table["fc.weights"] == 7 * 24 * 3 // 8 + 4 * 8  # eight entries
    plain = {w.name: w.stored_bytes for w in stored_weights(all_weights.spec)}
    assert plain["fc.weights"] == 4 * 7 * 24


def test_bits_per_weight_is_the_mean_over_all_numbers():
    def layers(b):
        add_inner_product(b, numbers(10, 30), numbers(10), "first", "x", "z")
        add_inner_product(b, numbers(5, 10), name="second", source="z")

    weights = stored_weights(network(layers, {"x": (30,)}).spec)
    assert bits_per_weight(weights) == 32
    assert np.isnan(bits_per_weight([]))


def test_float16_is_decoded_without_loss():
    values = numbers(4, 5).astype(np.float16)
    spec = network(lambda b: add_inner_product(b, numbers(4, 5)), {"x": (5,)}).spec
    set_float16(by_name(spec)["fc.weights"].params, values.astype(np.float32))
    (field,) = weight_fields(spec)
    np.testing.assert_array_equal(decode(field), values.astype(np.float32))
    assert spec.neuralNetwork.layers[0].innerProduct.weights.float16Value == values.tobytes()


def test_float32_replaces_what_was_stored():
    spec = network(lambda b: add_inner_product(b, numbers(4, 5)), {"x": (5,)}).spec
    (field,) = weight_fields(spec)
    set_float16(field.params, numbers(4, 5))
    set_float32(field.params, numbers(4, 5, seed=1))
    assert not field.params.float16Value
    np.testing.assert_array_equal(decode(weight_fields(spec)[0]), numbers(4, 5, seed=1))


def test_int8_weights_of_dynamic_layers_are_quantized_weights():
    def layers(b):
        add_inner_product(b, numbers(4, 6), name="fc", result="z")
        b.add_batched_mat_mul("mm", ["z"], "y", weight_matrix_rows=4, weight_matrix_columns=3, W=numbers(4, 3))

    spec = network(layers, {"x": (6,)}, exact=True).spec
    quantization_utils.activate_int8_int8_matrix_multiplications(spec)
    params = spec.neuralNetwork.layers[0].innerProduct.weights
    found = {weight.name: weight for weight in stored_weights(spec)}
    assert {(w.form, w.bits) for w in found.values()} == {("linear", 8)}
    assert found["fc.weights"].stored_bytes == 4 * 6 + 4
    expected = (
        np.frombuffer(params.int8RawValue, np.int8).reshape(4, 6) * params.quantization.linearQuantization.scale[0]
    )
    np.testing.assert_allclose(found["fc.weights"].values, expected, rtol=1e-6)


@pytest.mark.parametrize("bits", range(1, 9))
def test_biases_that_coremltools_quantized_are_decoded_to_the_last_number(all_weights, bits):
    """Codes fill up the last byte, so that bytes and bits alone do not tell how many there are."""
    spec = quantized(all_weights, bits, "linear")
    ours = {name: decode(field) for name, field in by_name(spec).items()}
    quantization_utils._dequantize_nn_spec(spec.neuralNetwork)
    layers = {layer.name: layer for layer in spec.neuralNetwork.layers}
    messages = {
        "conv.bias": layers["conv"].convolution.bias,
        "fc.bias": layers["fc"].innerProduct.bias,
        "embedding.bias": layers["embedding"].embedding.bias,
        "matmul.bias": layers["matmul"].batchedMatmul.bias,
        "bn.gamma": layers["bn"].batchnorm.gamma,
        "rnn.biasVector": layers["rnn"].simpleRecurrent.biasVector,
        "lstm.weightParams.inputGatePeepholeVector": layers[
            "lstm"
        ].uniDirectionalLSTM.weightParams.inputGatePeepholeVector,
        "bilstm.weightParams[1].forgetGateBiasVector": layers["bilstm"]
        .biDirectionalLSTM.weightParams[1]
        .forgetGateBiasVector,
    }
    for name, message in messages.items():
        np.testing.assert_allclose(ours[name], np.array(message.floatValue), rtol=0, atol=1e-6, err_msg=name)


def with_codes(params, codes, scale, bias=(), bits=8):
    params.Clear()
    params.quantization.numberOfBits = bits
    params.quantization.linearQuantization.scale.extend(scale)
    params.quantization.linearQuantization.bias.extend(bias)
    params.rawValue = pack(codes, bits, "most significant first")


def test_a_grouped_deconvolution_may_have_a_scale_per_output_channel():
    """Channel j of group g is output channel g * 3 + j; the inputs 0 and 1 are group 0, the others group 1."""
    spec = network(lambda b: add_convolution(b, numbers(4, 3, 2, 2), deconvolution=True, groups=2)).spec
    codes = np.arange(48, dtype=np.uint8).reshape(4, 3, 2, 2)
    with_codes(spec.neuralNetwork.layers[0].convolution.weights, codes, [1, 2, 3, 4, 5, 6], [0.5] * 6)
    found = decode(by_name(spec)["conv.weights"])
    for i in range(4):
        for j in range(3):
            np.testing.assert_array_equal(found[i, j], codes[i, j] * np.float32(i // 2 * 3 + j + 1) + 0.5)


def test_a_constant_may_have_a_scale_per_channel():
    # NeuralNetworkLayerValidator.cpp, validateLoadConstantLayer
    spec = network(lambda b: b.add_load_constant("c", "y", numbers(2, 3, 4), [2, 3, 4])).spec
    codes = np.arange(24, dtype=np.uint8)
    with_codes(spec.neuralNetwork.layers[0].loadConstant.data, codes, [1, 10], [0, 7])
    np.testing.assert_array_equal(decode(by_name(spec)["c.data"]), [*range(12), *(10 * n + 7 for n in range(12, 24))])


@pytest.mark.parametrize("bias", [(), (2.0,)])
@pytest.mark.parametrize("scales", [1, 4])
def test_one_scale_or_one_per_channel_with_or_without_bias(scales, bias):
    spec = network(lambda b: add_inner_product(b, numbers(4, 5)), {"x": (5,)}).spec
    scale, codes = np.arange(1, scales + 1, dtype=np.float32), np.arange(20, dtype=np.uint8).reshape(4, 5)
    with_codes(spec.neuralNetwork.layers[0].innerProduct.weights, codes, scale, bias * scales)
    expected = codes * scale[:, None] + sum(bias)
    np.testing.assert_array_equal(decode(by_name(spec)["fc.weights"]), expected)


def damage(message):
    """Return what can be wrong with four rows of five codes of three bits, by what the error says."""
    linear, table = message.quantization.linearQuantization, message.quantization.lookupTableQuantization
    return {
        "20 codes of 3 bits take 8 bytes, but there are 7": lambda: setattr(message, "rawValue", bytes(7)),
        "2 scales, where there can be 1 or 4": lambda: (linear.scale.pop(), linear.scale.pop(), linear.bias.clear()),
        "0 scales, where": lambda: (linear.scale.clear(), linear.bias.clear()),
        "4 scales and 3 biases": linear.bias.pop,
        "codes of 0 bits": lambda: setattr(message.quantization, "numberOfBits", 0),
        "codes of 9 bits": lambda: setattr(message.quantization, "numberOfBits", 9),
        "a table of 7 entries for codes of 3 bits": lambda: table.floatValue.extend(range(7)),
        "a table of 0 entries": table.SetInParent,
        "without scale and table": lambda: message.quantization.ClearField("linearQuantization"),
        "in more than one form": lambda: message.floatValue.extend([1.0] * 20),
    }


@pytest.mark.parametrize("what", damage(NeuralNetwork_pb2.WeightParams()))
def test_codes_that_do_not_fit_are_refused_by_the_name_of_the_layer_and_the_field(what):
    spec = quantized(network(lambda b: add_inner_product(b, numbers(4, 5)), {"x": (5,)}), 3, "linear")
    damage(spec.neuralNetwork.layers[0].innerProduct.weights)[what]()
    with pytest.raises(RequantError, match=rf"the weights fc\.weights are damaged: .*{what}"):
        stored_weights(spec)


@pytest.mark.parametrize(("field", "value"), [("inputChannels", 2**63), ("outputChannels", 2**40)])
@pytest.mark.parametrize("bits", [None, 16, 3])
def test_sizes_beyond_all_memory_are_refused(bits, field, value):
    model = network(lambda b: add_inner_product(b, numbers(4, 5)), {"x": (5,)})
    spec = quantized(model, bits, "linear") if bits else model.copy_spec()
    setattr(spec.neuralNetwork.layers[0].innerProduct, field, value)
    with pytest.raises(RequantError, match=r"fc\.weights are damaged"):
        stored_weights(spec)


def test_half_a_float16_is_refused():
    spec = network(lambda b: add_inner_product(b, numbers(4, 5)), {"x": (5,)}).spec
    set_float16(by_name(spec)["fc.weights"].params, numbers(4, 5))
    spec.neuralNetwork.layers[0].innerProduct.weights.float16Value += b"x"
    with pytest.raises(RequantError, match=r"fc\.weights are damaged"):
        stored_weights(spec)


def test_int8_weights_have_eight_bits_and_a_scale():
    spec = network(lambda b: add_inner_product(b, numbers(4, 6)), {"x": (6,)}, exact=True).spec
    quantization_utils.activate_int8_int8_matrix_multiplications(spec)
    params = spec.neuralNetwork.layers[0].innerProduct.weights
    params.quantization.numberOfBits = 7
    with pytest.raises(RequantError, match=r"fc\.weights are damaged: .*codes of 7 bits"):
        stored_weights(spec)


def test_a_layer_without_numbers_has_no_weights():
    spec = network(lambda b: add_inner_product(b, numbers(4, 5)), {"x": (5,)}).spec
    spec.neuralNetwork.layers[0].innerProduct.weights.Clear()
    assert weight_fields(spec) == []


@given(arrays(np.float32, st.integers(0, 300), elements=st.floats(width=32)))
def test_float32_is_stored_and_decoded_as_number_by_number(values):
    ours, slow = NeuralNetwork_pb2.WeightParams(), NeuralNetwork_pb2.WeightParams()
    ours.float16Value = b"older"
    set_float32(ours, values)
    slow.floatValue.extend(values.tolist())
    assert ours.SerializeToString() == slow.SerializeToString()
    spec = network(lambda b: add_inner_product(b, numbers(1, 1)), {"x": (1,)}).spec
    layer = spec.neuralNetwork.layers[0].innerProduct
    layer.inputChannels = values.size
    layer.weights.CopyFrom(ours)
    if values.size:
        np.testing.assert_array_equal(decode(weight_fields(spec)[0]), values.reshape(1, -1))


@pytest.mark.parametrize("size", [31, 32, 4095, 4096, 524287, 524288])
def test_lengths_around_the_borders_of_the_wire_format(size):
    params = NeuralNetwork_pb2.WeightParams()
    values = np.arange(size, dtype=np.float32)
    set_float32(params, values[::-1])
    assert len(params.floatValue) == size
    np.testing.assert_array_equal(np.array(params.floatValue), values[::-1])


def test_weights_come_one_at_a_time(all_weights):
    names = [weight.name for weight in each_weight(all_weights.spec)]
    assert names == [field.name for field in weight_fields(all_weights.spec)]
    assert next(each_weight(all_weights.spec)).name == "conv.weights"


@pytest.mark.parametrize("bits", [None, 16, 8, 3])
def test_numbers_that_do_not_fit_the_declared_shape_are_refused(bits):
    model = network(lambda b: add_inner_product(b, numbers(4, 5)), {"x": (5,)})
    spec = quantized(model, bits, "linear") if bits else model.copy_spec()
    spec.neuralNetwork.layers[0].innerProduct.inputChannels = 50
    with pytest.raises(RequantError, match=r"fc.weights are damaged: .* shape \(4, 50\)"):
        stored_weights(spec)
