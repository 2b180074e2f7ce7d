"""Branches and loops of NeuralNetworks, against the same in Python."""

import numpy as np
import pytest
from coremltools.models.neural_network import NeuralNetworkBuilder

from requant.errors import RequantError
from requant.runtime.onnx_runner import OnnxRunner
from tests.building import network, numbers
from tests.runtime.running import run_network

X = numbers(4)
YES, NO = np.float32([1]), np.float32([0])


def inside(message):
    """Return a builder of a network within a network."""
    return NeuralNetworkBuilder(input_features=None, output_features=None, spec=None, nn_spec=message)


def put(builder, source, result, mode, number):
    """Add a layer that adds a number, or multiplies by it; the result may be an array that is there already."""
    made = f"{result} of {len(builder.nn_spec.layers)}"
    builder.add_elementwise(made, [source], made, mode, number)
    builder.add_copy(f"{made} copied", made, result)


def less_than(builder, source, result, number):
    builder.add_less_than(result, [source], result, alpha=number)


def fork(builder, condition, taken=None, other=None):
    """Add a branch; each side is a function that adds layers to the builder that it gets."""
    params = builder.add_branch(f"branch on {condition}", condition).branch
    (taken or (lambda b: None))(inside(params.ifBranch))
    if other:
        other(inside(params.elseBranch))


def repeat(builder, body, times=0, name="loop", source=None, condition=None):
    """Add a loop; body and condition are functions that add layers, the latter one named `goes on`."""
    layer = builder.add_loop(name, input_name=source, max_iterations=times or None)
    body(inside(layer.loop.bodyNetwork))
    if condition:
        layer.loop.conditionVar = "goes on"
        condition(inside(layer.loop.conditionNetwork))


def run(layers, **inputs):
    return run_network(layers, **inputs)[0]


# Branches


@pytest.mark.parametrize(("condition", "holds"), [(1, True), (-3, True), (1e-3, True), (0, False), (1e-7, False)])
def test_branch(condition, holds):
    def layers(b):
        fork(b, "c", lambda i: put(i, "x", "y", "MULTIPLY", 10), lambda i: put(i, "x", "y", "ADD", 10))

    found = run(layers, x=X, c=np.float32([condition]))
    np.testing.assert_allclose(found, X * 10 if holds else X + 10, rtol=1e-6)


@pytest.mark.parametrize("condition", [YES, NO])
def test_branch_without_else_changes_an_array_or_leaves_it(condition):
    def layers(b):
        b.add_copy("first", "x", "y")
        fork(b, "c", lambda i: put(i, "y", "y", "ADD", 1))

    np.testing.assert_allclose(run(layers, x=X, c=condition), X + condition, rtol=1e-6)


@pytest.mark.parametrize("outer", [YES, NO])
@pytest.mark.parametrize("inner", [YES, NO])
def test_branch_in_a_branch(outer, inner):
    def layers(b):
        b.add_copy("first", "x", "y")
        fork(
            b,
            "outer",
            lambda i: fork(i, "inner", lambda j: put(j, "y", "y", "ADD", 1), lambda j: put(j, "y", "y", "ADD", 2)),
            lambda i: put(i, "y", "y", "ADD", 4),
        )

    expected = X + ((1 if inner else 2) if outer else 4)
    np.testing.assert_allclose(run(layers, x=X, outer=outer, inner=inner), expected, rtol=1e-6)


@pytest.mark.parametrize("condition", [YES, NO])
def test_branches_that_make_different_shapes(condition):
    def layers(b):
        fork(
            b,
            "c",
            lambda i: i.add_concat_nd("twice", ["x", "x"], "made", axis=0),
            lambda i: i.add_copy("once", "x", "made"),
        )
        put(b, "made", "y", "ADD", 1)

    expected = np.concatenate([X, X]) + 1 if condition else X + 1
    np.testing.assert_allclose(run(layers, x=X, c=condition), expected, rtol=1e-6)


@pytest.mark.parametrize("condition", [YES, NO])
def test_branch_of_a_network_of_five_axes(condition):
    """The arrays of the first versions, whose leading axes the graph leaves out where it can."""

    def layers(b):
        fork(b, "c", lambda i: put(i, "x", "y", "MULTIPLY", 2), lambda i: i.add_copy("same", "x", "y"))

    x = numbers(2, 3, 5)
    (found,) = run_network(layers, exact=False, x=x, c=condition)
    np.testing.assert_allclose(found, x * 2 if condition else x, rtol=1e-6)


