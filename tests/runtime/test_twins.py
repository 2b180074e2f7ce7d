"""Models that exist in two forms: what the runtime gives is held against the framework that a model comes from."""

import importlib.util
from pathlib import Path

import coremltools as ct
import numpy as np
import onnxruntime
import pytest

from requant.coreml.audit import signal_to_noise
from requant.coreml.model import Model
from requant.runtime import load, open_model
from tests.building import FLOAT16, FLOAT32, IOS15, IOS17, IOS18, as_model, numbers

torch = pytest.importorskip("torch", reason="the extra torch is not installed: pip install '.[torch]'")
from tests import torch_networks  # noqa: E402

CLOSE = 90  # dB


def converted(network, *inputs, target=IOS15, precision=FLOAT32, **options):
    """Return a traced network as a Core ML model."""
    traced = torch.jit.trace(network, inputs, check_trace=False)
    declared = [
        ct.TensorType(f"x{i}", x.shape, dtype=np.int32 if x.dtype == torch.int32 else np.float32)
        for i, x in enumerate(inputs)
    ]
    kind = {"convert_to": "mlprogram", "compute_precision": precision, "minimum_deployment_target": target}
    kind = kind | options if options.get("convert_to") != "neuralnetwork" else options
    model = ct.convert(traced, inputs=declared, skip_model_load=True, **kind)
    return as_model(model) if kind["convert_to"] == "mlprogram" else Model(model.get_spec())


def snr(model, network, *inputs, **options):
    """Return the SNR in dB of what the runtime gives for a model, the network in PyTorch being the reference."""
    with torch.no_grad():
        wanted = network(*inputs).numpy()
    runner = open_model(model, **options)
    (found,) = runner.predict({f"x{i}": x.numpy() for i, x in enumerate(inputs)}).values()
    return signal_to_noise(wanted, found)


def pixels(size=64):
    return torch.from_numpy(np.random.default_rng(1).uniform(0, 1, (1, 3, size, size)).astype(np.float32))


NETWORKS = {
    "ResNet": (torch_networks.ResNet, pixels(), IOS15),
    "MobileNet": (torch_networks.MobileNet, pixels(), IOS15),
    "vision transformer": (torch_networks.VisionTransformer, pixels(), IOS15),
    "vision transformer, fused attention": (torch_networks.VisionTransformer, pixels(), IOS18),
    "LSTM tagger": (torch_networks.Tagger, torch.arange(15, dtype=torch.int32).reshape(1, 15), IOS17),
    "U-Net": (torch_networks.UNet, pixels(), IOS15),
    "style network": (torch_networks.Style, 255 * pixels(), IOS15),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_program_gives_what_torch_gives(name):
    network, inputs, target = NETWORKS[name]
    module = torch_networks.made(network)
    assert snr(converted(module, inputs, target=target), module, inputs) > CLOSE


@pytest.mark.parametrize("name", ["ResNet", "MobileNet", "LSTM tagger", "U-Net", "style network"])
def test_a_neural_network_gives_what_torch_gives(name):
    network, inputs, _ = NETWORKS[name]
    module = torch_networks.made(network)
    assert snr(converted(module, inputs, convert_to="neuralnetwork"), module, inputs) > CLOSE


def test_float16_costs_what_rounding_costs():
    module, inputs = torch_networks.made(torch_networks.ResNet), pixels()
    model = converted(module, inputs, precision=FLOAT16)
    exact = snr(model, module, inputs)
    rounded = snr(model, module, inputs, compute_precision="float16")
    assert 50 < rounded < exact  # float16 has 11 bits of mantissa: each rounding is 2**-12 of a number, 72 dB below it


def test_a_decoder_keeps_its_keys_and_values():
    module = torch_networks.made(torch_networks.CachedGPT)
    length = module.keys.shape[2]
    example = (torch.zeros(1, 1, dtype=torch.int32), torch.zeros(length), torch.zeros(length))
    traced = torch.jit.trace(module, example, check_trace=False)
    model = ct.convert(
        traced,
        inputs=[
            ct.TensorType("token", (1, 1), np.int32),
            ct.TensorType("place", (length,)), ct.TensorType("mask", (length,)),
        ],
        states=[
            ct.StateType(ct.TensorType(shape=module.keys.shape, dtype=np.float16), name=name)
            for name in ("keys", "values")
        ],
        minimum_deployment_target=IOS18,
        compute_precision=FLOAT32,
        skip_model_load=True,
    )  # fmt: skip
    runner = open_model(as_model(model))
    state, other = runner.make_state(), runner.make_state()
    module.keys.zero_()
    module.values.zero_()
    for place, token in enumerate([3, 17, 5, 5, 39, 0]):
        inputs = {
            "token": np.array([[token]], np.int32),
            "place": np.eye(length, dtype=np.float32)[place],
            "mask": np.where(np.arange(length) <= place, 0, -1e4).astype(np.float32),
        }
        with torch.no_grad():
            wanted = module(*(torch.from_numpy(x) for x in inputs.values())).numpy()
        (found,) = runner.predict(inputs, state).values()
        assert signal_to_noise(wanted, found) > CLOSE
        (alone,) = runner.predict(inputs, other).values() if place == 0 else (wanted,)
        assert signal_to_noise(wanted, alone) > CLOSE
    assert not np.allclose(state.read_state("keys")[:, :, 1], other.read_state("keys")[:, :, 1])


def saved_models(package, *parts):
    """Return a file of an installed package without importing it, which may want a framework."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.origin:
        pytest.skip(f"{package} is not installed: pip install --no-deps {package.replace('_', '-')}")
    return Path(spec.origin).parent.joinpath(*parts)


def test_basic_pitch_gives_what_its_onnx_twin_gives():
    folder = saved_models("basic_pitch", "saved_models", "icassp_2022")
    runner = load(folder / "nmp.mlpackage")
    session = onnxruntime.InferenceSession(str(folder / "nmp.onnx"), providers=["CPUExecutionProvider"])
    samples = 0.3 * numbers(*session.get_inputs()[0].shape[1:], seed=3)[np.newaxis]
    wanted = session.run(None, {session.get_inputs()[0].name: samples})
    found = runner.predict({runner.inputs[0].name: samples})
    pairs = [(a, b) for a in wanted for b in found.values() if a.shape == b.shape]
    by_output = [max(signal_to_noise(a, b) for a, b in pairs if a is wanted_) for wanted_ in wanted]
    assert min(by_output) > 80
