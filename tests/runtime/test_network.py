import coremltools as ct
import numpy as np
import pytest
from PIL import Image
from scipy import special

from requant.coreml.model import save
from requant.errors import RequantError
from requant.quantize.scheme import Scheme
from requant.quantize.variant import quantize
from requant.runtime import load
from requant.runtime.layers import LAYERS
from requant.runtime.onnx_runner import OnnxRunner
from tests.building import add_convolution, add_inner_product, network, numbers
from tests.runtime.reference import X, close, convolved, deconvolved, pooled, same_pads


def run(layers, x=X, exact=False, **options):
    model = network(layers, {"x": x.shape}, exact=exact, **options)
    return OnnxRunner(model).predict({"x": x})["y"]


# Convolutions


@pytest.mark.parametrize("stride", [(1, 1), (2, 1), (2, 3)])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 1)])
@pytest.mark.parametrize("bias", [False, True])
def test_convolution_valid(stride, dilation, bias):
    weights, b = numbers(5, 4, 3, 2), numbers(5) if bias else None
    found = run(lambda n: add_convolution(n, weights, b, stride=stride, dilation_factors=list(dilation)))
    close(found, convolved(X, weights, b, stride, dilation=dilation))


def test_convolution_valid_with_a_border():
    weights = numbers(5, 4, 3, 2)
    found = run(lambda n: add_convolution(n, weights, padding_top=1, padding_bottom=2, padding_left=3, padding_right=0))
    close(found, convolved(X, weights, pads=((1, 2), (3, 0))))


@pytest.mark.parametrize("mode", ["BOTTOM_RIGHT_HEAVY", "TOP_LEFT_HEAVY"])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (3, 1)])
@pytest.mark.parametrize("kernel", [(3, 2), (4, 4), (1, 1)])
def test_convolution_same(kernel, stride, mode):
    weights = numbers(5, 4, *kernel)
    found = run(lambda n: add_convolution(n, weights, border="same", stride=stride, same_padding_asymmetry_mode=mode))
    close(found, convolved(X, weights, None, stride, same_pads(X.shape[1:], kernel, stride, mode)))


@pytest.mark.parametrize("mode", ["BOTTOM_RIGHT_HEAVY", "TOP_LEFT_HEAVY"])
def test_convolution_same_with_dilation(mode):
    weights = numbers(5, 4, 3, 2)
    found = run(
        lambda n: add_convolution(n, weights, border="same", dilation_factors=[2, 3], same_padding_asymmetry_mode=mode)
    )
    pads = same_pads(X.shape[1:], (5, 4), (1, 1), mode)  # the kernel's reach
    close(found, convolved(X, weights, pads=pads, dilation=(2, 3)))


@pytest.mark.parametrize("groups", [2, 4])
def test_convolution_in_groups(groups):
    weights, bias = numbers(8, 4 // groups, 3, 3), numbers(8)
    found = run(lambda n: add_convolution(n, weights, bias, groups=groups))
    close(found, convolved(X, weights, bias, groups=groups))


def test_a_convolution_without_attributes_has_the_defaults_of_the_format():
    weights = numbers(5, 4, 3, 3)
    model = network(lambda n: add_convolution(n, weights), {"x": X.shape})
    params = model.spec.neuralNetwork.layers[0].convolution
    for field in ("kernelSize", "stride", "dilationFactor", "nGroups"):
        params.ClearField(field)
    params.valid.ClearField("paddingAmounts")
    close(OnnxRunner(model).predict({"x": X})["y"], convolved(X, weights))


@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (3, 2)])
@pytest.mark.parametrize("groups", [1, 2])
def test_deconvolution_valid(stride, groups):
    weights, bias = numbers(4, 3, 3, 2), numbers(3 * groups)
    found = run(lambda n: add_convolution(n, weights, bias, deconvolution=True, stride=stride, groups=groups))
    close(found, deconvolved(X, weights, bias, stride, groups=groups))


