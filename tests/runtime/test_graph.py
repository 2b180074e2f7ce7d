import numpy as np
import onnx

from requant.runtime.graph import Graph


def test_inputs_that_are_left_out_at_the_end_are_not_named():
    graph = Graph()
    x, scale = graph.input("x", "float32", (1, 4)), graph.input("scale", "float32", (4,))
    graph.output(graph.node("LayerNormalization", x, scale, None, axis=1))
    graph.output(graph.node("Clip", x, None, graph.scalar(1.0)))
    nodes = onnx.load_from_string(graph.finished()[0]).graph.node
    named = {node.op_type: list(node.input) for node in nodes}
    assert named["LayerNormalization"] == ["x", "scale"]
    assert named["Clip"][:2] == ["x", ""]


def test_what_nothing_depends_on_is_left_out():
    graph = Graph()
    x = graph.input("x", "float32", (200, 200))
    used, unused = (graph.constant(np.full((200, 200), value, np.float32)) for value in (1, 2))
    graph.node("Exp", graph.node("Mul", x, unused))
    graph.output(graph.node("Add", x, used))
    data, weights = graph.finished()
    model = onnx.load_from_string(data).graph
    assert [node.op_type for node in model.node] == ["Add", "Identity"]
    assert [constant.name for constant in model.initializer] == [used.name] == list(weights)


def test_what_only_a_nested_graph_reads_is_kept():
    graph = Graph()
    x, condition = graph.input("x", "float32", (2,)), graph.input("c", "bool", ())
    doubled, branches = graph.node("Add", x, x), []
    for kind in ("Neg", "Abs"):
        nested = graph.nested()
        nested.output(nested.node(kind, doubled))
        branches.append(nested.proto())
    (result,) = graph.holder("If", [condition], [("float32", (2,))], then_branch=branches[0], else_branch=branches[1])
    graph.output(result)
    assert [node.op_type for node in onnx.load_from_string(graph.finished()[0]).graph.node] == ["Add", "If", "Identity"]


def test_a_tensor_knows_the_node_that_made_it():
    graph = Graph()
    x = graph.input("x", "float32", (2,))
    made = graph.node("LeakyRelu", x, alpha=0.5)
    assert (made.maker.kind, made.maker.inputs[0], made.maker.attributes) == ("LeakyRelu", x, {"alpha": 0.5})
    assert x.maker is None
