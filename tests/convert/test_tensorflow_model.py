"""TensorFlow originals, held against TensorFlow's own outputs. The models are tiny and have random weights."""

import dataclasses
import hashlib
import importlib
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

if find_spec("tensorflow") is None:
    pytest.skip("TensorFlow is not installed", allow_module_level=True)

from PIL import Image

from requant.convert import tensorflow_model
from requant.convert.settings import ConversionSettings
from requant.convert.source import resolve_inputs
from requant.coreml.model import to_bytes
from requant.errors import RequantError
from requant.runtime import open_model

tf = tensorflow_model._tensorflow(Path("tests"))
keras = importlib.import_module("keras")
L = keras.layers
FLOAT32 = {"compute_precision": "float32"}
NETWORK = {"convert_to": "neuralnetwork"}


def snr(reference, other):
    noise = np.square(reference.astype(np.float64) - other).sum()
    return 10 * np.log10(np.square(reference.astype(np.float64)).sum() / max(noise, 1e-30))


def functional(shape, build, **kwargs):
    given = keras.Input(shape, **kwargs)
    return keras.Model(given, build(given))


def scrambled(model, seed=1):
    """Return a model with weights that tell: batch normalization and biases too."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        shape, name = variable.shape, variable.name
        if "seed" in name or not shape:
            continue
        if name in ("moving_variance", "gamma"):
            value = rng.uniform(0.5, 1.5, shape)
        else:
            value = rng.normal(size=shape) / np.sqrt(max(1, np.prod(shape[:-1])))
        variable.assign(value.astype(str(variable.dtype)))
    return model


def saved(model, folder, suffix=".keras", name="model"):
    path = folder / f"{name}{suffix}"
    scrambled(model)
    model.export(str(path), verbose=False) if suffix == ".savedmodel" else model.save(path)
    return path


def example(source, settings, seed=0):
    rng = np.random.default_rng(seed)
    settings = dataclasses.replace(settings, inputs=tuple(each for each in settings.inputs if each.value is None))
    return [
        rng.integers(0, 6, each.default_shape).astype(each.source.dtype)
        if "int" in each.source.dtype
        else rng.normal(size=each.default_shape).astype(each.source.dtype)
        for each in resolve_inputs(source.inputs, settings)
    ]


def compare(path, table, least_snr=100.0, arrays=None):
    """Convert and run both; return the runner."""
    settings = ConversionSettings.of(table)
    source, runner = (
        tensorflow_model.open_source(path, settings),
        open_model(tensorflow_model.convert(path, settings)),
    )
    for inputs in arrays or [example(source, settings)]:
        wanted = source.run(inputs)
        found = runner.predict({f.name: array for f, array in zip(runner.inputs, inputs, strict=True)})
        assert len(runner.outputs) == len(wanted)
        for output, array in zip(runner.outputs, wanted, strict=True):
            assert found[output.name].shape == array.shape
            assert snr(array, found[output.name]) > least_snr, output.name
    return runner


def block(x):
    x = L.DepthwiseConv2D(3, strides=2, padding="same", use_bias=False)(x)
    x = L.BatchNormalization()(L.Conv2D(6, 1)(x))
    x = L.Conv2D(4, 3, groups=2, padding="same", activation="gelu")(L.ReLU(6)(x))
    return L.Dense(3, activation="softmax")(L.GlobalAveragePooling2D()(x))


LAYERS = {
    "convolutions": ((9, 9, 3), block),
    "transposed": ((5, 5, 3), L.Conv2DTranspose(4, 3, strides=2, padding="same")),
    "causal": ((7, 3), L.Conv1D(4, 3, padding="causal")),
    "resizing": ((6, 6, 3), lambda x: L.UpSampling2D(interpolation="bilinear")(L.Resizing(9, 4)(x))),
    "normalizations": ((5, 6), lambda x: L.RMSNormalization()(L.LayerNormalization()(x))),
    "attention": ((5, 6), lambda x: L.MultiHeadAttention(2, 4)(x, x)),
    "lstm": ((5, 3), L.LSTM(4)),
    "both ways": ((5, 3), L.Bidirectional(L.LSTM(4, return_sequences=True))),
    "gru": ((5, 3), L.GRU(4, return_sequences=True)),
    "older gru": ((5, 3), L.GRU(4, reset_after=False)),
    "rnn": ((5, 3), L.SimpleRNN(4)),
    "masked": ((5, 3), lambda x: L.LSTM(4)(L.Masking()(x))),
    "celu": ((4,), lambda x: L.Activation("celu")(L.Dense(3)(x))),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_program_computes_what_keras_computes(name, tmp_path):
    compare(saved(functional(*LAYERS[name]), tmp_path), FLOAT32)


@pytest.mark.parametrize("name", ["convolutions", "attention", "lstm", "both ways"])
def test_a_network_computes_what_keras_computes(name, tmp_path):
    compare(saved(functional(*LAYERS[name]), tmp_path), NETWORK)


def test_float16_weights_leave_the_noise_that_they_have_to(tmp_path):
    compare(saved(functional(*LAYERS["convolutions"]), tmp_path), {}, least_snr=50)


def test_an_lstm_is_one_operation(tmp_path):
    model = tensorflow_model.convert(saved(functional(*LAYERS["lstm"]), tmp_path), ConversionSettings())
    main = model.spec.mlProgram.functions["main"]
    types = [operation.type for operation in main.block_specializations[main.opset].operations]
    assert types.count("lstm") == 1
    assert "while_loop" not in types


def test_integers_are_taken_as_integers(tmp_path):
    path = saved(functional((5,), lambda x: L.GRU(3)(L.Embedding(7, 4)(x)), dtype="int32"), tmp_path)
    assert compare(path, FLOAT32).inputs[0].dtype == "int32"


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".savedmodel"])
def test_every_form_of_the_same_model(suffix, tmp_path):
    layers = [keras.Input((6, 6, 3)), L.Conv2D(4, 3, activation="relu"), L.Flatten(), L.Dense(3)]
    compare(saved(keras.Sequential(layers), tmp_path, suffix), FLOAT32)


@pytest.mark.parametrize("suffix", [".keras", ".savedmodel"])
def test_several_inputs_and_outputs_in_any_structure(suffix, tmp_path):
    a, b = keras.Input((4,), name="first"), keras.Input((3,), name="second")
    outputs = {"z": L.Dense(2, name="one")(a), "c": L.Dense(3, name="two")(L.Concatenate()([b, a]))}
    runner = compare(saved(keras.Model({"b": b, "a": a}, outputs), tmp_path, suffix), FLOAT32)
    names = [output.name for output in runner.outputs]
    assert names == (["two", "one"] if suffix == ".keras" else ["c", "z"])


def test_many_outputs_keep_their_order(tmp_path):
    path = saved(functional((4,), lambda x: [L.Dense(i + 1, name=f"out{i}")(x) for i in range(12)]), tmp_path)
    assert [output.shape[-1] for output in compare(path, FLOAT32).outputs] == list(range(1, 13))


def test_names_are_those_of_the_layers_or_of_the_configuration(tmp_path):
    model = functional((4,), lambda x: L.Dense(2, name="scores-1")(L.Dense(3, name="hidden")(x)), name="numbers")
    path = saved(model, tmp_path)
    runner = compare(path, FLOAT32)
    assert [runner.inputs[0].name, runner.outputs[0].name] == ["numbers", "scores_1"]
    chosen = {"inputs": [{"name": "x", "source": "numbers"}], "outputs": [{"name": "hidden"}]}
    runner = compare(path, FLOAT32 | chosen)
    assert [runner.inputs[0].name, runner.outputs[0].name] == ["x", "hidden"]


def test_an_output_that_is_an_input(tmp_path):
    runner = compare(saved(functional((4,), lambda x: [x, L.Dense(2)(x)], name="numbers"), tmp_path), FLOAT32)
    assert runner.outputs[0].name == "numbers_1"


def test_a_constant_takes_the_place_of_an_input(tmp_path):
    a, b = keras.Input((4,), name="a"), keras.Input((1,), name="strength")
    path = saved(keras.Model([a, b], L.Dense(2)(a) * b), tmp_path)
    runner = compare(path, FLOAT32 | {"inputs": [{"name": "strength", "value": [[3.0]]}]})
    assert [each.name for each in runner.inputs] == ["a"]


def convolutional(folder):
    return saved(functional((None, None, 3), lambda x: L.MaxPooling2D()(L.Conv2D(2, 3, padding="same")(x))), folder)


def pictures(*sizes):
    rng = np.random.default_rng(2)
    return [[rng.normal(size=(1, *size, 3)).astype(np.float32)] for size in sizes]


def test_a_range_of_sizes(tmp_path):
    size = {"min": 4, "max": 20, "default": 8}
    table = FLOAT32 | {"inputs": [{"name": "x", "shape": [1, size, size, 3]}]}
    runner = compare(convolutional(tmp_path), table, arrays=pictures((8, 8), (4, 20), (13, 7)))
    assert runner.inputs[0].bounds == ((1, 1), (4, 20), (4, 20), (3, 3))


@pytest.mark.parametrize("kind", [FLOAT32, NETWORK])
def test_sizes_one_by_one(kind, tmp_path):
    table = kind | {"inputs": [{"name": "x", "shapes": [[1, 8, 8, 3], [1, 12, 6, 3]]}]}
    runner = compare(convolutional(tmp_path), table, arrays=pictures((8, 8), (12, 6)))
    assert set(runner.inputs[0].sizes) == {(1, 8, 8, 3), (1, 12, 6, 3)}


def test_an_lstm_over_sequences_of_any_length(tmp_path):
    path = saved(functional((None, 3), L.LSTM(4, return_sequences=True)), tmp_path)
    table = FLOAT32 | {"inputs": [{"name": "x", "shape": [1, {"min": 1, "max": 30, "default": 5}, 3]}]}
    rng = np.random.default_rng(3)
    compare(path, table, arrays=[[rng.normal(size=(1, n, 3)).astype(np.float32)] for n in (5, 1, 30)])


def test_other_recurrent_layers_need_one_length(tmp_path):
    path = saved(functional((None, 3), L.GRU(4)), tmp_path)
    settings = ConversionSettings.of({"inputs": [{"name": "x", "shape": [1, {"min": 2, "max": 9}, 3]}]})
    with pytest.raises(RequantError, match="with a size left open"):
        tensorflow_model.convert(path, settings)


@pytest.mark.parametrize("layout", ["RGB", "BGR"])
@pytest.mark.parametrize("kind", [FLOAT32, NETWORK])
def test_a_picture_is_scaled_and_ordered_as_configured(layout, kind, tmp_path):
    path = saved(functional((8, 10, 3), L.Conv2D(2, 3)), tmp_path)
    bias = [-1.0, -0.9, -0.8]
    entry = {"name": "image", "color_layout": layout, "scale": 1 / 127.5, "bias": bias}
    settings = ConversionSettings.of(kind | {"inputs": [entry]})
    pixels = np.random.default_rng(0).integers(0, 256, (8, 10, 3)).astype(np.uint8)
    ordered = pixels if layout == "RGB" else pixels[:, :, ::-1]
    array = (ordered / 127.5 + bias).astype(np.float32)[None]
    wanted = tensorflow_model.open_source(path, settings).run([array])[0]
    runner = open_model(tensorflow_model.convert(path, settings))
    found = runner.predict({"image": Image.fromarray(pixels)})[runner.outputs[0].name]
    assert snr(wanted, found) > 80


def test_a_picture_comes_out(tmp_path):
    path = saved(functional((8, 6, 3), lambda x: 128 + 40 * L.Conv2D(3, 3, padding="same")(x)), tmp_path)
    settings = ConversionSettings.of(FLOAT32 | {"outputs": [{"name": "out", "color_layout": "RGB"}]})
    source, runner = (
        tensorflow_model.open_source(path, settings),
        open_model(tensorflow_model.convert(path, settings)),
    )
    array = np.random.default_rng(0).normal(size=(1, 8, 6, 3)).astype(np.float32)
    found = np.asarray(runner.predict({runner.inputs[0].name: array})["out"], np.float32)
    assert np.abs(found - np.clip(source.run([array])[0][0], 0, 255)).max() <= 1


def test_class_labels_make_a_classifier(tmp_path):
    path = saved(functional((4,), L.Dense(3, activation="softmax")), tmp_path)
    settings = ConversionSettings.of(FLOAT32 | {"class_labels": ["a", "b", "c"]})
    array = np.array([[1.0, -2, 0.5, 3]], np.float32)
    wanted = tensorflow_model.open_source(path, settings).run([array])[0][0]
    runner = open_model(tensorflow_model.convert(path, settings))
    found = runner.predict({runner.inputs[0].name: array})
    assert found["classLabel"] == "abc"[wanted.argmax()]
    scores = next(value for value in found.values() if isinstance(value, dict))
    np.testing.assert_allclose([scores[key] for key in "abc"], wanted, atol=1e-6)


class Module(tf.Module):
    def __init__(self):
        super().__init__()
        self.weight = tf.Variable(np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def double(self, x):
        return {"y": tf.matmul(x, self.weight), "norm": tf.norm(x, axis=1)}

    @tf.function(input_signature=[tf.TensorSpec([1, 4], tf.float32, name="x")])
    def grow(self, x):
        """Stop at its limit of three rounds, long before its condition fails."""
        return tf.while_loop(lambda v: tf.reduce_sum(v) < 1e6, lambda v: (v * 2 + 1,), [x], maximum_iterations=3)[0]


def module(folder, signatures):
    made, path = Module(), folder / "model.savedmodel"
    functions = {key: getattr(made, name) for key, name in signatures.items()}
    tf.saved_model.save(made, str(path), signatures=functions)
    return path


def test_a_module_of_tensorflow(tmp_path):
    runner = compare(module(tmp_path, {"serving_default": "double", "other": "grow"}), FLOAT32)
    assert [output.name for output in runner.outputs] == ["norm", "y"]


def test_a_loop_ends_at_its_limit(tmp_path):
    compare(module(tmp_path, {"serving_default": "grow"}), FLOAT32, arrays=[[np.ones((1, 4), np.float32)]])


def test_signatures_of_which_none_is_the_default_are_named(tmp_path):
    path = module(tmp_path, {"one": "double", "two": "grow"})
    with pytest.raises(RequantError, match=r"which of its functions is the model: it has one, two"):
        tensorflow_model.open_source(path, ConversionSettings())


CONVERT = """
import hashlib, sys
from pathlib import Path
from requant.convert import tensorflow_model
from requant.convert.settings import ConversionSettings
from requant.coreml.model import to_bytes
print(hashlib.sha256(to_bytes(tensorflow_model.convert(Path(sys.argv[1]), ConversionSettings()), "m")).hexdigest())
"""


def test_two_processes_give_equal_bytes(tmp_path):
    loops = functional((4, 3), lambda x: [L.GRU(3)(x), L.Bidirectional(L.GRU(2))(x), L.LSTM(2)(x)])
    path = saved(loops, tmp_path)
    other = subprocess.run(
        [sys.executable, "-c", CONVERT, path], env=os.environ | {"PYTHONHASHSEED": "5"}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    here = to_bytes(tensorflow_model.convert(path, ConversionSettings()), "m")
    assert hashlib.sha256(here).hexdigest() == other.stdout.strip()


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_code_in_a_file_is_not_run(suffix, tmp_path):
    path = tmp_path / f"model{suffix}"
    functional((4,), L.Lambda(lambda v: v * 2)).save(path)
    with pytest.raises(RequantError, match=r"holds code \(a Lambda layer"):
        tensorflow_model.open_source(path, ConversionSettings())


@keras.saving.register_keras_serializable(package="tests")
class Own(L.Layer):
    def call(self, x):
        return x * 2


def test_a_class_that_keras_does_not_know_is_named(tmp_path):
    path = tmp_path / "model.keras"
    functional((4,), Own()).save(path)
    known = dict(keras.saving.get_custom_objects())
    keras.saving.get_custom_objects().clear()
    try:
        with pytest.raises(RequantError, match=r"uses a class of its own.*Own"):
            tensorflow_model.open_source(path, ConversionSettings())
    finally:
        keras.saving.get_custom_objects().update(known)


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".hdf5"])
@pytest.mark.parametrize("kept", [0, 0.7])
def test_a_damaged_file_is_named(suffix, kept, tmp_path):
    whole = saved(functional((4,), L.Dense(64)), tmp_path, suffix, name="whole").read_bytes()
    path = tmp_path / f"model{suffix}"
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(RequantError, match="is not a model that Keras can read"):
        tensorflow_model.open_source(path, ConversionSettings())


def test_a_folder_that_is_no_saved_model_is_named(tmp_path):
    with pytest.raises(RequantError, match=r"there is no saved_model\.pb"):
        tensorflow_model.open_source(tmp_path, ConversionSettings())
    (tmp_path / "saved_model.pb").write_bytes(b"not a protobuf")
    with pytest.raises(RequantError, match="is not a SavedModel that TensorFlow can read"):
        tensorflow_model.open_source(tmp_path, ConversionSettings())


def test_a_loop_is_no_part_of_a_network(tmp_path):
    with pytest.raises(RequantError, match="can't become a NeuralNetwork"):
        tensorflow_model.convert(saved(functional(*LAYERS["gru"]), tmp_path), ConversionSettings.of(NETWORK))


def test_a_state_is_refused(tmp_path):
    given = keras.Input(batch_shape=(1, 5, 3))
    path = saved(keras.Model(given, L.LSTM(4, stateful=True)(given)), tmp_path)
    with pytest.raises(RequantError, match=r"keeps a state from one call to the next \(stateful=True\)"):
        tensorflow_model.open_source(path, ConversionSettings())


def test_text_is_refused(tmp_path):
    layer = L.TextVectorization(output_sequence_length=4)
    layer.adapt(["one two three"])
    path = tmp_path / "model.keras"
    functional((1,), lambda x: L.Embedding(10, 3)(layer(x)), dtype="string", name="sentence").save(path)
    with pytest.raises(RequantError, match=r"takes text \(sentence\)"):
        tensorflow_model.convert(path, ConversionSettings())


def test_a_name_that_an_operation_has_in_another_case(tmp_path):
    model = functional((4,), lambda x: L.Activation("relu", name="matmul")(L.Dense(2, name="equal")(x)), name="biasadd")
    assert compare(saved(model, tmp_path), FLOAT32).outputs[0].name == "matmul"


def test_an_operation_without_a_translation_is_named_with_its_layer(tmp_path):
    path = saved(functional((4,), L.Discretization([0.0, 1.0], name="bins")), tmp_path)
    with pytest.raises(RequantError, match=r"operation Bucketize, which 'bins"):
        tensorflow_model.convert(path, ConversionSettings())


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"inputs": [{"name": "a"}, {"name": "b"}]}, "the source has no input 'b'; it has numbers"),
        ({"inputs": [{"name": "numbers", "shape": [1, 5]}]}, r"does not take inputs of the shapes \(1, 5\)"),
        ({"outputs": [{"name": "a"}, {"name": "b"}]}, "names 2 outputs, but .* has 1: scores"),
        ({"outputs": [{"name": "my scores"}]}, "'my scores' can't be the name of an input or output"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(table, message, tmp_path):
    path = saved(functional((4,), L.Dense(2, name="scores"), name="numbers"), tmp_path)
    with pytest.raises(RequantError, match=message):
        tensorflow_model.convert(path, ConversionSettings.of(table))


def test_inputs_of_another_shape_are_refused(tmp_path):
    path = saved(functional((4,), L.Dense(2), name="numbers"), tmp_path)
    source = tensorflow_model.open_source(path, ConversionSettings())
    with pytest.raises(RequantError, match=r"does not take these inputs \(numbers \(1, 5\)\)"):
        source.run([np.zeros((1, 5), np.float32)])


def test_a_real_model_converts_as_its_makers_converted_it(tmp_path):
    found = find_spec("basic_pitch")
    if found is None:
        pytest.skip("basic_pitch is not installed")
    folder = Path(found.submodule_search_locations[0]) / "saved_models/icassp_2022"
    path = tmp_path / "nmp.savedmodel"
    path.symlink_to(folder / "nmp")
    sound = np.random.default_rng(0).normal(size=(1, 43844, 1)).astype(np.float32) * 0.1
    runner = compare(path, FLOAT32, least_snr=90, arrays=[[sound]])
    assert [output.name for output in runner.outputs] == ["contour", "note", "onset"]
