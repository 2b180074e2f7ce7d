"""A TensorFlow graph made ready for coremltools: what it would read wrong is said otherwise, and names are stable."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from typing import Any

_NONE = "iterations"  # of the two inputs that stand before a loop's own


def prepare(graph: Any, inputs: Collection[str], outputs: Mapping[str, str]) -> None:
    """Change a graph (`GraphDef`) in place; it computes the same.

    Args:
        graph: without variables.
        inputs: the names of its inputs, which stay.
        outputs: new names for the nodes that are the outputs, by the old ones.
    """
    functions = {each.signature.name: each for each in graph.library.function}
    _allow_inlining(graph)
    for nodes in [graph.node, *(each.node_def for each in functions.values())]:
        _count_iterations(nodes, functions)
    _name_by_content(graph)
    _rename(graph, _without_scope(graph, outputs) | dict(outputs), {*inputs, *outputs})


def _allow_inlining(graph: Any) -> None:
    """Let functions that were to be compiled be put in place of their calls, as all others are.

    Keras has what TensorFlow can't compute on a CPU otherwise, as grouped convolutions, compiled.
    """
    for function in graph.library.function:
        function.attr.pop("_XlaMustCompile", None)
    for node in [*graph.node, *(node for function in graph.library.function for node in function.node_def)]:
        node.attr.pop("_XlaMustCompile", None)


def _count_iterations(nodes: Any, functions: Mapping[str, Any]) -> None:
    """Make the iterations of loops, and their limit, values like all others that a loop carries.

    coremltools takes the first two values of a loop for a counter and a limit that nothing reads, and drops them. Keras
    3 reads them: its recurrent layers go on while the counter is below the limit. So two others are put before them.
    """
    from tensorflow.core.framework import attr_value_pb2, types_pb2

    loops = [node for node in nodes if node.op in ("While", "StatelessWhile")]
    for loop in loops:
        zero = nodes.add()
        zero.name, zero.op = f"{loop.name}/{_NONE}", "Const"
        zero.attr["dtype"].type = types_pb2.DT_INT32
        zero.attr["value"].tensor.dtype = types_pb2.DT_INT32
        zero.attr["value"].tensor.tensor_shape.SetInParent()
        zero.attr["value"].tensor.int_val.append(0)
        inner = any(":output:" in reference for node in nodes for reference in node.input)
        given = f"{zero.name}:output:0" if inner else zero.name
        loop.input[:] = [given, given, *loop.input]
        loop.attr["T"].list.type[:] = [types_pb2.DT_INT32] * 2 + list(loop.attr["T"].list.type)
        for key in ("output_shapes", "_output_shapes"):
            if loop.attr[key].list.shape:
                shapes = [attr_value_pb2.AttrValue().shape] * 2 + list(loop.attr[key].list.shape)
                del loop.attr[key].list.shape[:]
                loop.attr[key].list.shape.extend(shapes)
        _shift(nodes, loop.name)
        _prepend(functions[loop.attr["cond"].func.name], outputs=False)
        _prepend(functions[loop.attr["body"].func.name], outputs=True)


def _shift(nodes: Any, loop: str) -> None:
    """Have what reads an output of a loop read the output two further on."""
    pattern = re.compile(rf"{re.escape(loop)}(:output)?(?::(\d+))?")
    for node in nodes:
        for index, reference in enumerate(node.input):
            found = pattern.fullmatch(reference)
            if found:
                node.input[index] = f"{loop}{found[1] or ''}:{int(found[2] or 0) + 2}"


def _prepend(function: Any, *, outputs: bool) -> None:
    """Put two arguments before those of a loop's function, and let its body return them as they are.

    coremltools finds an output by its number at the end of the name.
    """
    from tensorflow.core.framework import op_def_pb2, types_pb2

    arguments = [op_def_pb2.OpDef.ArgDef(name=f"{_NONE}_{i}", type=types_pb2.DT_INT32) for i in range(2)]
    signature = function.signature
    rest = list(signature.input_arg)
    del signature.input_arg[:]
    signature.input_arg.extend([*arguments, *rest])
    for index in sorted(function.arg_attr, reverse=True):
        function.arg_attr[index + 2].CopyFrom(function.arg_attr[index])
        del function.arg_attr[index]
    if not outputs:
        return
    results = [(each.type, function.ret[each.name]) for each in signature.output_arg]
    results = [(argument.type, argument.name) for argument in arguments] + results
    del signature.output_arg[:]
    function.ret.clear()
    for number, (kind, reference) in enumerate(results):
        name = f"identity_{number}"
        signature.output_arg.add(name=name, type=kind)
        function.ret[name] = reference


def _name_by_content(graph: Any) -> None:
    """Name the functions of loops and branches by what they compute, where TensorFlow numbers all that it ever made.

    Names of operations in the float model begin with these. A function is named when those that it calls are.
    """
    left = {each.signature.name: each for each in graph.library.function}
    while left:
        name, function = next((n, f) for n, f in left.items() if not _calls(f.node_def) & (set(left) - {n}))
        function.signature.name = ""
        _number_arguments(function)
        digest = hashlib.sha256(function.SerializeToString(deterministic=True)).hexdigest()[:12]
        function.signature.name = f"function_{digest}"
        for node in [*graph.node, *(node for each in graph.library.function for node in each.node_def)]:
            for attribute in node.attr.values():
                if attribute.func.name == name:
                    attribute.func.name = function.signature.name
        del left[name]


def _number_arguments(function: Any) -> None:
    """Name a function's arguments by their place, where TensorFlow has the number of another function in some names."""
    names = {argument.name: f"argument_{i}" for i, argument in enumerate(function.signature.input_arg)}
    for argument in function.signature.input_arg:
        argument.name = names[argument.name]
    for node in function.node_def:
        node.input[:] = [names.get(reference, reference) for reference in node.input]
    for key, reference in list(function.ret.items()):
        function.ret[key] = names.get(reference, reference)


