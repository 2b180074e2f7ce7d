import onnx

from requant.runtime.graph import Graph


def test_inputs_that_are_left_out_at_the_end_are_not_named():
    graph = Graph()
    x, scale = graph.input("x", "float32", (1, 4)), graph.input("scale", "float32", (4,))
    graph.output(graph.node("LayerNormalization", x, scale, None, axis=1))
    graph.output(graph.node("Clip", x, None, graph.scalar(1.0)))
    nodes = onnx.load_from_string(graph.to_bytes()).graph.node
    named = {node.op_type: list(node.input) for node in nodes}
    assert named["LayerNormalization"] == ["x", "scale"]
    assert named["Clip"][:2] == ["x", ""]
