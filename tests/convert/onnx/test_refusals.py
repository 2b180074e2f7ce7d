"""What is said of ONNX files that can't be read, run or translated."""

import numpy as np
import onnx
import pytest

from requant.convert.onnx import convert, open_source
from requant.convert.settings import ConversionSettings
from requant.errors import RequantError
from tests.convert.onnx.converting import network, node, saved, settings_of

SETTINGS = ConversionSettings()


def one(kind, inputs=("x",), shape=(1, 2, 4, 4), constants=None, opset=17, **attributes):
    return network([node(kind, inputs, **attributes)], {"x": shape}, constants=constants, opset=opset)


def refused(model, folder, settings=SETTINGS):
    path = saved(model, folder)
    with pytest.raises(RequantError) as raised:
        convert(path, settings)
    assert str(path) in str(raised.value)
    return str(raised.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(RequantError, match=r"gone\.onnx can't be read: No such file"):
        convert(tmp_path / "gone.onnx", SETTINGS)


@pytest.mark.parametrize("content", [b"", b"no network", b"PK\x03\x04" + bytes(90), bytes(range(256))])
def test_a_file_of_something_else(content, tmp_path):
    assert "is no ONNX model, or it is damaged" in refused(content, tmp_path)


def test_a_truncated_file(tmp_path):
    whole = one("Relu", constants={"w": np.ones(100, np.float32)}).SerializeToString()
    for length in range(0, len(whole) - 1, 37):
        assert "it is damaged" in refused(whole[:length], tmp_path)


def test_weights_in_a_file_that_is_not_there(tmp_path):
    model = one("Add", ("x", "w"), constants={"w": np.ones((4, 4), np.float32)})
    path = tmp_path / "network.onnx"
    onnx.save_model(
        model, path, save_as_external_data=True, location="weights.bin", size_threshold=0, all_tensors_to_one_file=True
    )
    assert convert(path, SETTINGS)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(RequantError, match=r"network\.onnx has weights in files of their own \(weights\.bin\)"):
        convert(path, SETTINGS)


def test_all_operators_without_a_translation_are_named_at_once(tmp_path):
    nodes = [
        onnx.helper.make_node("NonZero", ["x"], ["places"], name="/places"),
        onnx.helper.make_node("Unique", ["x"], ["kinds"], name="/unique"),
        onnx.helper.make_node("FusedMatMul", ["kinds", "kinds"], ["y"], name="/fused", domain="com.microsoft"),
    ]
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.microsoft", 1)]
    message = refused(network(nodes, {"x": (8,)}, opset_imports=opsets), tmp_path)
    expected = "operators without a translation: Unique (node /unique), com.microsoft.FusedMatMul (node /fused)."
    assert expected in message


def test_what_no_output_needs_is_no_obstacle(tmp_path):
    nodes = [node("Unique", ["x"], ["kinds"]), node("Relu", ["x"])]
    assert convert(saved(network(nodes, {"x": (8,)}), tmp_path), SETTINGS)


@pytest.mark.parametrize("kind", ["QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"])
def test_a_quantized_network(kind, tmp_path):
    scale = {"scale": np.float32(0.1)}
    inputs = ("x",) if kind == "DynamicQuantizeLinear" else ("x", "scale")
    message = refused(one(kind, inputs, constants=scale), tmp_path)
    assert f"is quantized already: it has the operator {kind} (node y)" in message
    assert "keep the float original" in message


def test_a_node_is_named_with_its_operator_and_the_reason(tmp_path):
    maximum = onnx.helper.make_node("MaxPool", ["x"], ["y"], name="/pool", kernel_shape=[2, 2], dilations=[2, 2])
    message = refused(network([maximum], {"x": (1, 2, 8, 8)}), tmp_path)
    assert "its node /pool (MaxPool): its windows have gaps (dilations), which Core ML's pooling has not." in message


def test_a_parameter_that_is_computed(tmp_path):
    nodes = [node("Cast", ["x"], ["amounts"], to=onnx.TensorProto.INT64), node("Pad", ["x", "amounts"])]
    assert "'amounts' is computed while the model runs" in refused(network(nodes, {"x": (2,)}), tmp_path)


def test_sequences_of_different_lengths(tmp_path):
    weights = {name: np.ones((1, 8, 2), np.float32) for name in ("w", "r")}
    model = network(
        [node("LSTM", ["x", "w", "r", "", "lengths"], hidden_size=2)],
        {"x": (3, 2, 2)},
        constants={**weights, "lengths": np.array([3, 1], np.int32)},
    )
    assert "sequence_lens" in refused(model, tmp_path)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [({"clip": 1.0}, "clip"), ({"input_forget": 1}, "input_forget"), ({"activations": ["Elu"] * 3}, "Elu")],
)
def test_recurrent_layers_that_core_ml_has_not(attributes, words, tmp_path):
    weights = {name: np.ones((1, 8, 2), np.float32) for name in ("w", "r")}
    nodes = [node("LSTM", ["x", "w", "r"], hidden_size=2, **attributes)]
    assert words in refused(network(nodes, {"x": (3, 2, 2)}, constants=weights), tmp_path)


