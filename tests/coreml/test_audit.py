import dataclasses
import json
import math

import numpy as np
import pytest

from requant.coreml.audit import audit, signal_to_noise
from requant.coreml.model import Model, load, save
from requant.coreml.network import weight_fields
from requant.errors import RequantError
from requant.quantize.scheme import Scheme
from requant.quantize.variant import make_variant, quantize
from tests.building import add_inner_product, network, numbers
from tests.coreml.joining import joined, scaler


@pytest.fixture
def model():
    def layers(b):
        add_inner_product(b, numbers(30, 50), numbers(30), "first", "x", "z")
        add_inner_product(b, numbers(20, 30), name="second", source="z")

    return network(layers, {"x": (50,)})


def record_of(model, scheme, folder):
    suffix = model.kind.suffix
    save(model, folder / f"net{suffix}")
    return make_variant(folder / f"net{suffix}", Scheme.parse(scheme), folder / f"variant{suffix}")


# 30 * 50 + 20 * 30 = 2100 weights and 30 biases, which stay in 32 bits.
@pytest.mark.parametrize(
    ("scheme", "stored_bytes"),
    [
        ("linear_16", 2 * 2130),
        ("linear_8", 2100 + 2 * 4 * (30 + 20) + 4 * 30),  # a scale and a bias per channel
        ("linear_3", 563 + 225 + 2 * 4 * (30 + 20) + 4 * 30),
        ("kmeans_4", 1050 + 2 * 4 * 16 + 4 * 30),  # a table per tensor
        ("linear_lut_1", 188 + 75 + 2 * 4 * 2 + 4 * 30),
    ],
)
def test_bits_per_weight_of_a_network_is_what_a_hand_computes(model, scheme, stored_bytes, tmp_path):
    record = record_of(model, scheme, tmp_path)
    assert record["bits_per_weight"] == round(8 * stored_bytes / 2130, 4)
    assert record["weights"] == 2130
    assert sum(tensor["bytes"] for tensor in record["tensors"]) == stored_bytes


SMALL = 30 * 2 + 32 + 20  # what is not quantized in `some_weights`
LARGE = 2 * 32 * 8 * 9 + 20 * 800 + 20 * 150 + 30 * 150


