"""Small networks with what ONNX's own cases of single operators do not have."""

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from requant.convert.onnx import convert, open_source
from requant.convert.onnx.preparing import prepare
from requant.convert.settings import ConversionSettings
from requant.coreml.inventory import each_weight
from tests.convert.onnx.converting import FLOAT32, both, network, node, random_inputs, saved, settings_of, snr

SETTINGS = ConversionSettings.of(FLOAT32)
KINDS = {
    "float32": FLOAT32,
    "iOS 18": {**FLOAT32, "minimum_deployment_target": "iOS18"},
    "neuralnetwork": {"convert_to": "neuralnetwork"},
}


def numbers(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def require_alike(model, folder, table=None, least=90.0, arrays=None):
    path, settings = saved(model, folder), settings_of(table)
    reference, found = both(path, settings, arrays or random_inputs(path, settings))
    assert len(reference) == len(found)
    for theirs, ours in zip(reference, found, strict=True):
        assert ours.size == theirs.size
        assert snr(theirs, ours) > least
    return reference


@pytest.mark.parametrize("table", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "GRU reset after", "RNN"])
def test_recurrent_layers(kind, direction, table, tmp_path):
    gates, count = {"LSTM": 4, "RNN": 1}.get(kind, 3), 2 if direction == "bidirectional" else 1
    constants = {
        "w": numbers(count, gates * 3, 2), "r": numbers(count, gates * 3, 3), "b": numbers(count, 2 * gates * 3),
        "h": numbers(count, 1, 3), "c": numbers(count, 1, 3, seed=1),
    }  # fmt: skip
    states = ["h", "c"] if kind == "LSTM" else ["h"]
    attributes = {"linear_before_reset": 1} if kind == "GRU reset after" else {}
    outputs = ["y", "last", "cell"][: 1 + len(states)]
    layer = node(
        kind.split()[0], ["x", "w", "r", "b", "", *states], outputs, hidden_size=3, direction=direction, **attributes
    )
    model = network(
        [layer], {"x": (4, 1, 2)}, outputs, constants={key: constants[key] for key in ("w", "r", "b", *states)}
    )
    require_alike(model, tmp_path, table)


@pytest.mark.parametrize("table", KINDS.values(), ids=KINDS)
def test_a_state_that_is_an_input(table, tmp_path):
    constants = {"w": numbers(1, 12, 2), "r": numbers(1, 12, 3)}
    layer = node("LSTM", ["x", "w", "r", "", "", "h", "c"], ["", "h2", "c2"], hidden_size=3)
    inputs = {"x": (2, 1, 2), "h": (1, 1, 3), "c": (1, 1, 3)}
    require_alike(network([layer], inputs, ("h2", "c2"), constants), tmp_path, table)


def test_activations_by_name(tmp_path):
    constants = {"w": numbers(2, 12, 2), "r": numbers(2, 12, 3)}
    names = ["Sigmoid", "Relu", "Tanh", "Sigmoid", "Tanh", "Tanh"]
    layer = node("LSTM", ["x", "w", "r"], hidden_size=3, direction="bidirectional", activations=names)
    require_alike(network([layer], {"x": (4, 1, 2)}, constants=constants), tmp_path)


def test_constants_that_onnx_runtime_does_not_compute(tmp_path):
    nodes = [node("Mul", ["a", "a"], ["p"]), node("Cast", ["p"], ["f"], to=1), node("Add", ["x", "f"])]
    require_alike(network(nodes, {"x": (2,)}, constants={"a": np.array([2, 3], np.int16)}), tmp_path)


@pytest.mark.parametrize("power", [1, 2])
def test_norms_of_whole_channels(power, tmp_path):
    require_alike(network([node("GlobalLpPool", ["x"], p=power)], {"x": (1, 2, 3, 4)}), tmp_path)


@pytest.mark.parametrize("like", [np.float32(1), np.array(1, np.int32)])
def test_types_of_other_arrays(like, tmp_path):
    nodes = [node("CastLike", ["x", "w"], ["c"]), node("Add", ["c", "w"])]
    require_alike(network(nodes, {"x": ("INT64", (3,))}, constants={"w": like}), tmp_path, arrays=[np.array([1, 2, 3])])


def branches():
    def graph(name, kind):
        made = onnx.helper.make_empty_tensor_value_info(name)
        return onnx.helper.make_graph([node(kind, ["x", "w"], [name])], name, [], [made])

    return {"then_branch": graph("more", "Add"), "else_branch": graph("less", "Sub")}


def test_a_branch_that_is_chosen_while_the_model_runs(tmp_path):
    nodes = [
        node("ReduceSum", ["x"], ["sum"], keepdims=0),
        node("Greater", ["sum", "zero"], ["positive"]),
        node("If", ["positive"], **branches()),
    ]
    model = network(nodes, {"x": (3,)}, constants={"zero": np.float32(0), "w": np.float32([1, 2, 3])})
    for sign in (1, -1):
        require_alike(model, tmp_path, arrays=[np.float32([1, 2, 3]) * sign])


