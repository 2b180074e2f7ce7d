import io
import wave
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import wavfile

from requant.coreml.description import Feature
from requant.errors import RequantError
from requant.evaluate.data import describe_data, load_data
from requant.evaluate.data.audio import frame_starts
from requant.evaluate.outputs import run_all
from requant.runtime import load

SOUND = Feature("sound", "array", (1, 100, 1))
SIGNAL = np.sin(np.arange(250) * 0.1) * 0.9


def save(path, numbers=SIGNAL, rate=1000):
    path.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(path, rate, np.asarray(numbers))
    return path


def save_pcm(path, numbers, width, rate=1000):
    """Write numbers of -1 to 1 (samples, channels) with Python's own module."""
    top = 2 ** (8 * width - 1)
    whole = np.clip(np.round(numbers * top), -top, top - 1).astype(np.int64)
    data = (whole + 128).astype(np.uint8) if width == 1 else whole.astype("<i8").view(np.uint8)
    with wave.open(str(path), "wb") as stream:
        stream.setnchannels(numbers.shape[1])
        stream.setsampwidth(width)
        stream.setframerate(rate)
        stream.writeframes((data if width == 1 else data.reshape(-1, 8)[:, :width]).tobytes())
    return path


def signal_of(data, hop=100):
    return np.concatenate([data.inputs(index)["sound"].reshape(-1)[:hop] for index in range(len(data.names))])


def test_a_sound_is_cut_into_frames_and_filled_with_zeros(tmp_path):
    data = load_data(save(tmp_path / "tone.wav"), [SOUND])
    assert list(data.names) == ["tone.wav at 0 s", "tone.wav at 0.1 s", "tone.wav at 0.2 s"]
    assert data.inputs(0)["sound"].shape == (1, 100, 1)
    assert data.inputs(0)["sound"].dtype == np.float32
    found = signal_of(data)
    assert np.allclose(found[:250], SIGNAL, atol=1e-7)
    assert not found[250:].any()
    assert not data.targets
    assert not data.synthetic


