import itertools

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import types
from PIL import Image
from scipy import special

from requant.coreml.model import save, unpack_package
from requant.errors import RequantError
from requant.quantize.scheme import Scheme
from requant.quantize.variant import quantize
from requant.runtime import load
from requant.runtime.onnx_runner import OnnxRunner
from tests.building import FLOAT16, IOS15, IOS16, IOS17, numbers, program
from tests.runtime.reference import X, close, convolved, pooled, same_pads

A, B = numbers(2, 3, 4), numbers(2, 3, 4, seed=1)


def run(function, *inputs, **options):
    """Run a program of one function, whose result is called y."""
    model = program(function, *(x.shape for x in inputs), plain=True, **options)
    names = [feature.name for feature in model.spec.description.input]
    (output,) = (feature.name for feature in model.spec.description.output)
    return OnnxRunner(model).predict(dict(zip(names, inputs, strict=True)))[output]


def inferred(function, *inputs):
    """Return what MIL itself computes for constants, None where it does not."""
    found = []

    @mb.program(input_specs=[mb.TensorSpec(shape=(1,))], opset_version=IOS15)
    def _(unused):
        found.append(function(*(mb.const(val=x) for x in inputs)).val)
        return mb.identity(x=unused)

    return found[0]


# Operation, parameters and inputs -> what numpy computes.
ELEMENTWISE = {
    "relu": (lambda x: mb.relu(x=x), [A], lambda x: np.maximum(x, 0)),
    "leaky_relu": (lambda x: mb.leaky_relu(x=x, alpha=0.3), [A], lambda x: np.where(x >= 0, x, 0.3 * x)),
    "sigmoid": (lambda x: mb.sigmoid(x=x), [A], special.expit),
    "tanh": (lambda x: mb.tanh(x=x), [A], np.tanh),
    "clip": (lambda x: mb.clip(x=x, alpha=-0.5, beta=0.7), [A], lambda x: np.clip(x, -0.5, 0.7)),
    "add": (lambda x, y: mb.add(x=x, y=y), [A, B], np.add),
    "add broadcast": (lambda x, y: mb.add(x=x, y=y), [A, B[:1, :, :1]], np.add),
    "add constant": (lambda x: mb.add(x=x, y=2.5), [A], lambda x: x + 2.5),
    "sub": (lambda x, y: mb.sub(x=x, y=y), [A, B], np.subtract),
    "sub constant": (lambda x: mb.sub(x=2.5, y=x), [A], lambda x: 2.5 - x),
    "mul": (lambda x, y: mb.mul(x=x, y=y), [A, B], np.multiply),
    "maximum": (lambda x, y: mb.maximum(x=x, y=y), [A, B], np.maximum),
    "minimum": (lambda x, y: mb.minimum(x=x, y=y), [A, B], np.minimum),
    "cast": (lambda x: mb.cast(x=mb.cast(x=x, dtype="int32"), dtype="fp32"), [4 * A], np.trunc),
    "cast bool": (
        lambda x: mb.cast(x=mb.cast(x=x, dtype="bool"), dtype="fp32"),
        [np.float32([[0, 3, -2]])],
        lambda x: (x != 0).astype(np.float32),
    ),
}
SHAPES = {
    "softmax": (lambda x: mb.softmax(x=x, axis=1), [A], lambda x: special.softmax(x, axis=1)),
    "softmax default": (lambda x: mb.softmax(x=x), [A], lambda x: special.softmax(x, axis=-1)),
    "reduce_mean": (lambda x: mb.reduce_mean(x=x, axes=[0, 2]), [A], lambda x: x.mean((0, 2))),
    "reduce_mean kept": (
        lambda x: mb.reduce_mean(x=x, axes=[-1], keep_dims=True),
        [A],
        lambda x: x.mean(-1, keepdims=True),
    ),
    "reduce_mean all": (lambda x: mb.reduce_mean(x=x, keep_dims=True), [A], lambda x: x.mean(keepdims=True)),
    "reduce_sum": (lambda x: mb.reduce_sum(x=x, axes=[1]), [A], lambda x: x.sum(1)),
    "reduce_sum kept": (
        lambda x: mb.reduce_sum(x=x, axes=[0, 1], keep_dims=True),
        [A],
        lambda x: x.sum((0, 1), keepdims=True),
    ),
    "reshape": (lambda x: mb.reshape(x=x, shape=[4, -1]), [A], lambda x: x.reshape(4, -1)),
    "transpose": (lambda x: mb.transpose(x=x, perm=[2, 0, 1]), [A], lambda x: x.transpose(2, 0, 1)),
    "transpose negative": (lambda x: mb.transpose(x=x, perm=[0, -1, -2]), [A], lambda x: x.transpose(0, 2, 1)),
    "expand_dims": (lambda x: mb.expand_dims(x=x, axes=[0, -1]), [A], lambda x: x[np.newaxis, ..., np.newaxis]),
    "squeeze": (lambda x: mb.squeeze(x=x, axes=[1]), [A[:1, :1]], lambda x: x[:, 0]),
    "squeeze all": (lambda x: mb.squeeze(x=x), [A[:1, :1]], lambda x: x[0, 0]),
    "concat": (lambda x, y: mb.concat(values=[x, y], axis=1), [A, B], lambda x, y: np.concatenate([x, y], 1)),
    "concat negative": (
        lambda x, y: mb.concat(values=[x, y], axis=-1),
        [A, B],
        lambda x, y: np.concatenate([x, y], -1),
    ),
}
MATRIX, VECTOR = numbers(5, 4), numbers(5)
LINEAR = {
    "linear": (lambda x: mb.linear(x=x, weight=MATRIX, bias=VECTOR), [A], lambda x: x @ MATRIX.T + VECTOR),
    "linear plain": (lambda x: mb.linear(x=x, weight=MATRIX), [A], lambda x: x @ MATRIX.T),
    "matmul": (lambda x, y: mb.matmul(x=x, y=y), [A, B.transpose(0, 2, 1)], np.matmul),
    "matmul constant": (lambda x: mb.matmul(x=x, y=MATRIX.T), [A], lambda x: x @ MATRIX.T),
    "matmul left": (lambda x: mb.matmul(x=MATRIX, y=x, transpose_y=True), [A], lambda x: MATRIX @ x.transpose(0, 2, 1)),
    "matmul transposed": (
        lambda x, y: mb.matmul(x=x, y=y, transpose_x=True, transpose_y=True),
        [A, B.transpose(0, 2, 1)],
        lambda x, y: x.transpose(0, 2, 1) @ y.transpose(0, 2, 1),
    ),
}
CASES = ELEMENTWISE | SHAPES | LINEAR


