import coremltools as ct
import numpy as np
import pytest
from coremltools.models.neural_network import NeuralNetworkBuilder, quantization_utils

from requant.coreml.network import decode, set_float16, set_float32, stored_weights, weight_fields
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


def by_name(spec):
    return {field.name: field for field in weight_fields(spec)}


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


@pytest.mark.parametrize("bits", [None, 16, 8, 3])
def test_numbers_that_do_not_fit_the_declared_shape_are_refused(bits):
    model = network(lambda b: add_inner_product(b, numbers(4, 5)), {"x": (5,)})
    spec = quantized(model, bits, "linear") if bits else model.copy_spec()
    spec.neuralNetwork.layers[0].innerProduct.inputChannels = 50
    with pytest.raises(RequantError, match=r"fc.weights are damaged: .* shape \(4, 50\)"):
        stored_weights(spec)