def test_a_loop_that_ends_when_it_likes(tmp_path):
    truth = onnx.helper.make_tensor_value_info("going", onnx.TensorProto.BOOL, ())
    turn = onnx.helper.make_tensor_value_info("turn", onnx.TensorProto.INT64, ())
    state = onnx.helper.make_tensor_value_info("s", onnx.TensorProto.FLOAT, (2,))
    after = onnx.helper.make_tensor_value_info("s2", onnx.TensorProto.FLOAT, (2,))
    kept = onnx.helper.make_tensor_value_info("kept", onnx.TensorProto.BOOL, ())
    body = onnx.helper.make_graph(
        [node("Add", ["s", "s"], ["s2"]), node("Identity", ["going"], ["kept"])],
        "body",
        [turn, truth, state],
        [kept, after],
    )
    nodes = [
        node("ReduceSum", ["x"], ["sum"], keepdims=0),
        node("Cast", ["sum"], ["times"], to=onnx.TensorProto.INT64),
        node("Loop", ["times", "", "x"], body=body),
    ]
    assert "as often as is decided while the model runs" in refused(network(nodes, {"x": (2,)}), tmp_path)


def test_a_number_without_axes_has_to_be_a_constant(tmp_path):
    model = network([node("Mul", ["x", "rate"])], {"x": (2,), "rate": ()})
    assert "its input 'rate' is a single number without axes" in refused(model, tmp_path)
    assert convert(saved(model, tmp_path), settings_of(rate=2.0))


def test_another_number_of_axes_than_the_network_has(tmp_path):
    settings = settings_of({"inputs": [{"name": "x", "shape": [1, 2]}]})
    assert "'x' has 4 axes" in refused(one("Relu"), tmp_path, settings)


def test_a_size_that_stays_open(tmp_path):
    path = saved(one("Relu", shape=(1, "n")), tmp_path)
    with pytest.raises(RequantError, match="leaves the shape of its input 'x' open"):
        convert(path, SETTINGS)


def test_an_input_of_words(tmp_path):
    message = refused(network([node("Identity", ["x"])], {"x": ("STRING", (2,))}), tmp_path)
    assert "its input 'x' is no array of numbers" in message


def test_a_graph_that_uses_what_is_not_there(tmp_path):
    message = refused(network([node("Add", ["x", "nowhere"])], {"x": (2,)}), tmp_path)
    assert "there is no value 'nowhere'" in message


def test_a_source_that_onnx_runtime_refuses(tmp_path):
    path = saved(network([node("Add", ["x", "w"])], {"x": (3,)}, constants={"w": np.ones(2, np.float32)}), tmp_path)
    with pytest.raises(RequantError, match="can't be run by ONNX Runtime"):
        open_source(path, SETTINGS)


def test_arrays_that_do_not_fit_the_source(tmp_path):
    source = open_source(saved(one("Relu"), tmp_path), SETTINGS)
    with pytest.raises(RequantError, match="can't be run by ONNX Runtime"):
        source.run([np.ones((1, 2), np.float32)])


def test_an_old_network_that_can_not_be_brought_up(tmp_path):
    model = network([node("Crop", ["x"], border=[1, 1, 1, 1])], {"x": (1, 1, 4, 4)}, opset=1)
    assert "written in version 1 of ONNX's operators" in refused(model, tmp_path)