@pytest.mark.parametrize("name", CASES)
def test_operation(name):
    function, inputs, expected = CASES[name]
    wanted = expected(*inputs)
    close(run(function, *inputs), wanted)
    theirs = inferred(function, *inputs)
    if theirs is not None:
        np.testing.assert_allclose(theirs, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2])
def test_concat_interleaved(axis):
    values = [A, B, A + 1]
    found = run(lambda x, y, z: mb.concat(values=[x, y, z], axis=axis, interleave=True), *values)
    for index, value in enumerate(values):
        where = [slice(None)] * 3
        where[axis] = slice(index, None, 3)
        np.testing.assert_array_equal(found[tuple(where)], value)


TESTED_BELOW = {"conv", "max_pool", "avg_pool", "batch_norm"}


PADS = {
    "valid": ({"pad_type": "valid"}, lambda kernel, stride: ((0, 0), (0, 0))),
    "custom": ({"pad_type": "custom", "pad": [1, 2, 0, 1]}, lambda kernel, stride: ((1, 2), (0, 1))),
    "same": ({"pad_type": "same"}, lambda kernel, stride: same_pads((7, 6), kernel, stride)),
    "same_lower": (
        {"pad_type": "same_lower"},
        lambda kernel, stride: same_pads((7, 6), kernel, stride, "TOP_LEFT_HEAVY"),
    ),
}


@pytest.mark.parametrize("pad", PADS)
@pytest.mark.parametrize(("kernel", "stride"), [((3, 2), (1, 1)), ((4, 3), (2, 2)), ((3, 3), (3, 1))])
@pytest.mark.parametrize("bias", [False, True])
def test_conv(pad, kernel, stride, bias):
    weights, b = numbers(5, 4, *kernel), numbers(5) if bias else None
    options = PADS[pad][0] | ({"bias": b} if bias else {})
    found = run(lambda x: mb.conv(x=x, weight=weights, strides=stride, **options), X[np.newaxis], target=IOS16)
    close(found[0], convolved(X, weights, b, stride, PADS[pad][1](kernel, stride)))


