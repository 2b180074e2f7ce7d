"""Models of other people, for which figures are known; see the fixture `real_models` for where they are looked for."""

import gzip

import numpy as np
import pytest
from PIL import Image

from requant.convert import convert
from requant.coreml.model import load, save
from requant.quantize.scheme import Scheme
from requant.quantize.variant import quantize
from requant.runtime.onnx_runner import OnnxRunner


def variant(model, scheme):
    return model if scheme == "float" else quantize(model, Scheme.parse(scheme))


def accuracy(runner, output, samples):
    """Return the percentage of samples (inputs and label) that a classifier gets right."""
    return 100 * np.mean([str(runner.predict(inputs)[output]) == label for inputs, label in samples])


@pytest.fixture(scope="module")
def digits(real_models):
    with gzip.open(real_models / "data-mnist-t10k/t10k-images-idx3-ubyte.gz") as stream:
        pixels = np.frombuffer(stream.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(real_models / "data-mnist-t10k/t10k-labels-idx1-ubyte.gz") as stream:
        labels = np.frombuffer(stream.read(), np.uint8, offset=8)
    assert len(pixels) == len(labels) == 10_000
    return [({"image": picture}, str(label)) for picture, label in zip(pixels, labels, strict=True)]


def test_a_digit_classifier_keeps_its_accuracy(real_models, digits):
    model = convert(real_models / "mnist-ph1ps/MNIST.mlmodel")
    figures = {
        scheme: accuracy(OnnxRunner(variant(model, scheme)), "classLabel", digits)
        for scheme in ("float", "linear_8", "kmeans_8")
    }
    assert 98.8 <= figures["float"] <= 98.9
    assert abs(figures["linear_8"] - figures["float"]) <= 0.2
    assert abs(figures["kmeans_8"] - figures["float"]) <= 0.2


@pytest.fixture(scope="module")
def photographs(real_models):
    files = sorted((real_models / "data-cifar10-jpeg").glob("*/*.jpg"))
    assert len(files) == 500
    return [(np.asarray(Image.open(file).convert("RGB")), file.parent.name) for file in files]


def test_a_photograph_classifier_keeps_its_accuracy(real_models, photographs):
    model = convert(real_models / "resnet20-cifar10/ResNet20CIFAR10.mlpackage")
    name = model.spec.description.input[0].name
    output = model.spec.description.predictedFeatureName
    samples = [({name: pixels}, label) for pixels, label in photographs]
    figures = {
        scheme: accuracy(OnnxRunner(variant(model, scheme)), output, samples) for scheme in ("float", "linear_8")
    }
    assert figures["float"] >= 77
    assert abs(figures["linear_8"] - figures["float"]) <= 2


@pytest.mark.parametrize("name", ["anime_noise0", "photo_noise1", "up_photo_noise1_scale2x"])
def test_picture_models_keep_a_clear_signal(real_models, name, photographs, tmp_path):
    model = convert(real_models / f"waifu2x/{name}.mlmodel")
    save(quantize(model, Scheme.of("linear", 8)), tmp_path / "v.mlmodel")
    (feature,) = model.spec.description.input
    shape = tuple(feature.type.multiArrayType.shape)
    mosaic = np.concatenate([np.concatenate([p for p, _ in photographs[i : i + 8]], axis=1) for i in range(0, 64, 8)])
    crop = mosaic[: shape[-2], : shape[-1]].transpose(2, 0, 1) / 255
    outputs = [
        next(iter(OnnxRunner(m).predict({feature.name: crop.reshape(shape)}).values()))
        for m in (model, load(tmp_path / "v.mlmodel"))
    ]
    assert outputs[0].shape == outputs[1].shape
    signal, noise = np.square(outputs[0]).sum(), np.square(outputs[0] - outputs[1]).sum()
    assert noise > 0
    assert 10 * np.log10(signal / noise) > 20


def test_a_denoiser_returns_the_middle_of_its_picture(real_models, photographs):
    model = convert(real_models / "waifu2x/photo_noise1.mlmodel")
    (feature,) = model.spec.description.input
    shape = tuple(feature.type.multiArrayType.shape)
    mosaic = np.concatenate([np.concatenate([p for p, _ in photographs[i : i + 8]], axis=1) for i in range(0, 64, 8)])
    crop = (mosaic[: shape[-2], : shape[-1]].transpose(2, 0, 1) / 255).reshape(shape)
    (found,) = OnnxRunner(model).predict({feature.name: crop}).values()
    margin = (shape[-1] - found.shape[-1]) // 2
    middle = crop[..., margin : shape[-2] - margin, margin : shape[-1] - margin]
    assert found.shape == middle.shape
    assert 10 * np.log10(1 / np.square(found - middle).mean()) > 20  # it removes noise, it does not repaint