def test_deconvolution_valid_crops_the_border():
    weights = numbers(4, 3, 4, 4)
    found = run(
        lambda n: add_convolution(
            n, weights, deconvolution=True, stride=(2, 2),
            padding_top=1, padding_bottom=2, padding_left=0, padding_right=3,
        )
    )  # fmt: skip
    close(found, deconvolved(X, weights, stride=(2, 2), crop=((1, 2), (0, 3))))


@pytest.mark.parametrize("mode", ["BOTTOM_RIGHT_HEAVY", "TOP_LEFT_HEAVY"])
@pytest.mark.parametrize("kernel", [(4, 4), (3, 5), (2, 2)])
def test_deconvolution_same_multiplies_the_size(kernel, mode):
    weights = numbers(4, 3, *kernel)
    found = run(
        lambda n: add_convolution(
            n, weights, deconvolution=True, stride=(2, 2), border="same", same_padding_asymmetry_mode=mode
        )
    )
    crop = same_pads((14, 12), kernel, (2, 2), mode)  # it is the gradient of the convolution of that padding
    close(found, deconvolved(X, weights, stride=(2, 2), crop=crop))
    assert found.shape == (3, 14, 12)


def test_deconvolution_with_dilation():
    weights, spread = numbers(4, 3, 3, 3), np.zeros((4, 3, 5, 5), np.float32)
    spread[:, :, ::2, ::2] = weights
    found = run(lambda n: add_convolution(n, weights, deconvolution=True, dilation_factors=[2, 2]))
    close(found, deconvolved(X, spread))


@pytest.mark.parametrize("border", ["same", "valid"])
@pytest.mark.parametrize(("size", "crop"), [((14, 12), ((1, 1), (1, 1))), ((15, 14), ((0, 1), (0, 0)))])
def test_deconvolution_of_a_given_size_takes_any_padding(border, size, crop):
    weights = numbers(4, 3, 4, 4)
    found = run(
        lambda n: add_convolution(n, weights, border=border, deconvolution=True, stride=(2, 2), output_shape=size)
    )
    close(found, deconvolved(X, weights, stride=(2, 2), crop=crop))


def test_convolution_of_an_array_of_four_axes():
    weights = numbers(5, 4, 3, 2)
    found = run(lambda n: add_convolution(n, weights), X[np.newaxis], exact=True)
    close(found, convolved(X, weights)[np.newaxis])


FOUR_AXES = {
    "convolution": lambda n: add_convolution(n, numbers(5, 4, 3, 3), name="l"),
    "pooling": lambda n: n.add_pooling("l", 2, 2, 1, 1, "MAX", "VALID", "x", "y"),
    "batchnorm": lambda n: n.add_batchnorm("l", 4, *[abs(numbers(4))] * 4, "x", "y"),
    "padding": lambda n: n.add_padding("l", 1, 1, 1, 1, 0, "x", "y"),
    "upsample": lambda n: n.add_upsample("l", 2, 2, "x", "y"),
}


# Activations