def _calls(nodes: Any) -> set[str]:
    return {attribute.func.name for node in nodes for attribute in node.attr.values()}


def _without_scope(graph: Any, outputs: Mapping[str, str]) -> dict[str, str]:
    """Return shorter names for all nodes, where they lie in one scope together: that of the whole model."""
    scoped = [node.name for node in graph.node if "/" in node.name]
    taken = {node.name for node in graph.node} | set(outputs.values())
    short = {name: name.partition("/")[2] for name in scoped}
    alone = len({name.partition("/")[0] for name in scoped}) == 1 and not taken & set(short.values())
    return short if alone else {}


def sort(graph: Any) -> None:
    """Put nodes and functions in the order of their names: TensorFlow's own is another each time."""
    for messages, key in ((graph.node, lambda n: n.name), (graph.library.function, lambda f: f.signature.name)):
        messages.sort(key=key)


def _rename(graph: Any, names: Mapping[str, str], fixed: Collection[str]) -> None:
    """Give nodes other names, where they have one in `names`.

    TensorFlow tells names apart without their case: of two that differ in that alone, it gives one a number. Here, the
    one that is not an input or output gets it.

    Args:
        graph: to be changed.
        names: new ones by the old.
        fixed: the old names of inputs and outputs.
    """
    final = {node.name: names.get(node.name, node.name) for node in graph.node}
    used = {final[name].lower() for name in fixed}
    for old, new in final.items():
        if old not in fixed:
            numbered = (f"{new}_{i}" if i else new for i in range(len(final) + 1))
            final[old] = next(name for name in numbered if name.lower() not in used)
            used.add(final[old].lower())
    for node in graph.node:
        node.name = final[node.name]
        for index, reference in enumerate(node.input):
            mark, name, rest = re.fullmatch(r"(\^?)([^:]+)(.*)", reference).groups()  # type: ignore[union-attr]
            node.input[index] = f"{mark}{final.get(name, name)}{rest}"