@pytest.mark.parametrize("pad", PADS)
@pytest.mark.parametrize("stride", [(1, 1), (2, 2)])
def test_conv_with_dilation(pad, stride):
    weights = numbers(5, 4, 3, 2)
    found = run(
        lambda x: mb.conv(x=x, weight=weights, strides=stride, dilations=[2, 3], **PADS[pad][0]), X[np.newaxis],
        target=IOS16,
    )  # fmt: skip
    pads = PADS[pad][1]((5, 4), stride)  # the kernel's reach
    close(found[0], convolved(X, weights, None, stride, pads, dilation=(2, 3)))


def test_conv_in_groups():
    weights = numbers(8, 2, 3, 3)
    close(run(lambda x: mb.conv(x=x, weight=weights, groups=2), X[np.newaxis])[0], convolved(X, weights, groups=2))


def test_conv_in_one_dimension():
    x, weights = numbers(1, 4, 9), numbers(5, 4, 3)
    expected = convolved(x[0][:, np.newaxis], weights[:, :, np.newaxis], stride=(1, 2))[:, 0]
    close(run(lambda x: mb.conv(x=x, weight=weights, strides=[2]), x)[0], expected)


@pytest.mark.parametrize("pad", PADS)
@pytest.mark.parametrize(("kernel", "stride"), [((3, 2), (1, 1)), ((4, 3), (2, 2))])
def test_max_pool(pad, kernel, stride):
    options = {"kernel_sizes": kernel, "strides": stride, "pad_type": "valid", **PADS[pad][0]}
    found = run(lambda x: mb.max_pool(x=x, **options), X[np.newaxis], target=IOS16)
    close(found[0], pooled(X, kernel, stride, PADS[pad][1](kernel, stride), "MAX"))


@pytest.mark.parametrize("pad", PADS)
@pytest.mark.parametrize(("kernel", "stride"), [((3, 2), (1, 1)), ((4, 4), (2, 2))])
@pytest.mark.parametrize("exclude", [False, True])
def test_avg_pool(pad, kernel, stride, exclude):
    options = {"kernel_sizes": kernel, "strides": stride, **PADS[pad][0], "exclude_padding_from_average": exclude}
    found = run(lambda x: mb.avg_pool(x=x, **options), X[np.newaxis], target=IOS16)
    close(found[0], pooled(X, kernel, stride, PADS[pad][1](kernel, stride), "AVERAGE", exclude))


def test_pooling_up_to_the_last_pixel():
    options = {"kernel_sizes": [2, 3], "strides": [2, 2], "pad_type": "custom", "pad": [0, 0, 0, 0], "ceil_mode": True}
    found = run(lambda x: mb.max_pool(x=x, **options), X[np.newaxis])
    close(found[0], pooled(X, (2, 3), (2, 2), ((0, 1), (0, 1)), "MAX"))


@pytest.mark.parametrize("parts", [(), ("gamma",), ("beta",), ("gamma", "beta")])
@pytest.mark.parametrize("shape", [(2, 4, 5), (2, 4, 5, 3)])
def test_batch_norm(parts, shape):
    x, mean, variance = numbers(*shape), numbers(4), np.abs(numbers(4, seed=1))
    options = {name: numbers(4, seed=2 + i) for i, name in enumerate(parts)}
    found = run(lambda x: mb.batch_norm(x=x, mean=mean, variance=variance, epsilon=0.01, **options), x)
    c = (slice(None), *[np.newaxis] * (len(shape) - 2))
    expected = (x - mean[c]) / np.sqrt(variance[c] + 0.01)
    close(found, expected * options.get("gamma", np.ones(4))[c] + options.get("beta", np.zeros(4))[c])


# Whole programs


def reference(x, *, half=False):
    """Compute `some_weights` without its transposed convolution with numpy."""
    kind = np.float16 if half else np.float32
    w1, b1, w2, b2 = (v.astype(kind).astype(np.float64) for v in (*first_weights(), *second_weights()))
    x = np.maximum(convolved(x[0].astype(kind), w1, b1, pads=((1, 1), (1, 1))), 0)
    return (w2 @ x.reshape(-1) + b2)[np.newaxis]