@pytest.mark.parametrize("rate", [8000, 16000])
def test_a_branch_that_the_configuration_chooses(rate, tmp_path):
    nodes = [node("Equal", ["rate", "fast"], ["is_fast"]), node("If", ["is_fast"], **branches())]
    constants = {"fast": np.array(16000), "w": np.float32([1, 2, 3])}
    path = saved(network(nodes, {"x": (3,), "rate": ("INT64", ())}, constants=constants), tmp_path)
    settings = settings_of(rate=rate)
    assert [each.name for each in open_source(path, settings).inputs] == ["x"]
    (theirs,), (ours,) = both(path, settings, [np.float32([3, 4, 5])])
    np.testing.assert_array_equal(ours, theirs)
    assert ours[0] == (4 if rate == 16000 else 2)


def test_a_loop_of_known_length_is_written_out(tmp_path):
    info = onnx.helper.make_tensor_value_info
    inputs = [info("turn", 7, ()), info("going", 9, ()), info("s", 1, (2,))]
    outputs = [info("kept", 9, ()), info("s2", 1, (2,)), info("seen", 1, (2,))]
    steps = [
        node("Cast", ["turn"], ["number"], to=1),
        node("Add", ["s", "number"], ["s2"]),
        node("Mul", ["s2", "s2"], ["seen"]),
        node("Identity", ["going"], ["kept"]),
    ]
    body = onnx.helper.make_graph(steps, "body", inputs, outputs)
    loop = node("Loop", ["times", "", "x"], ["last", "all"], body=body)
    model = network([loop], {"x": (2,)}, ("last", "all"), {"times": np.array(4)})
    require_alike(model, tmp_path)


def test_float16_becomes_float32_and_loses_nothing(tmp_path):
    weights = numbers(32, 33).astype(np.float16)
    nodes = [node("MatMul", ["x", "w"], ["p"]), node("Cast", ["p"], to=onnx.TensorProto.FLOAT16)]
    path = saved(network(nodes, {"x": ("FLOAT16", (4, 32))}, constants={"w": weights}), tmp_path)
    source = open_source(path, SETTINGS)
    assert source.inputs[0].dtype == "float32"
    assert source.run([numbers(4, 32)])[0].dtype == np.float32
    (found,) = each_weight(convert(path, ConversionSettings()))
    np.testing.assert_array_equal(np.sort(found.values.ravel()), np.sort(weights.astype(np.float32).ravel()))


def test_doubles_become_float32(tmp_path):
    model = network([node("Mul", ["x", "w"])], {"x": ("DOUBLE", (2,))}, constants={"w": np.array([0.1, 2.0])})
    require_alike(model, tmp_path)


def test_the_end_of_everything_fits_32_bits(tmp_path):
    far = {"a": np.array([1]), "b": np.array([np.iinfo(np.int64).max])}
    require_alike(network([node("Slice", ["x", "a", "b"])], {"x": (3, 4)}, constants=far), tmp_path)


def test_names_are_those_of_the_file_where_core_ml_takes_them(tmp_path):
    nodes = [node("Conv", ["in:0", "layer.weight"], ["mid"]), node("Relu", ["mid"], ["7"])]
    path = saved(network(nodes, {"in:0": (1, 1, 4, 4)}, ("7",), {"layer.weight": numbers(2, 1, 3, 3)}), tmp_path)
    model = convert(path, SETTINGS)
    assert [each.name for each in model.spec.description.input] == ["in_0"]
    assert [each.name for each in model.spec.description.output] == ["_7"]
    assert "layer_weight" in [weight.name for weight in each_weight(model)]


def test_the_configuration_names_outputs(tmp_path):
    path = saved(network([node("Relu", ["x"])], {"x": (2,)}), tmp_path)
    model = convert(path, settings_of({**FLOAT32, "outputs": [{"name": "result"}]}))
    assert [each.name for each in model.spec.description.output] == ["result"]


def test_outputs_that_are_inputs_or_twice_the_same(tmp_path):
    nodes = [node("Relu", ["x"], ["a"]), node("Identity", ["a"], ["b"]), node("Identity", ["x"], ["c"])]
    require_alike(network(nodes, {"x": (3,)}, ("a", "b", "c")), tmp_path)


def test_functions_are_written_out(tmp_path):
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("own", 1)]
    body = [node("Add", ["a", "a"], ["twice"]), node("Relu", ["twice"], ["b"])]
    function = onnx.helper.make_function("own", "Twice", ["a"], ["b"], body, opsets[:1])
    model = network([node("Twice", ["x"], domain="own")], {"x": (3,)}, opset_imports=opsets)
    model.functions.append(function)
    require_alike(model, tmp_path)


