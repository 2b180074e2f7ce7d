import gzip
import struct

import numpy as np
import pytest

from requant.coreml.description import Feature
from requant.errors import RequantError
from requant.evaluate.data import data_files, describe_data, load_data
from requant.evaluate.outputs import run_all
from requant.runtime import load

PICTURE = Feature("image", "picture", (6, 4), colour="GRAYSCALE")
CODES = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 6, 4), np.uint8)


def save(path, array, code=None):
    header = struct.pack(f">HBB{array.ndim}I", 0, code or CODES[array.dtype.name], array.ndim, *array.shape)
    data = header + array.astype(array.dtype.newbyteorder(">")).tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_pictures_come_with_their_labels(tmp_path, suffix):
    settings = {
        "images": save(tmp_path / f"images{suffix}", PIXELS),
        "labels": save(tmp_path / f"labels{suffix}", np.array([3, 1, 4, 1, 5], np.uint8)),
    }
    data = load_data(settings, [PICTURE])
    assert list(data.names) == list("01234")
    assert list(data.targets) == list("31415")
    assert np.array_equal(np.asarray(data.inputs(2)["image"]), PIXELS[2])
    assert [file.name for file in data_files(settings)] == [f"images{suffix}", f"labels{suffix}"]
    record = describe_data({**settings, "samples": 2})
    assert record["description"] == f"2 of the 5 samples in {settings['images']}, drawn by seed 1"
    assert record["path"] == settings["images"]
    assert len(record["sha256"]) == 2


def test_pictures_are_brought_to_the_models_size(tmp_path):
    data = load_data({"images": save(tmp_path / "i", PIXELS)}, [Feature("image", "picture", (12, 12))])
    assert data.inputs(0)["image"].size == (12, 12)
    assert not data.targets


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("shape", [(6, 4), (24,), (1, 1, 6, 4)])
def test_arrays_take_the_models_shape(tmp_path, dtype, shape):
    pixels = (PIXELS // 2).astype(dtype)
    data = load_data({"images": save(tmp_path / "i", pixels)}, [Feature("x", "array", shape)])
    assert data.inputs(1)["x"].shape == shape
    assert np.array_equal(data.inputs(1)["x"].reshape(6, 4), pixels[1])


def test_a_flexible_array_is_left_as_it_is(tmp_path):
    feature = Feature("x", "array", (2, 2), bounds=((1, 9), (1, 9)))
    assert load_data({"images": save(tmp_path / "i", PIXELS)}, [feature]).inputs(0)["x"].shape == (6, 4)


def test_what_does_not_fit_is_named(tmp_path):
    images = save(tmp_path / "images", PIXELS)
    labels = save(tmp_path / "labels", np.zeros(4, np.uint8))
    floats = save(tmp_path / "floats", PIXELS.astype("float32"))
    for settings, features, message in (
        ({"images": images, "labels": labels}, [PICTURE], "labels has 4 labels, but .*images 5 samples"),
        (
            {"images": images},
            [PICTURE, Feature("n", "number")],
            r"for a model with one picture or array .*n \(number\)",
        ),
        ({"images": images}, [Feature("x", "array", (5, 5))], r"shape \(5, 5\), but the samples .* shape \(6, 4\)"),
        ({"images": floats}, [PICTURE], "floats holds no pictures of bytes: 5 x 6 x 4 of float32"),
    ):
        with pytest.raises(RequantError, match=message):
            load_data(settings, features)


@pytest.mark.parametrize(
    "content", [b"", b"nothing at all", b"\x00\x00\x08\x03\x00\x00", gzip.compress(b"\x00\x00\x08\x03", mtime=0)[:-9]]
)
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "images").write_bytes(content)
    for use in (lambda settings: load_data(settings, [PICTURE]), describe_data):
        with pytest.raises(RequantError, match="images can't be read as an IDX file"):
            use({"images": str(tmp_path / "images")})


@pytest.mark.parametrize("name", ["images", "images.gz"])
def test_a_file_that_ends_too_early_is_named(tmp_path, name):
    path = tmp_path / name
    save(path, PIXELS)
    content = gzip.decompress(path.read_bytes()) if path.suffix else path.read_bytes()
    path.write_bytes(gzip.compress(content[:-1]) if path.suffix else content[:-1])
    with pytest.raises(RequantError, match=r"images.* can't be read as an IDX file"):
        load_data({"images": str(path)}, [PICTURE])


def test_a_real_classifier_has_its_accuracy_on_real_digits(real_models):
    folder = real_models / "data-mnist-t10k"
    settings = {
        "images": str(folder / "t10k-images-idx3-ubyte.gz"),
        "labels": str(folder / "t10k-labels-idx1-ubyte.gz"),
        "samples": 1000,
    }
    assert "1,000 of the 10,000 samples in" in describe_data(settings)["description"]
    runner = load(real_models / "mnist-ph1ps/MNIST.mlmodel")
    outputs = run_all(runner, load_data(settings, runner.inputs))
    right = np.mean([found == wanted for found, wanted in zip(*outputs.labels.values(), outputs.targets, strict=True)])
    assert 0.975 <= right <= 0.997