def first_weights():
    return numbers(8, 4, 3, 3), numbers(8)


def second_weights():
    return numbers(10, 8 * 7 * 6, scale=0.1), numbers(10)


def small_program(precision=ct.precision.FLOAT32, **options):
    def function(x):
        weights, bias = first_weights()
        x = mb.relu(x=mb.conv(x=x, weight=weights, bias=bias, pad_type="same"))
        weights, bias = second_weights()
        return mb.linear(x=mb.reshape(x=x, shape=(1, -1)), weight=weights, bias=bias, name="y")

    return program(function, (1, 4, 7, 6), precision=precision, **options)


@pytest.mark.parametrize("half", [False, True])
def test_a_program_computes_in_float32_what_it_declares_as_float16(half):
    model = small_program(FLOAT16) if half else small_program()
    found = OnnxRunner(model).predict({"x": X[np.newaxis]})["y"]
    np.testing.assert_allclose(found, reference(X[np.newaxis], half=half), rtol=1e-3, atol=2e-3 if half else 1e-4)


def test_float16_inputs_and_outputs():
    weights = numbers(5, 4).astype(np.float16)
    model = program(
        lambda x: mb.linear(x=x, weight=weights, name="y"), mb.TensorSpec((2, 4), types.fp16), target=IOS16, plain=True
    )
    x = numbers(2, 4)
    found = OnnxRunner(model).predict({"x": x})["y"]
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, x.astype(np.float16).astype(np.float32) @ weights.T, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("scheme", ["linear_16", "linear_8", "linear_4", "kmeans_6", "kmeans_3", "linear_lut_8"])
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_variant_runs_as_if_its_weights_were_written_out(scheme, precision, tmp_path):
    half = precision == "float16"
    model = small_program(FLOAT16) if half else small_program()
    variant = quantize(model, Scheme.parse(scheme))
    unpack_package(variant, tmp_path / "v.mlpackage")
    mlmodel = ct.models.MLModel(str(tmp_path / "v.mlpackage"), skip_model_load=True)
    ct.optimize.coreml.decompress_weights(mlmodel).save(str(tmp_path / "plain.mlpackage"))
    save(variant, tmp_path / "v.mlpackage.zip")
    outputs = [
        load(tmp_path / name, engine="onnxruntime").predict({"x": X[np.newaxis]})["y"]
        for name in ("v.mlpackage.zip", "v.mlpackage", "plain.mlpackage")
    ]
    for first, second in itertools.pairwise(outputs):
        np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-5)
    original = OnnxRunner(model).predict({"x": X[np.newaxis]})["y"]
    assert np.abs(outputs[0] - original).max() < np.abs(original).max()


@pytest.mark.parametrize("labels", [["cat", "dog", "bird"], [5, 6, 7]])
def test_a_classifier_gives_a_label_and_probabilities(labels):
    model = program(
        lambda x: mb.softmax(x=mb.linear(x=x, weight=MATRIX[:3]), axis=-1, name="p"), (1, 4),
        classifier_config=ct.ClassifierConfig(labels),
    )  # fmt: skip
    x = numbers(1, 4)
    found = OnnxRunner(model).predict({"x": x})
    expected = special.softmax(MATRIX[:3] @ x[0])
    assert set(found) == {"classLabel", "classLabel_probs"}
    assert found["classLabel"] == labels[int(expected.argmax())]
    assert list(found["classLabel_probs"]) == labels
    np.testing.assert_allclose(list(found["classLabel_probs"].values()), expected, atol=1e-6)


@pytest.mark.parametrize("layout", [ct.colorlayout.RGB, ct.colorlayout.BGR, ct.colorlayout.GRAYSCALE])
def test_pictures_in_and_out(layout):
    grey = layout == ct.colorlayout.GRAYSCALE
    shape = (1, 1 if grey else 3, 6, 5)
    model = program(
        lambda x: mb.add(x=mb.mul(x=x, y=3.0), y=-300.0, name="y"), shape,
        inputs=[ct.ImageType("x", shape, color_layout=layout)],
    )  # fmt: skip
    image = model.spec.description.output[0].type.imageType
    image.CopyFrom(model.spec.description.input[0].type.imageType)
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    found = np.asarray(OnnxRunner(model).predict({"x": pixels})["y"])
    source = np.asarray(Image.fromarray(pixels).convert("L")) if grey else pixels
    np.testing.assert_array_equal(found, np.clip(3.0 * source - 300, 0, 255))