def test_axes_of_old_additions_are_brought_up(tmp_path):
    add = node("Add", ["x", "b"], axis=1, broadcast=1)
    constants = {"b": numbers(3)}
    model = network([add], {"x": (2, 3, 4, 5), "b": (3,)}, constants=constants, opset=6)
    (result,) = require_alike(model, tmp_path, arrays=[numbers(2, 3, 4, 5)])
    np.testing.assert_allclose(result, numbers(2, 3, 4, 5) + numbers(3)[:, None, None], rtol=1e-6)


def test_a_file_of_the_first_version_adds_to_channels(tmp_path):
    """Height and width are as many as channels, so that today's rule would take the vector too, along the width."""
    nodes = [node("Conv", ["x", "w"], ["c"], pads=[1] * 4, kernel_shape=[3, 3]), node("Add", ["c", "b"], ["d"])]
    nodes.append(node("Upsample", ["d"], scales=[2.0, 2.0]))
    constants = {"w": numbers(4, 1, 3, 3), "b": numbers(4)}
    model = network(nodes, {"x": (1, 1, 4, 4)}, constants=constants, opset=7, ir_version=1)
    (result,) = require_alike(model, tmp_path, arrays=[numbers(1, 1, 4, 4)])
    conv = network([node("Conv", ["x", "w", "b"], pads=[1] * 4)], {"x": (1, 1, 4, 4)}, constants=constants)
    (expected,) = ReferenceEvaluator(conv).run(None, {"x": numbers(1, 1, 4, 4)})
    np.testing.assert_allclose(result, expected.repeat(2, 2).repeat(2, 3), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("opset", [9, 13])
@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax", "Hardmax"])
def test_softmax_of_either_meaning(kind, opset, tmp_path):
    require_alike(network([node(kind, ["x"], axis=1)], {"x": (2, 3, 4)}, opset=opset), tmp_path)


@pytest.mark.parametrize("opset", [7, 9])
def test_upsampling(opset, tmp_path):
    for mode in ("nearest", "linear"):
        scales = [1.0, 1.0, 2.0, 3.0]
        if opset == 7:
            model = network([node("Upsample", ["x"], scales=scales, mode=mode)], {"x": (1, 2, 3, 4)}, opset=7)
        else:
            upsample = node("Upsample", ["x", "s"], mode=mode)
            model = network([upsample], {"x": (1, 2, 3, 4)}, constants={"s": np.float32(scales)}, opset=9)
        require_alike(model, tmp_path)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("extra", [{}, {"output_padding": 1}, {"group": 2}, {"pads": (0, 1)}, {"dilations": 2}])
def test_transposed_convolutions(dimensions, extra, tmp_path):
    attributes = {"strides": [2] * dimensions, "pads": [1] * (2 * dimensions), "group": extra.get("group", 1)}
    for key in ("output_padding", "dilations"):
        if key in extra:
            attributes[key] = [extra[key]] * dimensions
    if "pads" in extra:
        attributes["pads"] = [size for size in extra["pads"] for _ in range(dimensions)]
    constants = {"w": numbers(2, 4 // attributes["group"], *[3] * dimensions), "b": numbers(4)}
    model = network(
        [node("ConvTranspose", ["x", "w", "b"], **attributes)], {"x": (1, 2, *[4] * dimensions)}, constants=constants
    )
    require_alike(model, tmp_path)


@pytest.mark.parametrize("table", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("opset", [18, 21])
def test_normalization_of_groups(opset, table, tmp_path):
    count = 2 if opset == 18 else 4
    constants = {"s": numbers(count), "b": numbers(count, seed=1)}
    layer = node("GroupNormalization", ["x", "s", "b"], num_groups=2)
    require_alike(network([layer], {"x": (2, 4, 3, 3)}, constants=constants, opset=opset), tmp_path, table)


def test_weights_are_read_from_files_of_their_own(tmp_path):
    model = network([node("MatMul", ["x", "w"])], {"x": (2, 3)}, constants={"w": numbers(3, 4)})
    onnx.save_model(model, tmp_path / "network.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    (theirs,), (ours,) = both(tmp_path / "network.onnx", SETTINGS, [numbers(2, 3)])
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_an_einsum_of_attention(tmp_path):
    nodes = [node("Einsum", ["q", "k"], ["s"], equation="bihd,bjhd->bhij"), node("Softmax", ["s"], ["p"])]
    nodes.append(node("Einsum", ["p", "v"], equation="bhij,bjhd->bihd"))
    require_alike(network(nodes, dict.fromkeys("qkv", (1, 4, 2, 3))), tmp_path)


def test_preparing_leaves_the_file_as_it_is(tmp_path):
    path = saved(network([node("Relu", ["x"])], {"x": ("FLOAT16", (2,))}), tmp_path)
    before = path.read_bytes()
    prepare(path, SETTINGS)
    assert path.read_bytes() == before