ACTIVATIONS = {
    "RELU": (None, lambda x: np.maximum(x, 0)),
    "LEAKYRELU": ([0.2], lambda x: np.where(x >= 0, x, 0.2 * x)),
    "TANH": (None, np.tanh),
    "SCALED_TANH": ([1.7, 0.6], lambda x: 1.7 * np.tanh(0.6 * x)),
    "SIGMOID": (None, special.expit),
    "SIGMOID_HARD": ([0.3, 0.4], lambda x: np.clip(0.3 * x + 0.4, 0, 1)),
    "LINEAR": ([0.3, -0.4], lambda x: 0.3 * x - 0.4),
    "ELU": (0.7, lambda x: np.where(x >= 0, x, 0.7 * np.expm1(x))),
    "THRESHOLDEDRELU": (0.5, lambda x: np.where(x >= 0.5, x, 0)),
    "SOFTSIGN": (None, lambda x: x / (1 + np.abs(x))),
    "SOFTPLUS": (None, lambda x: np.log1p(np.exp(x))),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("exact", [False, True])
def test_activation(name, exact):
    params, function = ACTIVATIONS[name]
    x = X.copy()
    x[0, 0] = [0, 0.5, -0.5, 1, -1, 3]
    close(run(lambda n: n.add_activation("a", name, "x", "y", params), x, exact=exact), function(x.astype(np.float64)))


@pytest.mark.parametrize("count", [1, 4])
def test_activation_with_a_slope_per_channel_or_one_for_all(count):
    alpha = np.abs(numbers(count))
    found = run(lambda n: n.add_activation("a", "PRELU", "x", "y", alpha))
    close(found, np.where(X >= 0, X, alpha[:, None, None] * X))


def test_softmax_is_over_channels():
    close(run(lambda n: n.add_softmax("s", "x", "y")), special.softmax(X, axis=0))


# Pooling


@pytest.mark.parametrize("kind", ["MAX", "AVERAGE"])
@pytest.mark.parametrize("exclude", [False, True])
@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
def test_pooling_valid_with_a_border(kind, exclude, stride):
    found = run(
        lambda n: n.add_pooling(
            "p", 3, 2, *stride, kind, "VALID", "x", "y", exclude,
            padding_top=1, padding_bottom=2, padding_left=1, padding_right=0,
        )
    )  # fmt: skip
    close(found, pooled(X, (3, 2), stride, ((1, 2), (1, 0)), kind, exclude))


@pytest.mark.parametrize("kind", ["MAX", "AVERAGE"])
@pytest.mark.parametrize("exclude", [False, True])
@pytest.mark.parametrize("mode", ["BOTTOM_RIGHT_HEAVY", "TOP_LEFT_HEAVY"])
def test_pooling_same(kind, exclude, mode):
    found = run(
        lambda n: n.add_pooling("p", 4, 3, 2, 2, kind, "SAME", "x", "y", exclude, same_padding_asymmetry_mode=mode)
    )
    close(found, pooled(X, (4, 3), (2, 2), same_pads((7, 6), (4, 3), (2, 2), mode), kind, exclude))


@pytest.mark.parametrize("kind", ["MAX", "AVERAGE"])
@pytest.mark.parametrize(
    ("kernel", "stride", "pad"), [((3, 3), (2, 2), (0, 0)), ((3, 3), (2, 2), (1, 1)), ((2, 2), (2, 3), (1, 0))]
)
def test_pooling_with_the_last_pixel(kind, kernel, stride, pad):
    found = run(
        lambda n: n.add_pooling(
            "p", *kernel, *stride, kind, "INCLUDE_LAST_PIXEL", "x", "y", padding_top=pad[0], padding_left=pad[1],
            padding_bottom=pad[0], padding_right=pad[1],
        )
    )  # fmt: skip
    pads = []
    for n, k, s, p in zip((7, 6), kernel, stride, pad, strict=True):  # as PoolingLayerParams has it
        count = -(-(n + 2 * p - k) // s) + 1
        if any(pad) and (count - 1) * s >= n + p:
            count -= 1
        pads.append((p, max(0, (count - 1) * s + k - n - p)))
    assert found.shape[1:] == tuple(
        (n + sum(q) - k) // s + 1 for n, q, k, s in zip((7, 6), pads, kernel, stride, strict=True)
    )
    close(found, pooled(X, kernel, stride, pads, kind, exclude=True))


@pytest.mark.parametrize(("kind", "function"), [("MAX", np.max), ("AVERAGE", np.mean)])
def test_pooling_over_the_whole_picture(kind, function):
    found = run(lambda n: n.add_pooling("p", 1, 1, 1, 1, kind, "VALID", "x", "y", is_global=True))
    close(found, function(X, axis=(1, 2), keepdims=True))


# Normalizations


@pytest.mark.parametrize("epsilon", [1e-5, 0.1])
def test_batch_normalization(epsilon):
    gamma, beta, mean, variance = numbers(4), numbers(4, seed=1), numbers(4, seed=2), np.abs(numbers(4, seed=3))
    found = run(lambda n: n.add_batchnorm("b", 4, gamma, beta, mean, variance, "x", "y", epsilon=epsilon))
    g, b, m, v = (values[:, None, None].astype(np.float64) for values in (gamma, beta, mean, variance))
    close(found, g * (X - m) / np.sqrt(v + epsilon) + b)


def test_batch_normalization_without_an_epsilon_has_the_default_of_the_format():
    ones = np.ones(4, np.float32)
    model = network(lambda n: n.add_batchnorm("b", 4, ones, ones, ones, 1e-6 * ones, "x", "y"), {"x": X.shape})
    model.spec.neuralNetwork.layers[0].batchnorm.ClearField("epsilon")
    close(OnnxRunner(model).predict({"x": X})["y"], (X - 1) / np.sqrt(1e-6 + 1e-5) + 1)


@pytest.mark.parametrize("epsilon", [1e-5, 0.1])
def test_instance_normalization(epsilon):
    gamma, beta = numbers(4), numbers(4, seed=1)
    found = run(
        lambda n: n.add_batchnorm(
            "b", 4, gamma, beta, input_name="x", output_name="y", compute_mean_var=True, instance_normalization=True,
            epsilon=epsilon,
        )
    )  # fmt: skip
    x = X.astype(np.float64)
    scaled = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + epsilon)
    close(found, gamma[:, None, None] * scaled + beta[:, None, None])


def test_instance_normalization_needs_that_the_mean_is_computed():
    # The format says that mean and variance are taken from the input only where computeMeanVar is set.
    values = [numbers(4), numbers(4, seed=1), numbers(4, seed=2), np.abs(numbers(4, seed=3))]
    plain = run(lambda n: n.add_batchnorm("b", 4, *values, "x", "y"))
    model = network(lambda n: n.add_batchnorm("b", 4, *values, "x", "y"), {"x": X.shape})
    model.spec.neuralNetwork.layers[0].batchnorm.instanceNormalization = True
    close(OnnxRunner(model).predict({"x": X})["y"], plain)


# Shapes


@pytest.mark.parametrize(
    ("kind", "mode"), [("constant", "constant"), ("reflection", "reflect"), ("replication", "edge")]
)
def test_padding(kind, mode):
    found = run(lambda n: n.add_padding("p", 1, 2, 3, 0, -1.5, "x", "y", kind))
    options = {"constant_values": -1.5} if mode == "constant" else {}
    close(found, np.pad(X, ((0, 0), (3, 0), (1, 2)), mode, **options))


@pytest.mark.parametrize("factors", [(2, 2), (3, 1)])
def test_upsampling_repeats_pixels(factors):
    found = run(lambda n: n.add_upsample("u", *factors, "x", "y"))
    close(found, X.repeat(factors[0], 1).repeat(factors[1], 2))


def test_flattening_in_both_orders():
    close(run(lambda n: n.add_flatten("f", 0, "x", "y")), X.reshape(-1, 1, 1))
    close(run(lambda n: n.add_flatten("f", 1, "x", "y")), X.transpose(1, 2, 0).reshape(-1, 1, 1))


@pytest.mark.parametrize("shape", [(4, 3, 2), (1, 4, 3, 2), (2, 4, 3, 2)])
def test_flattening_keeps_the_axes_before_the_channels(shape):
    x = numbers(*shape)
    close(run(lambda n: n.add_flatten("f", 0, "x", "y"), x, exact=True), x.reshape(*shape[:-3], -1, 1, 1))
    turned = np.moveaxis(x, -3, -1).reshape(*shape[:-3], -1, 1, 1)
    close(run(lambda n: n.add_flatten("f", 1, "x", "y"), x, exact=True), turned)


# Products and sums


@pytest.mark.parametrize("bias", [False, True])
def test_inner_product(bias):
    weights, b = numbers(5, X.size), numbers(5) if bias else None
    found = run(lambda n: add_inner_product(n, weights, b))
    close(found, (weights @ X.reshape(-1) + (b if bias else 0)).reshape(5, 1, 1), 1e-4)


@pytest.mark.parametrize("shape", [(9,), (3, 9), (2, 3, 9)])
def test_inner_product_over_the_last_axis(shape):
    x, weights, bias = numbers(*shape), numbers(5, 9), numbers(5)
    found = run(lambda n: add_inner_product(n, weights, bias), x, exact=True)
    close(found, x @ weights.T + bias)


@pytest.mark.parametrize("shape", [(2, 3, 2, 5), (1, 1, 1, 30)])
def test_inner_product_of_four_axes_is_over_the_last_three(shape):
    x, weights, bias = numbers(*shape), numbers(5, 30), numbers(5)
    found = run(lambda n: add_inner_product(n, weights, bias), x, exact=True)
    close(found, (x.reshape(-1, 30) @ weights.T + bias).reshape(-1, 5, 1, 1))


SHAPES = [(1,), (4,), (1, 7, 6), (4, 7, 6)]


def spread(values, shape):
    return values.reshape(shape if len(shape) == 3 else (-1, 1, 1))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bias", SHAPES)
def test_scale_of_every_shape_of_the_format(shape, bias):
    scale, offset = numbers(*shape), numbers(*bias, seed=1)
    found = run(lambda n: n.add_scale("s", scale, offset, True, "x", "y", list(shape), list(bias)))
    close(found, X * spread(scale, shape) + spread(offset, bias))


@pytest.mark.parametrize("shape", SHAPES)
def test_bias_of_every_shape_of_the_format(shape):
    values = numbers(*shape)
    close(run(lambda n: n.add_bias("b", values, "x", "y", list(shape))), X + spread(values, shape))


@pytest.mark.parametrize(("mode", "function"), [("ADD", np.add), ("MULTIPLY", np.multiply)])
def test_two_tensors_and_a_number_are_combined(mode, function):
    other = numbers(4, 1, 1)
    model = network(lambda n: n.add_elementwise("e", ["x", "z", "x"], "y", mode), {"x": X.shape, "z": other.shape})
    close(OnnxRunner(model).predict({"x": X, "z": other})["y"], function(function(X, other), X))
    close(run(lambda n: n.add_elementwise("e", ["x"], "y", mode, alpha=0.7)), function(X, np.float32(0.7)))


def test_channels_are_concatenated():
    other = numbers(2, 7, 6)
    model = network(lambda n: n.add_elementwise("e", ["x", "z"], "y", "CONCAT"), {"x": X.shape, "z": other.shape})
    close(OnnxRunner(model).predict({"x": X, "z": other})["y"], np.concatenate([X, other]))


@pytest.mark.parametrize(
    ("declared", "given", "wanted"),
    [
        ((4, 7, 6), (4, 7, 6), (4, 7, 6)),
        ((4, 7, 6), (3, 4, 7, 6), (1, 3, 4, 7, 6)),
        ((4, 7, 6), (2, 3, 4, 7, 6), (2, 3, 4, 7, 6)),
        ((4,), (2, 3, 4), (2, 3, 4, 1, 1)),
    ],
)
def test_sequences_and_batches_pass_through_a_network_that_does_not_look_at_them(declared, given, wanted):
    model = network(lambda n: n.add_activation("a", "LINEAR", "x", "y", [2, 0]), {"x": declared})
    x = numbers(*given)
    close(OnnxRunner(model).predict({"x": x})["y"], (2 * x).reshape(wanted))


# Pictures


PICTURE = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)