def test_the_scale_of_a_picture_is_applied():
    shape = (1, 3, 6, 5)
    picture = ct.ImageType("x", shape, scale=0.5, bias=[1, 2, 3])
    model = program(lambda x: mb.relu(x=x, name="y"), shape, inputs=[picture])
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    found = OnnxRunner(model).predict({"x": pixels})["y"]
    close(found[0], pixels.transpose(2, 0, 1) * 0.5 + np.array([1, 2, 3])[:, None, None])


def test_several_inputs_and_outputs():
    model = program(lambda x, z: (mb.add(x=x, y=z, name="a"), mb.sub(x=x, y=z, name="s")), A.shape, A.shape)
    found = OnnxRunner(model).predict({"z": B, "x": A})
    close(found["a"], A + B)
    close(found["s"], A - B)


def test_integers_keep_their_type():
    model = program(lambda x: mb.add(x=x, y=np.int32(3), name="y"), mb.TensorSpec((2, 3), types.int32), plain=True)
    found = OnnxRunner(model).predict({"x": np.arange(6).reshape(2, 3)})["y"]
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, np.arange(6).reshape(2, 3) + 3)


def test_a_result_without_axes_comes_out_with_one():
    found = run(lambda x: mb.reduce_sum(x=x, axes=[0, 1], keep_dims=False), np.float32([[1, 2], [3, 4]]))
    np.testing.assert_array_equal(found, np.float32([10]), strict=True)


@pytest.mark.parametrize("dtype", ["int16", "uint16", "int8", "uint8"])
def test_narrow_integers_are_cast(dtype):
    x = np.float32([[0, 7.9, 100.2]])
    found = run(lambda x: mb.cast(x=mb.cast(x=x, dtype=dtype), dtype="fp32"), x, target=IOS17)
    np.testing.assert_array_equal(found, [[0, 7, 100]])


def test_an_operation_without_translation_is_refused_by_name_and_type():
    model = program(lambda x: mb.relu(x=x, name="odd"), A.shape, plain=True)
    spec = model.copy_spec()
    (function,) = spec.mlProgram.functions.values()
    function.block_specializations[function.opset].operations[-1].type = "no_such_operation"
    with pytest.raises(RequantError, match="the operation 'odd' of type no_such_operation has no translation"):
        OnnxRunner(type(model)(spec, model.files, model.path))


def test_a_parameter_that_is_not_known_is_refused_by_name():
    model = program(lambda x: mb.relu(x=x, name="y"), A.shape, plain=True)
    spec = model.copy_spec()
    (function,) = spec.mlProgram.functions.values()
    operation = function.block_specializations[function.opset].operations[-1]
    operation.inputs["leak"].CopyFrom(operation.inputs["x"])
    with pytest.raises(
        RequantError,
        match="the operation 'y' of type relu can't be run: it has the parameter leak, which requant can't",
    ):
        OnnxRunner(type(model)(spec, model.files, model.path))


def test_a_program_without_a_main_function_is_refused():
    model = program(lambda x: mb.relu(x=x), A.shape)
    spec = model.copy_spec()
    spec.mlProgram.functions["other"].CopyFrom(spec.mlProgram.functions["main"])
    del spec.mlProgram.functions["main"]
    with pytest.raises(RequantError, match="has no function main"):
        OnnxRunner(type(model)(spec, model.files, model.path))


def test_wrong_inputs_are_named(some_weights):
    runner = OnnxRunner(small_program())
    with pytest.raises(RequantError, match=r"no input 'y'. Its inputs are x"):
        runner.predict({"y": X})
    with pytest.raises(RequantError, match="'x' is missing"):
        runner.predict({})
    with pytest.raises(
        RequantError, match=r"'x' is an array of shape \(1, 4, 7, 6\), but got one of shape \(4, 7, 6\)"
    ):
        runner.predict({"x": X})