# Loops


@pytest.mark.parametrize("times", [1, 5])
def test_loop_of_a_fixed_number_of_iterations(times):
    def layers(b):
        b.add_copy("first", "x", "y")
        repeat(b, lambda i: put(i, "y", "y", "ADD", 2), times)

    np.testing.assert_allclose(run(layers, x=X), X + 2 * times, rtol=1e-6)


@pytest.mark.parametrize("times", [0, 1, 3])
def test_loop_of_a_computed_number_of_iterations(times):
    def layers(b):
        b.add_copy("first", "x", "y")
        repeat(b, lambda i: put(i, "y", "y", "MULTIPLY", 2), source="n", times=9)

    np.testing.assert_allclose(run(layers, x=X, n=np.float32([times])), X * 2**times, rtol=1e-6)


@pytest.mark.parametrize(("start", "limit"), [(0, 0), (4.5, 0), (9, 0), (0, 3)])
def test_loop_with_a_condition(start, limit):
    def layers(b):
        b.add_copy("first", "x", "y")
        repeat(b, lambda i: put(i, "y", "y", "ADD", 2), limit, condition=lambda i: less_than(i, "y", "goes on", 7))

    expected, count = start, 0
    while expected < 7 and (not limit or count < limit):
        expected, count = expected + 2, count + 1
    np.testing.assert_allclose(run(layers, x=np.float32([start])), [expected])


def test_condition_that_changes_an_array():
    """It is computed once before the loop and after each iteration."""

    def condition(i):
        put(i, "y", "y", "ADD", 100)
        less_than(i, "y", "goes on", 250)

    def layers(b):
        b.add_copy("first", "x", "y")
        repeat(b, lambda i: put(i, "y", "y", "ADD", 1), condition=condition)

    np.testing.assert_allclose(run(layers, x=np.float32([0])), [302])


def test_loop_that_makes_an_array_longer():
    def body(i):
        i.add_concat_nd("longer", ["y", "x"], "longer", axis=0)
        i.add_copy("back", "longer", "y")

    def layers(b):
        b.add_copy("first", "x", "y")
        repeat(b, body, 3)

    np.testing.assert_array_equal(run(layers, x=X), np.tile(X, 4))


def test_loop_that_changes_the_number_of_axes_is_refused():
    def body(i):
        i.add_expand_dims("deeper", "y", "deeper", [0])
        i.add_copy("back", "deeper", "y")

    def layers(b):
        b.add_copy("first", "x", "y")
        repeat(b, body, 2)

    with pytest.raises(RequantError, match=r"'loop' of type loop.*'y' has another number of axes"):
        run(layers, x=X)


def test_arrays_that_a_loop_makes_are_there_after_it():
    def body(i):
        put(i, "count", "count", "ADD", 1)
        put(i, "count", "made", "MULTIPLY", 10)

    def layers(b):
        b.add_copy("first", "n", "count")
        repeat(b, body, 4)
        put(b, "made", "y", "ADD", 0.5)

    np.testing.assert_allclose(run(layers, n=np.float32([2])), [60.5])


@pytest.mark.parametrize(("limit", "expected"), [(100, 7), (2, 6)])
def test_an_array_that_a_loop_makes_after_a_possible_break_is_there_after_it(limit, expected):
    def body(i):
        i.add_less_than("reached", ["limit", "x"], "reached")
        fork(i, "reached", lambda taken: taken.add_loop_break("stop"))
        i.add_elementwise("five more", ["x"], "five more", "ADD", 4)
        put(i, "x", "x", "ADD", 1)

    def layers(b):
        b.add_load_constant_nd("limit", "limit", np.float32([limit]), [1])
        b.add_copy("start", "begin", "x")
        repeat(b, body, 3)
        b.add_copy("end", "five more", "y")

    np.testing.assert_array_equal(run_network(layers, begin=np.float32([1]))[0], [expected])


def test_an_output_that_only_a_loop_makes():
    def layers(b):
        repeat(b, lambda i: put(i, "x", "y", "ADD", 1), 2)

    np.testing.assert_allclose(run(layers, x=X), X + 1, rtol=1e-6)