def picture_network(colour, layers=None, **preprocessing):
    model = network(
        layers or (lambda n: n.add_activation("a", "LINEAR", "x", "y", [1, 0])),
        {"x": (1 if colour == "GRAYSCALE" else 3, 6, 5)},
    )
    image = model.spec.description.input[0].type.imageType
    image.height, image.width = 6, 5
    image.colorSpace = image.ColorSpace.Value(colour)
    if preprocessing:
        step = model.spec.neuralNetwork.preprocessing.add(featureName="x")
        for name, value in preprocessing.items():
            setattr(step.scaler, name, value)
    return model


BIASES = {"redBias": 1.0, "greenBias": 20.0, "blueBias": -3.0, "grayBias": 7.0}


@pytest.mark.parametrize("colour", ["RGB", "BGR", "GRAYSCALE"])
def test_pictures_are_scaled_and_shifted(colour):
    model = picture_network(colour, channelScale=0.5, **BIASES)
    found = OnnxRunner(model).predict({"x": PICTURE})["y"]
    red, green, blue = PICTURE.transpose(2, 0, 1) * 0.5 + np.array([1, 20, -3])[:, None, None]
    grey = np.asarray(Image.fromarray(PICTURE).convert("L")) * 0.5 + 7
    close(found, {"RGB": [red, green, blue], "BGR": [blue, green, red], "GRAYSCALE": [grey]}[colour])