@pytest.mark.parametrize(
    ("scheme", "stored_bytes"),
    [
        ("linear_8", LARGE + 5 * (32 + 8 + 20 + 150 + 30)),  # a float32 and a uint8 per channel
        ("linear_4", LARGE // 2 + 4 * 240 + (32 + 8 + 20 + 150 + 30) // 2),
        ("kmeans_4", LARGE // 2 + 5 * 4 * 16),
        ("kmeans_2", LARGE // 4 + 5 * 4 * 4),
        ("linear_16", 2 * LARGE),
    ],
)
def test_bits_per_weight_of_a_program_is_what_a_hand_computes(some_weights, scheme, stored_bytes, tmp_path):
    record = record_of(some_weights, scheme, tmp_path)
    assert record["bits_per_weight"] == round(8 * (stored_bytes + 4 * SMALL) / (LARGE + SMALL), 4)


def test_tensors_are_listed_with_what_they_store(model, tmp_path):
    record = record_of(model, "kmeans_4", tmp_path)
    tensor = record["tensors"][0]
    first, second = numbers(30, 50), load(tmp_path / "variant.mlmodel")
    decoded = quantized_values(second)["first.weights"]
    snr = 10 * np.log10(np.square(first.astype(float)).sum() / np.square(decoded.astype(float) - first).sum())
    assert tensor == {
        "name": "first.weights", "shape": [30, 50], "requested": "kmeans_4", "reason": "", "form": "lookup table",
        "bits": 4, "bytes": 750 + 64, "bits_per_weight": round(8 * (750 + 64) / 1500, 4),
        "snr_db": pytest.approx(snr, abs=1e-3), "zeros": 0,
        "max_error": pytest.approx(float(np.abs(decoded.astype(float) - first).max())),
    }  # fmt: skip
    assert record["untouched"] == 1
    bias = {t["name"]: t for t in record["tensors"]}["first.bias"]
    assert (bias["form"], bias["bits"], bias["snr_db"]) == ("float32", 32, None)  # nothing was changed
    assert (bias["requested"], bias["reason"]) == ("untouched", "a bias: small, and added to every sum")


def test_a_tensor_that_was_not_to_be_touched_and_is_not_identical_is_an_error(model):
    variant = Model(model.copy_spec(), {}, model.path)
    requests = {"first.weights": ("untouched", "a rule"), "first.bias": ("untouched", "a bias")}
    assert audit(variant, model, "kmeans_4", requests)["untouched"] == 2
    weight_fields(variant.spec)[1].params.floatValue[3] = -0.0
    weight_fields(model.spec)[1].params.floatValue[3] = 0.0
    with pytest.raises(RequantError, match=r"first.bias was not to be touched, but came out of kmeans_4 changed"):
        audit(variant, model, "kmeans_4", requests)


def quantized_values(model):
    found = {}
    for field in weight_fields(model.spec):
        table = np.float32(field.params.quantization.lookupTableQuantization.floatValue)
        if len(table):
            codes = np.frombuffer(field.params.rawValue, np.uint8)
            indices = np.stack([codes >> 4, codes & 15], axis=1).reshape(-1)
            found[field.name] = table[indices].reshape(field.shape)
    return found


@pytest.mark.parametrize("without", [network(lambda b: b.add_activation("relu", "RELU", "x", "y")), joined([scaler()])])
def test_a_model_without_weights_has_no_figures_of_them(without):
    record = audit(without, without, "float")
    assert (record["weights"], record["tensors"]) == (0, [])
    assert record["bits_per_weight"] is record["weight_snr_db"] is None
    assert record["type"] == without.type
    json.dumps(record, allow_nan=False)


@pytest.mark.parametrize(
    ("scheme", "ios", "macos", "version"), [("linear_16", "11.2", "10.13.2", 2), ("kmeans_1", "12", "10.14", 3)]
)
def test_the_oldest_system_is_told(model, scheme, ios, macos, version, tmp_path):
    record = record_of(model, scheme, tmp_path)
    assert (record["ios"], record["macos"], record["spec_version"]) == (ios, macos, version)
    assert record["scheme"] == scheme


def test_more_bits_give_a_better_signal(model, tmp_path):
    figures = [record_of(model, f"kmeans_{bits}", tmp_path)["weight_snr_db"] for bits in (8, 6, 4, 2, 1)]
    assert figures == sorted(figures, reverse=True)
    assert 40 < figures[0] < 50
    assert 4 < figures[-1] < 6  # one bit of a normal distribution: 10 log10(1 / (1 - 2 / pi)) = 4.4


def test_the_float_model_audits_as_unchanged(model):
    record = audit(model, model, "float")
    assert record["weight_snr_db"] is None
    assert record["bits_per_weight"] == 32


def test_a_lost_tensor_is_refused(model):
    spec = model.copy_spec()
    del spec.neuralNetwork.layers[1]
    with pytest.raises(RequantError, match=r"lost the tensor second.weights"):
        audit(dataclasses.replace(model, spec=spec), model, "linear_8")


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("damage", ["shape", "number"])
def test_a_damaged_tensor_is_refused(model, damage):
    variant = quantize(model, Scheme.of("linear", 8))
    params = variant.spec.neuralNetwork.layers[1].innerProduct
    if damage == "shape":
        params.outputChannels = 10
        del params.weights.quantization.linearQuantization.scale[10:]
        del params.weights.quantization.linearQuantization.bias[10:]
    else:
        params.weights.quantization.linearQuantization.scale[3] = math.inf
    with pytest.raises(RequantError, match=r"the tensor second.weights came out of linear_8 damaged"):
        audit(variant, model, "linear_8")


def test_signal_to_noise_is_in_decibels():
    assert signal_to_noise(np.ones(10), np.full(10, 1.1)) == pytest.approx(20)
    assert signal_to_noise(np.ones(4), np.ones(4)) == math.inf
    assert signal_to_noise(np.zeros(4), np.ones(4)) == -math.inf
    # integers that would wrap around in their own type
    assert signal_to_noise(np.uint8([10, 0]), np.uint8([0, 0])) == pytest.approx(0)


def test_large_parameters_of_a_normalization_do_not_drown_the_error_of_the_weights(tmp_path):
    def layers(b):
        add_inner_product(b, numbers(30, 50), name="fc", result="z")
        b.add_scale("scale", numbers(30, scale=1e6), numbers(30), True, "z", "y", [30], [30])

    record = record_of(network(layers, {"x": (50,)}), "kmeans_2", tmp_path)
    assert record["weight_snr_db"] == {t["name"]: t["snr_db"] for t in record["tensors"]}["fc.weights"]