def test_loop_in_a_loop():
    def body(i):
        repeat(i, lambda j: put(j, "y", "y", "ADD", 1), 3, name="inner")
        put(i, "y", "y", "MULTIPLY", 2)

    def layers(b):
        b.add_copy("first", "x", "y")
        repeat(b, body, 2)

    np.testing.assert_allclose(run(layers, x=X), ((X + 3) * 2 + 3) * 2, rtol=1e-6)


def test_loop_in_a_branch():
    def layers(b):
        b.add_copy("first", "x", "y")
        fork(b, "c", lambda i: repeat(i, lambda j: put(j, "y", "y", "ADD", 1), 3))

    np.testing.assert_allclose(run(layers, x=X, c=YES), X + 3, rtol=1e-6)
    np.testing.assert_array_equal(run(layers, x=X, c=NO), X)


# Leaving a loop


def leaving(leave, limit):
    """Return a body: y grows by 1; where it is not below a limit, the loop is left; y grows by 10."""

    def body(i):
        put(i, "y", "y", "ADD", 1)
        less_than(i, "y", "is below", limit)
        fork(i, "is below", None, leave)
        put(i, "y", "y", "ADD", 10)

    return body


def left(start, limit, times, ends):
    for _ in range(times):
        start += 1
        if start >= limit:
            if ends:
                break
            continue
        start += 10
    return start


@pytest.mark.parametrize("start", [0, 14, 30])
@pytest.mark.parametrize("ends", [True, False])
def test_break_and_continue_in_a_branch(start, ends):
    def leave(i):
        i.add_loop_break("leave") if ends else i.add_loop_continue("leave")

    def layers(b):
        b.add_copy("first", "x", "y")
        repeat(b, leaving(leave, 25), 5)

    np.testing.assert_allclose(run(layers, x=np.float32([start])), [left(start, 25, 5, ends)])


def test_break_does_not_ask_the_condition_again():
    def condition(i):
        put(i, "asked", "asked", "ADD", 1)
        less_than(i, "asked", "goes on", 100)

    def layers(b):
        b.add_copy("first", "x", "y")
        b.add_copy("second", "x", "asked")
        repeat(b, leaving(lambda i: i.add_loop_break("leave"), 25), condition=condition)

    found = run_network(layers, outputs=("y", "asked"), x=np.float32([0]))
    np.testing.assert_allclose(found, [[34], [4]])  # 11, 22, 33, and 34 is above the limit


def test_break_that_no_branch_holds_does_not_ask_the_condition_again():
    def body(i):
        i.add_loop_break("leave")

    def condition(i):
        put(i, "y", "y", "ADD", 1)
        less_than(i, "y", "goes on", 100)

    def layers(b):
        b.add_copy("first", "x", "y")
        repeat(b, body, condition=condition)

    np.testing.assert_allclose(run(layers, x=np.float32([0])), [1])


def test_break_and_continue_at_the_end_of_the_layers_that_run():
    for leave, expected in (("add_loop_break", 1), ("add_loop_continue", 4)):

        def body(i, leave=leave):
            put(i, "y", "y", "ADD", 1)
            getattr(i, leave)("leave")
            put(i, "y", "y", "ADD", 100)

        def layers(b, body=body):
            b.add_copy("first", "x", "y")
            repeat(b, body, 4)

        np.testing.assert_allclose(run(layers, x=np.float32([0])), [expected])


def test_break_two_branches_deep_leaves_the_inner_loop_only():
    def deep(i):
        less_than(i, "y", "is small", 1000)
        fork(i, "is small", lambda j: j.add_loop_break("leave"))
        put(i, "y", "y", "ADD", 5000)

    def body(i):
        repeat(i, leaving(deep, 25), 9, name="inner")
        put(i, "y", "y", "ADD", 0.5)

    def layers(b):
        b.add_copy("first", "x", "y")
        repeat(b, body, 2)

    expected = left(left(0, 25, 9, True) + 0.5, 25, 9, True) + 0.5
    np.testing.assert_allclose(run(layers, x=np.float32([0])), [expected])


def test_break_outside_of_a_loop_is_refused():
    model = network(lambda b: b.add_loop_break("leave"), {"x": (4,)}, exact=True)
    with pytest.raises(RequantError, match=r"'leave' of type loopBreak .* not within the body of a loop"):
        OnnxRunner(model)


def test_loop_without_iterations_is_passed_over():
    def layers(b):
        b.add_copy("first", "x", "y")
        repeat(b, lambda i: put(i, "y", "y", "ADD", 1))

    np.testing.assert_array_equal(run(layers, x=X), X)