def test_a_picture_without_preprocessing_is_0_to_255():
    close(OnnxRunner(picture_network("RGB")).predict({"x": PICTURE})["y"], PICTURE.transpose(2, 0, 1))


@pytest.mark.parametrize("name", ["x", ""])
def test_the_mean_image_is_subtracted(name):
    mean = numbers(3, 6, 5)
    model = picture_network("RGB")
    step = model.spec.neuralNetwork.preprocessing.add(featureName=name)
    step.meanImage.meanImage.extend(mean.reshape(-1).tolist())
    close(OnnxRunner(model).predict({"x": PICTURE})["y"], PICTURE.transpose(2, 0, 1) - mean)


def test_preprocessing_is_for_the_input_that_it_names():
    def layers(n):
        n.add_elementwise("e", ["x", "z"], "y", "ADD")

    model = network(layers, {"x": (3, 6, 5), "z": (3, 6, 5)})
    for feature in model.spec.description.input:
        image = feature.type.imageType
        image.height, image.width, image.colorSpace = 6, 5, image.ColorSpace.Value("RGB")
    model.spec.neuralNetwork.preprocessing.add(featureName="z").scaler.channelScale = 2
    close(OnnxRunner(model).predict({"x": PICTURE, "z": PICTURE})["y"], 3.0 * PICTURE.transpose(2, 0, 1))


