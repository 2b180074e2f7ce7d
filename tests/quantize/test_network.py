import operator

import coremltools as ct
import numpy as np
import pytest
from coremltools.models.neural_network import quantization_utils

from requant.coreml.audit import signal_to_noise
from requant.coreml.inventory import stored_weights
from requant.coreml.network import decode, network_of, weight_fields
from requant.coreml.packing import unpack
from requant.errors import RequantError
from requant.quantize.linear import quantize_linear
from requant.quantize.lookup import evenly_spaced
from requant.quantize.scheme import Scheme
from requant.quantize.selection import Choice, Rule, Selection
from requant.quantize.variant import quantize, quantize_with_choices
from requant.runtime import open_model
from tests.building import add_convolution, add_inner_product, network, numbers, weight_messages
from tests.coreml.joining import nested

BITS = (8, 7, 6, 5, 4, 3, 2, 1)
MODES = [*((mode, bits) for mode in ("linear", "linear_lut", "kmeans") for bits in BITS), ("linear_symmetric", 8)]


def by_coremltools(model, mode, bits):
    mlmodel = ct.models.MLModel(model.spec, skip_model_load=True)
    return quantization_utils.quantize_weights(mlmodel, bits, mode).get_spec()


def variant(model, mode, bits):
    return quantize(model, Scheme.of(mode, bits)).spec


def codes_of(message, count):
    return unpack(message.rawValue, count, message.quantization.numberOfBits, "most significant first")


@pytest.mark.parametrize(("mode", "bits"), [mode for mode in MODES if mode[0] != "kmeans"])
def test_codes_scales_and_tables_are_those_of_coremltools(all_weights, mode, bits):
    expected = weight_messages(by_coremltools(all_weights, mode, bits))
    found = weight_messages(variant(all_weights, mode, bits))
    counts = {name: len(message.floatValue) for name, message in weight_messages(all_weights.spec).items()}
    differences = []
    for name, ours in found.items():
        theirs = expected[name]
        codes = [codes_of(message, counts[name]).astype(int) for message in (ours, theirs)]
        differences.append(np.abs(codes[0] - codes[1]))
        assert ours.quantization.numberOfBits == theirs.quantization.numberOfBits == bits
        for part in ("linearQuantization.scale", "linearQuantization.bias", "lookupTableQuantization.floatValue"):
            pair = [np.array(operator.attrgetter(part)(m.quantization)) for m in (ours, theirs)]
            np.testing.assert_allclose(*pair, rtol=1e-6, atol=1e-6, err_msg=name)
    # With newer protobufs, coremltools computes in float32, we in float64: a number within the rounding of a border
    # between two codes can fall to the other side of it.
    together = np.concatenate(differences)
    assert together.max() <= 1
    assert (together > 0).sum() <= together.size / 1000


def test_float16_is_that_of_coremltools(all_weights):
    expected = by_coremltools(all_weights, "linear", 16)
    found = variant(all_weights, "linear", 16)
    alpha = {layer.name: layer for layer in found.neuralNetwork.layers}["prelu"].activation.PReLU.alpha
    assert len(alpha.float16Value) == 2 * 4  # coremltools leaves the parameters of activations in float32
    original = {layer.name: layer for layer in expected.neuralNetwork.layers}["prelu"].activation.PReLU.alpha
    alpha.CopyFrom(original)
    found.description.metadata.ClearField("shortDescription")
    assert found.neuralNetwork == expected.neuralNetwork