@given(st.integers(1, 3000), st.integers(1, 400), st.data())
def test_every_number_of_a_sound_is_in_a_frame(count, length, data):
    hop = data.draw(st.integers(1, length))
    starts = frame_starts(count, length, hop)
    assert set(np.unique(np.add.outer(starts, np.arange(length)))) >= set(range(count))
    assert len(starts) == (1 if count <= length else -(-(count - length) // hop) + 1)
    if len(starts) > 1:
        assert starts[-2] + length < count  # the last frame is not there for nothing


@pytest.mark.parametrize(("width", "error"), [(1, 2**-8), (2, 2**-16), (3, 2**-24), (4, 2**-24)])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_all_depths_are_read_and_channels_are_mixed(tmp_path, width, error, channels):
    numbers = np.random.default_rng(width).uniform(-1, 0.99, (250, channels))
    data = load_data(save_pcm(tmp_path / "a.wav", numbers, width), [SOUND])
    assert np.abs(signal_of(data)[:250] - numbers.mean(axis=1)).max() <= error


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_are_read_as_they_are(tmp_path, dtype):
    data = load_data(save(tmp_path / "a.wav", (SIGNAL * 2).astype(dtype)), [SOUND])
    assert np.allclose(signal_of(data)[:250], SIGNAL * 2, atol=1e-6)


def test_frames_overlap_by_the_hop(tmp_path):
    path = save(tmp_path / "a.wav")
    data = load_data({"path": str(path), "hop": 50}, [SOUND])
    assert list(data.names) == [f"a.wav at {time} s" for time in ("0", "0.05", "0.1", "0.15")]
    assert np.allclose(data.inputs(3)["sound"].reshape(-1), SIGNAL[150:250], atol=1e-7)
    with pytest.raises(RequantError, match="hop is 101, but a frame has 100 numbers"):
        load_data({"path": str(path), "hop": 101}, [SOUND])


@pytest.mark.parametrize("rate", [500, 1000, 4410, 8000])
def test_another_rate_is_resampled(tmp_path, rate):
    seconds = np.arange(rate) / rate
    path = save(tmp_path / "a.wav", np.sin(2 * np.pi * 30 * seconds), rate)
    data = load_data({"path": str(path), "sample_rate": 1000}, [SOUND])
    assert len(data.names) == 10
    wanted = np.sin(2 * np.pi * 30 * np.arange(1000) / 1000)
    assert np.abs(signal_of(data) - wanted)[50:-50].max() < 0.01
    assert data.names[3] == "a.wav at 0.3 s"


def test_a_folder_of_sounds_and_folders_by_label(tmp_path):
    save(tmp_path / "b.wav")
    save(tmp_path / "a.wav", SIGNAL[:30])
    data = load_data(tmp_path, [SOUND])
    assert list(data.names) == ["a.wav at 0 s", *(f"b.wav at {time} s" for time in ("0", "0.1", "0.2"))]
    assert describe_data(tmp_path)["description"] == f"the frames of 2 sounds in {tmp_path.as_posix()}"
    labelled = tmp_path / "labelled"
    save(labelled / "yes" / "1.wav")
    save(labelled / "no" / "1.wav", SIGNAL[:30])
    assert list(load_data(labelled, [SOUND]).targets) == ["no", "yes", "yes", "yes"]


def test_some_of_the_frames_are_drawn(tmp_path):
    settings = {"path": str(save(tmp_path / "a.wav", np.zeros(10_000))), "samples": 7, "seed": 2}
    data = load_data(settings, [SOUND])
    assert len(data.names) == 7
    assert describe_data(settings)["description"].startswith("at most 7 frames of ")


def test_sounds_of_several_rates_need_to_know_which_is_wanted(tmp_path):
    save(tmp_path / "a.wav", rate=1000)
    save(tmp_path / "b.wav", rate=2000)
    with pytest.raises(RequantError, match=r"a.wav has 1000 numbers per second, but .*b.wav has 2000. .* sample_rate"):
        load_data(tmp_path, [SOUND])
    assert len(load_data({"path": str(tmp_path), "sample_rate": 1000}, [SOUND]).names) == 5


@pytest.mark.parametrize(
    "features",
    [
        [Feature("x", "array", (2, 100))],
        [Feature("x", "array", (1, 1))],
        [Feature("x", "array", ())],
        [Feature("x", "array", (100,), "int32")],
        [Feature("x", "picture", (1, 100))],
        [SOUND, Feature("y", "number")],
    ],
)
def test_a_model_with_another_input_is_refused(tmp_path, features):
    with pytest.raises(RequantError, match=r"a.wav is for a model with one row of float numbers"):
        load_data(save(tmp_path / "a.wav"), features)


def test_a_file_that_is_no_sound_is_named(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"nothing")
    with pytest.raises(RequantError, match=r"a.wav can't be read as a sound"):
        load_data(path, [SOUND])
    with pytest.raises(RequantError, match=r"a.wav (holds no sound|can't be read as a sound)"):
        load_data(save(path, np.zeros(0, np.int16)), [SOUND])
    stream = io.BytesIO()
    wavfile.write(stream, 1000, SIGNAL)
    path.write_bytes(stream.getvalue()[:30])
    with pytest.raises(RequantError, match=r"a.wav can't be read as a sound"):
        load_data(path, [SOUND])


def test_a_real_model_transcribes_a_made_sound(tmp_path):
    found = find_spec("basic_pitch")
    if found is None:
        pytest.skip("basic_pitch is not installed")
    seconds = np.arange(3 * 44100) / 44100
    save(tmp_path / "a4.wav", np.stack([np.sin(2 * np.pi * 440 * seconds) * 0.5] * 2, axis=1), 44100)
    folder = Path(found.submodule_search_locations[0]) / "saved_models/icassp_2022"
    runner = load(folder / "nmp.mlpackage")
    outputs = run_all(runner, load_data({"path": str(tmp_path / "a4.wav"), "sample_rate": 22050}, runner.inputs))
    assert outputs.names == ["a4.wav at 0 s", "a4.wav at 1.988 s"]
    notes = next(array for array in outputs.arrays.values() if array.shape[-1] == 88)
    loudest = notes.reshape(2, -1, 88)[0].mean(axis=0).argmax()
    assert loudest == 48  # the 49th key of a piano is a'