@pytest.mark.parametrize("colour", ["RGB", "BGR"])
def test_a_picture_that_comes_out_saturates(colour):
    model = picture_network(colour, lambda n: n.add_activation("a", "LINEAR", "x", "y", [3, -300]))
    image = model.spec.description.output[0].type.imageType
    image.height, image.width, image.colorSpace = 6, 5, image.ColorSpace.Value(colour)
    found = OnnxRunner(model).predict({"x": PICTURE})["y"]
    expected = np.clip(3.0 * PICTURE - 300, 0, 255)
    np.testing.assert_array_equal(np.asarray(found), expected)
    assert {0, 255} <= set(np.asarray(found).reshape(-1).tolist())


# Classifiers


@pytest.mark.parametrize("labels", [["cat", "dog", "bird"], [10, 20, 30]])
@pytest.mark.parametrize("named", [True, False])
def test_a_classifier_gives_a_label_and_probabilities(labels, named):
    def layers(n):
        add_inner_product(n, numbers(3, X.size), result="scores")
        n.add_softmax("s", "scores", "probabilities")
        n.set_class_labels(labels, "label", "probabilities" if named else "")

    model = network(layers, {"x": X.shape}, ("probabilities",), mode="classifier")
    if not named:
        model.spec.neuralNetworkClassifier.labelProbabilityLayerName = ""
    found = OnnxRunner(model).predict({"x": X})
    expected = special.softmax(numbers(3, X.size) @ X.reshape(-1))
    assert set(found) == {"label", "probabilities"}
    assert found["label"] == labels[int(expected.argmax())]
    assert list(found["probabilities"]) == labels
    np.testing.assert_allclose(list(found["probabilities"].values()), expected, atol=1e-5)