@pytest.mark.parametrize(("mode", "bits"), MODES)
def test_coremltools_decodes_every_variant_to_the_same_numbers(all_weights, mode, bits):
    spec = variant(all_weights, mode, bits)
    ours = {field.name: decode(field).reshape(-1) for field in weight_fields(spec)}
    mlmodel = ct.models.MLModel(spec, skip_model_load=True)
    decoded = quantization_utils.quantize_weights(mlmodel, None, "dequantization").get_spec()
    for name, message in weight_messages(decoded).items():
        expected = np.array(message.floatValue)
        assert len(expected) == ours[name].size
        np.testing.assert_allclose(ours[name], expected, rtol=0, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(("mode", "bits"), MODES)
def test_what_is_not_quantized_is_untouched(all_weights, mode, bits):
    spec = variant(all_weights, mode, bits)
    for message in [*weight_messages(spec).values(), *weight_messages(before := all_weights.copy_spec()).values()]:
        message.Clear()
    assert spec.neuralNetwork == before.neuralNetwork


@pytest.mark.parametrize("bits", BITS)
def test_core_ml_takes_the_number_of_scales(all_weights, bits):
    # QuantizationValidationUtils.cpp, hasValidQuantizationParams: one, or one per output channel
    channels = {"conv": 6, "deconv": 6, "fc": 7, "embedding": 5, "embedding_nd": 5, "matmul": 6}
    channels |= {"constant": 1, "constant_nd": 1}
    for name, message in weight_messages(variant(all_weights, "linear", bits)).items():
        expected = channels.get(name.partition(".")[0], 6)
        assert len(message.quantization.linearQuantization.scale) == expected, name
        assert len(message.quantization.linearQuantization.bias) == expected, name


@pytest.mark.parametrize("mode", ["linear", "kmeans"])
def test_a_grouped_deconvolution_is_stored_as_core_ml_takes_it(mode):
    weights = numbers(4, 3, 3, 3)
    model = network(lambda b: add_convolution(b, weights, deconvolution=True, groups=2))
    (field,) = weight_fields(variant(model, mode, 8))
    assert len(field.params.quantization.linearQuantization.scale) == (1 if mode == "linear" else 0)
    np.testing.assert_allclose(decode(field), weights, atol=0.02)


def test_a_grouped_convolution_has_a_scale_per_output_channel():
    weights = numbers(6, 2, 3, 3)
    model = network(lambda b: add_convolution(b, weights, groups=3), {"x": (6, 5, 5)})
    (field,) = weight_fields(variant(model, "linear", 8))
    assert len(field.params.quantization.linearQuantization.scale) == 6


@pytest.mark.parametrize("mode", ["linear", "kmeans"])
def test_constants_have_one_scale_and_shrink(mode):
    model = network(lambda b: b.add_load_constant_nd("constant", "y", numbers(50, 40), [50, 40]), exact=True)
    spec = variant(model, mode, 4)
    assert len(spec.SerializeToString()) < len(model.spec.SerializeToString()) / 6


def test_a_3d_convolution_stays_float_below_16_bits():
    def layers(b):
        b.add_convolution3d("conv", 2, 4, 3, 3, 3, numbers(4, 2, 3, 3, 3), None, False, input_name="x", output_name="z")
        add_inner_product(b, numbers(3, 4), source="z")

    model = network(layers)
    conv = variant(model, "linear", 8).neuralNetwork.layers[0].convolution3d
    assert conv.weights == model.spec.neuralNetwork.layers[0].convolution3d.weights
    assert variant(model, "linear", 16).neuralNetwork.layers[0].convolution3d.weights.float16Value


@pytest.mark.parametrize("bits", [16, 8])
def test_a_custom_layer_keeps_its_weights(bits):
    def layers(b):
        proto = ct.proto.NeuralNetwork_pb2.CustomLayerParams(className="Mine")
        proto.weights.add().floatValue.extend([0.1, 0.2])
        b.add_custom("custom", ["x"], ["z"], proto)
        add_inner_product(b, numbers(3, 4), source="z")

    model = network(layers)
    found = variant(model, "linear", bits).neuralNetwork.layers
    assert found[0].custom == model.spec.neuralNetwork.layers[0].custom
    assert not found[1].innerProduct.weights.floatValue


def test_a_layer_beyond_the_range_of_float16_stays_float32():
    large = numbers(4, 5)
    large[1, 2] = 7e4

    def layers(b):
        add_inner_product(b, large, numbers(4), "large", "x", "z")
        add_inner_product(b, numbers(3, 4), numbers(3), "small", "z")

    found = variant(network(layers, {"x": (5,)}), "linear", 16).neuralNetwork.layers
    np.testing.assert_array_equal(np.float32(found[0].innerProduct.weights.floatValue), large.reshape(-1))
    # Core ML refuses a layer whose weights are of one precision and whose bias is of another.
    assert len(found[0].innerProduct.bias.floatValue) == 4
    assert found[1].innerProduct.weights.float16Value
    assert found[1].innerProduct.bias.float16Value


def test_the_greatest_float16_still_is_one():
    model = network(lambda b: add_inner_product(b, np.full((2, 3), -65504, np.float32)), {"x": (3,)})
    found = variant(model, "kmeans", 16).neuralNetwork.layers[0].innerProduct.weights
    np.testing.assert_array_equal(np.frombuffer(found.float16Value, np.float16), [-65504] * 6)


@pytest.mark.parametrize(("mode", "bits"), [("linear", 16), ("linear", 8), ("kmeans", 4)])
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(mode, bits, number):
    weights = numbers(4, 5)
    weights[2, 2] = number
    model = network(lambda b: add_inner_product(b, weights, name="first"), {"x": (5,)})
    with pytest.raises(RequantError, match=r"net.mlmodel: the weights first.weights hold numbers that are not finite"):
        variant(model, mode, bits)


@pytest.mark.parametrize("bits", [16, 8])
def test_an_updatable_network_is_refused(bits):
    model = network(lambda b: add_inner_product(b, numbers(4, 5)), {"x": (5,)})
    model.spec.isUpdatable = True
    with pytest.raises(RequantError, match=r"net.mlmodel can.t be quantized: it is updatable"):
        variant(model, "linear", bits)


@pytest.mark.parametrize(("bits", "before", "after"), [(16, 1, 2), (8, 1, 3), (1, 2, 3), (16, 4, 4), (8, 5, 5)])
def test_the_version_is_raised_as_needed_and_only_then(bits, before, after):
    model = network(lambda b: add_inner_product(b, numbers(4, 5)), {"x": (5,)})
    model.spec.specificationVersion = before
    assert variant(model, "linear", bits).specificationVersion == after


@pytest.mark.parametrize("kind", ["neuralNetworkClassifier", "neuralNetworkRegressor"])
def test_classifiers_and_regressors_are_quantized_too(kind):
    mode = kind.removeprefix("neuralNetwork").lower()
    model = network(lambda b: add_inner_product(b, numbers(4, 5)), {"x": (5,)}, mode=mode)
    spec = variant(model, "linear_lut", 2)
    assert spec.WhichOneof("Type") == kind
    message = network_of(spec).layers[0].innerProduct.weights
    expected = evenly_spaced(2, numbers(4, 5))
    np.testing.assert_array_equal(codes_of(message, 20), expected.indices.reshape(-1))


def test_branches_and_loops_are_quantized_too():
    def layers(b):
        loop = b.add_loop("loop", max_iterations=3).loop
        inner = ct.models.neural_network.NeuralNetworkBuilder(nn_spec=loop.bodyNetwork)
        add_inner_product(inner, numbers(4, 5), name="inner")

    spec = variant(network(layers), "linear", 8)
    assert spec.neuralNetwork.layers[0].loop.bodyNetwork.layers[0].innerProduct.weights.rawValue


def test_every_network_of_a_pipeline_is_quantized():
    pipeline = nested()
    found, choices = quantize_with_choices(pipeline, Scheme.of("linear", 4))
    taken = {name for name, choice in choices.items() if choice.scheme}
    assert taken == {"net/fc.weights", "inner/first/fc.weights", "inner/second/fc.weights"}
    assert {weight.form for weight in stored_weights(found) if weight.name in taken} == {"linear"}
    inner = found.spec.pipeline.models[2].pipeline.models[0]
    assert inner.specificationVersion == 3
    assert found.spec.specificationVersion == max(stage.specificationVersion for stage in found.spec.pipeline.models)
    inputs = {"x": numbers(3)}
    expected, outputs = (open_model(each).predict(inputs)["y"] for each in (pipeline, found))
    assert 5 < signal_to_noise(expected, outputs) < 60


def test_an_updatable_network_in_a_pipeline_is_named():
    pipeline = nested()
    pipeline.spec.pipeline.models[1].isUpdatable = True
    with pytest.raises(RequantError, match="its model net is updatable"):
        quantize(pipeline, Scheme.of("linear", 8))


def test_rules_choose_among_the_weights_of_a_network():
    def layers(b):
        add_inner_product(b, numbers(30, 50), numbers(30), "first", "x", "z")
        add_inner_product(b, numbers(20, 30), numbers(20), "second", "z", "v")
        add_inner_product(b, numbers(10, 20), name="third", source="v")

    model = network(layers, {"x": (50,)})
    small = Rule("float16", fewer_than=1000, schemes=("kmeans*",))
    rules = (Rule("untouched", name="third"), small, Rule("6", name="first"))
    found, choices = quantize_with_choices(model, Scheme.of("kmeans", 4), selection=Selection(rules))
    forms = {weight.name: (weight.form, weight.bits) for weight in stored_weights(found)}
    assert forms == {
        "first.weights": ("lookup table", 6), "first.bias": ("float32", 32), "second.weights": ("float16", 16),
        "second.bias": ("float16", 16), "third.weights": ("float32", 32),
    }  # fmt: skip
    assert choices["third.weights"] == Choice(None, "rule 1 of tensors: untouched")
    assert choices["second.bias"].reason == "its layer is in float16"
    assert found.spec.specificationVersion == 3
    found, _ = quantize_with_choices(model, Scheme.of("linear", 16), selection=Selection(rules[:1]))
    assert {w.name: w.form for w in stored_weights(found)}["third.weights"] == "float32"
    assert {w.name: w.form for w in stored_weights(found)}["second.bias"] == "float16"


def test_weights_beyond_float16_are_named_or_refused():
    large = numbers(4, 5)
    large[1, 1] = 1e6
    model = network(lambda b: add_inner_product(b, large, numbers(4), "large"), {"x": (5,)})
    with pytest.raises(RequantError, match=r"large.weights: .*holds numbers up to 1e\+06, beyond float16"):
        quantize(model, Scheme.of("linear", 16))
    refuse = Selection(beyond_float16="refuse")
    with pytest.raises(RequantError, match=r"large.weights holds numbers up to 1e\+06.*Set beyond_float16 to float32"):
        quantize(model, Scheme.of("linear", 16), selection=refuse)
    assert quantize(model, Scheme.of("linear", 8), selection=refuse)


def test_layer_normalization_stays_float32_at_16_bits():
    def layers(b):
        add_inner_product(b, numbers(6, 5), numbers(6), "fc", "x", "z")
        b.add_layer_normalization("norm", "z", "y", (6,), numbers(6), numbers(6))

    model = network(layers, {"x": (5,)}, exact=True)
    found, choices = quantize_with_choices(model, Scheme.of("linear", 16))
    forms = {weight.name: weight.form for weight in stored_weights(found)}
    assert (forms["fc.weights"], forms["norm.gamma"], forms["norm.beta"]) == ("float16", "float32", "float32")
    assert choices["norm.gamma"].reason == "Core ML takes it as float32 only"


def test_distinct_numbers_of_a_network_take_as_few_bits_as_hold_them():
    values = numbers(5)[np.random.default_rng(0).integers(0, 5, (30, 40))]
    model = network(lambda b: add_inner_product(b, values, name="fc"), {"x": (40,)})
    found = quantize(model, Scheme.of("unique", 8))
    (weight,) = stored_weights(found)
    assert (weight.form, weight.bits) == ("lookup table", 3)
    np.testing.assert_array_equal(weight.values, values)


def test_one_scale_for_a_tensor():
    model = network(lambda b: add_inner_product(b, numbers(30, 40), name="fc"), {"x": (40,)})
    (weight,) = stored_weights(quantize(model, Scheme.parse("linear_5_tensor")))
    expected = quantize_linear(numbers(30, 40).reshape(1, -1), 5)
    np.testing.assert_allclose(
        weight.values.reshape(-1), expected.codes[0] * expected.scale[0] + expected.bias[0], rtol=1e-6, atol=1e-6
    )