# What is in and around a network


def test_several_layers_and_several_outputs():
    weights = numbers(5, 4, 3, 3)

    def layers(n):
        add_convolution(n, weights, result="z")
        n.add_activation("a", "RELU", "z", "y")

    model = network(layers, {"x": X.shape}, ("y", "z"))
    found = OnnxRunner(model).predict({"x": X})
    close(found["z"], convolved(X, weights))
    close(found["y"], np.maximum(found["z"], 0))


@pytest.mark.parametrize(("scheme", "tolerance"), [("linear_16", 0.01), ("linear_8", 0.1), ("kmeans_8", 0.1)])
def test_a_variant_runs_from_its_file(scheme, tolerance, tmp_path):
    def layers(n):
        add_convolution(n, numbers(8, 4, 3, 3), numbers(8), result="z")
        add_inner_product(n, numbers(5, 8 * 5 * 4, scale=0.1), numbers(5), source="z")

    model = network(layers, {"x": X.shape})
    save(quantize(model, Scheme.parse(scheme)), tmp_path / "v.mlmodel")
    found = load(tmp_path / "v.mlmodel", engine="onnxruntime").predict({"x": X})["y"]
    wanted = OnnxRunner(model).predict({"x": X})["y"]
    assert 0 < np.abs(found - wanted).max() < tolerance


def test_a_network_gives_the_same_numbers_every_time():
    model = network(lambda n: add_convolution(n, numbers(8, 4, 3, 3)), {"x": X.shape})
    first, second = (OnnxRunner(model).predict({"x": X})["y"] for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_a_custom_layer_is_refused_by_name():
    def add_custom(network):
        network.add_activation("odd", "RELU", "x", "y")
        network.nn_spec.layers[-1].custom.className = "MyLayer"

    message = "net.mlmodel: the layer 'odd' of type custom can't be run: its class 'MyLayer' is the app's own"
    with pytest.raises(RequantError, match=message):
        run(add_custom)


def test_a_tensor_that_no_layer_makes_is_named():
    with pytest.raises(
        RequantError,
        match="the layer 'a' of type activation can't be run: it reads 'nothing', which no layer before it makes",
    ):
        run(lambda n: n.add_activation("a", "RELU", "nothing", "y"))


def test_wrong_inputs_are_named():
    runner = OnnxRunner(network(lambda n: n.add_activation("a", "RELU", "x", "y"), {"x": X.shape}))
    with pytest.raises(RequantError, match="no input 'z'"):
        runner.predict({"z": X})
    with pytest.raises(RequantError, match="'x' is missing"):
        runner.predict({})
    with pytest.raises(RequantError, match=r"'x' is an array of shape \(4, 7, 6\)"):
        runner.predict({"x": X[:2]})


def test_every_translated_layer_is_one_of_the_format():
    names = ct.proto.NeuralNetwork_pb2.NeuralNetworkLayer.DESCRIPTOR.oneofs_by_name["layer"].fields
    assert set(LAYERS) <= {field.name for field in names}


def test_apples_framework_is_refused_elsewhere(tmp_path, monkeypatch):
    save(network(lambda n: n.add_activation("a", "RELU", "x", "y")), tmp_path / "n.mlmodel")
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(RequantError, match="runs on macOS only; use the engine onnxruntime"):
        load(tmp_path / "n.mlmodel", engine="apple")
