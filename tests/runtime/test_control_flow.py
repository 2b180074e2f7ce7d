"""Conditions, loops and lists of ML Programs, against the same in Python."""

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import get_new_symbol

from requant.errors import RequantError
from requant.runtime.onnx_runner import OnnxRunner
from tests.building import numbers, program
from tests.runtime.reference import close
from tests.runtime.running import run_program

A, B = numbers(2, 3), numbers(2, 3, seed=1)


def positive(x):
    """Return whether the sum of a tensor is positive."""
    return mb.greater(x=mb.reduce_sum(x=x, keep_dims=False), y=0.0)


def both(function, opened=False, b=B):
    """Run a function of two inputs with a positive and with a negative first one."""
    for a in (abs(A), -abs(A)):
        shapes = [mb.TensorSpec((get_new_symbol(), 3)) for _ in range(2)] if opened else None
        yield a, *run_program(function, a, b, shapes=shapes)


@pytest.mark.parametrize("opened", [False, True])
def test_cond(opened):
    def function(x, y):
        return mb.cond(pred=positive(x), _true_fn=lambda: mb.add(x=x, y=y), _false_fn=lambda: mb.mul(x=x, y=y))

    for a, found in both(function, opened):
        close(found, a + B if a.sum() > 0 else a * B)


def test_cond_with_several_results():
    def function(x, y):
        return mb.cond(
            pred=positive(x), _true_fn=lambda: (mb.add(x=x, y=y), mb.relu(x=y)), _false_fn=lambda: (y, mb.abs(x=x))
        )

    for a, *found in both(function):
        expected = (a + B, np.maximum(B, 0)) if a.sum() > 0 else (B, abs(a))
        for ours, theirs in zip(found, expected, strict=True):
            close(ours, theirs)


def test_a_branch_may_return_an_outer_tensor_or_a_constant():
    def function(x, y):
        return mb.cond(
            pred=positive(x), _true_fn=lambda: mb.const(val=np.full((2, 3), 7, np.float32)), _false_fn=lambda: y
        )

    for a, found in both(function):
        close(found, np.full((2, 3), 7.0) if a.sum() > 0 else B)


def test_branches_of_different_shapes():
    def function(x, y):
        return mb.cond(
            pred=positive(x), _true_fn=lambda: mb.reduce_sum(x=x, axes=[0], keep_dims=True), _false_fn=lambda: y
        )

    for a, found in both(function, True):
        close(found, a.sum(0, keepdims=True) if a.sum() > 0 else B)


def test_conditions_in_conditions():
    def function(x, y):
        def inner():
            return mb.cond(
                pred=positive(y), _true_fn=lambda: mb.add(x=mb.relu(x=x), y=y), _false_fn=lambda: mb.sub(x=x, y=y)
            )

        return mb.cond(pred=positive(x), _true_fn=inner, _false_fn=lambda: mb.mul(x=x, y=y))

    for b in (abs(B), -abs(B)):
        for a, found in both(function, b=b):
            inner = np.maximum(a, 0) + b if b.sum() > 0 else a - b
            close(found, inner if a.sum() > 0 else a * b)


def test_the_result_of_a_condition_is_used_further():
    def function(x, y):
        chosen = mb.cond(pred=positive(x), _true_fn=lambda: mb.add(x=x, y=1.0), _false_fn=lambda: mb.sub(x=x, y=1.0))
        return mb.mul(x=chosen, y=y)

    for a, found in both(function):
        close(found, (a + np.sign(a.sum())) * B)


def counted(times, body, *variables):
    """Add a loop that runs `times` times; `body` takes and returns the variables after the counter."""

    def step(i, *rest):
        results = body(i, *rest)
        return (mb.add(x=i, y=1), *(results if isinstance(results, tuple) else (results,)))

    results = mb.while_loop(
        _cond=lambda i, *rest: mb.less(x=i, y=times),
        _body=step,
        loop_vars=(mb.const(val=np.int32(0)), *variables),
    )
    return results[1:]


@pytest.mark.parametrize("times", [0, 1, 5])
def test_while_loop(times):
    def function(x, y):
        return counted(times, lambda _, total: mb.add(x=total, y=y), x)[0]

    close(run_program(function, A, B)[0], A + times * B)


def test_a_loop_ends_by_what_it_computes():
    def function(x):
        return mb.while_loop(
            _cond=lambda x: mb.less(x=mb.reduce_sum(x=x, keep_dims=False), y=100.0),
            _body=lambda x: mb.mul(x=x, y=2.0),
            loop_vars=(x,),
        )

    expected = abs(A)
    while expected.sum() < 100:
        expected = expected * 2
    close(run_program(function, abs(A))[0], expected)


def test_loops_in_loops():
    def function(x, y):
        def outer(_, total):
            (inner,) = counted(3, lambda _, inner: mb.add(x=inner, y=y), total)
            return mb.mul(x=inner, y=0.5)

        return counted(4, outer, x)[0]

    expected = A
    for _ in range(4):
        expected = (expected + 3 * B) * 0.5
    close(run_program(function, A, B)[0], expected)


def test_a_condition_in_a_loop_and_a_loop_in_a_condition():
    def function(x, y):
        def body(_, total):
            return mb.cond(pred=positive(total), _true_fn=lambda: mb.sub(x=total, y=y), _false_fn=lambda: y)

        def loop():
            return counted(3, body, x)[0]

        return mb.cond(pred=positive(x), _true_fn=loop, _false_fn=lambda: x)

    for a, found in both(function):
        expected = a
        for _ in range(3 if a.sum() > 0 else 0):
            expected = expected - B if expected.sum() > 0 else B
        close(found, expected)


def test_a_variable_that_grows():
    specification = mb.TensorSpec((get_new_symbol(), 3))

    def function(x):
        return mb.while_loop(
            _cond=lambda x: mb.less(x=mb.gather(x=mb.shape(x=x), indices=0, axis=0), y=9),
            _body=lambda x: mb.concat(values=[x, mb.add(x=x, y=1.0)], axis=0),
            loop_vars=(x,),
        )

    for rows in (2, 5, 9):
        expected = x = numbers(rows, 3)
        while len(expected) < 9:
            expected = np.concatenate([expected, expected + 1])
        close(run_program(function, x, shapes=[specification])[0], expected)


def test_variables_that_change_places_and_constants_as_variables():
    def function(x):
        second = mb.const(val=np.ones((2, 3), np.float32))
        return counted(3, lambda _, a, b: (mb.add(x=b, y=0.0), mb.add(x=a, y=b)), x, second)

    first, second = A, np.ones((2, 3))
    for _ in range(3):
        first, second = second, first + second
    found = run_program(function, A)
    close(found[0], first)
    close(found[1], second)


def test_a_variable_that_stays():
    def function(x, y):
        return counted(2, lambda _, a, b: (a, mb.add(x=a, y=b)), x, y)

    found = run_program(function, A, B)
    close(found[0], A)
    close(found[1], 2 * A + B)


# Lists


@pytest.mark.parametrize("dynamic", [True, False])
def test_a_list_is_written_and_read(dynamic):
    def function(x, y):
        elements = mb.make_list(init_length=3, elem_shape=(2, 3), dynamic_length=dynamic)
        elements = mb.list_write(ls=elements, index=0, value=x)
        elements = mb.list_write(ls=elements, index=2, value=y)
        read = mb.list_read(ls=elements, index=2)
        return read, mb.list_gather(ls=elements, indices=[2, 0, 1]), mb.list_length(ls=elements)

    read, gathered, length = run_program(function, A, B)
    close(read, B)
    close(gathered, [B, A, np.zeros((2, 3))])
    assert length.item() == 3


def test_a_list_grows_when_it_is_written():
    def function(x, y):
        elements = mb.make_list(init_length=1, elem_shape=(2, 3), dynamic_length=True)
        elements = mb.list_write(ls=elements, index=0, value=x)
        elements = mb.list_write(ls=elements, index=3, value=y)
        return mb.list_length(ls=elements), mb.list_gather(ls=elements, indices=[0, 3])

    length, gathered = run_program(function, A, B)
    assert length.item() == 4
    close(gathered, [A, B])


def test_a_list_is_scattered():
    value = numbers(2, 2, 3, seed=5)

    def function(x, y):
        elements = mb.make_list(init_length=4, elem_shape=(2, 3), dynamic_length=False)
        elements = mb.list_write(ls=elements, index=1, value=x)
        return mb.list_gather(ls=mb.list_scatter(ls=elements, indices=[3, 0], value=y), indices=[0, 1, 2, 3])

    (found,) = run_program(function, A, value)
    close(found, [value[1], A, np.zeros((2, 3)), value[0]])


def test_a_list_in_a_loop():
    """So a recurrent network of another framework arrives: a list that is filled step by step."""
    steps = numbers(5, 2, 3)

    def function(x, state):
        source = mb.make_list(init_length=5, elem_shape=(2, 3), dynamic_length=False)
        source = mb.list_scatter(ls=source, indices=list(range(5)), value=x)
        results = mb.make_list(init_length=1, elem_shape=(2, 3), dynamic_length=True)

        def body(i, state, results):
            state = mb.tanh(x=mb.add(x=state, y=mb.list_read(ls=source, index=i)))
            return state, mb.list_write(ls=results, index=i, value=state)

        state, results = counted(5, body, state, results)
        return state, mb.list_gather(ls=results, indices=list(range(5)))

    expected, state = [], A
    for step in steps:
        state = np.tanh(state + step)
        expected.append(state)
    found = run_program(function, steps, A)
    close(found[0], state)
    close(found[1], expected)


def test_a_list_of_elements_with_an_open_size():
    def function(x):
        elements = mb.make_list(init_length=1, elem_shape=("rows", 3), dynamic_length=True)
        elements = mb.list_write(ls=elements, index=0, value=x)
        elements = mb.list_write(ls=elements, index=1, value=mb.mul(x=x, y=2.0))
        return mb.list_gather(ls=elements, indices=[1, 0])

    for count in (1, 4):
        x = numbers(count, 3)
        close(run_program(function, x, shapes=[mb.TensorSpec((get_new_symbol(), 3))])[0], [2 * x, x])


@pytest.mark.parametrize("dtype", ["int32", "fp32", "bool"])
def test_lists_of_other_types(dtype):
    def function(x):
        elements = mb.make_list(init_length=2, elem_shape=(3,), dtype=dtype)
        elements = mb.list_write(ls=elements, index=1, value=mb.cast(x=x, dtype=dtype))
        return mb.cast(x=mb.list_gather(ls=elements, indices=[1, 0]), dtype="fp32")

    close(run_program(function, np.float32([3, 0, 1]))[0], [[1 if dtype == "bool" else 3, 0, 1], [0, 0, 0]])


@pytest.mark.parametrize("count", [1, 4])
def test_a_list_as_long_as_an_input(count):
    x = numbers(count, 3)

    def function(x):
        length = mb.gather(x=mb.shape(x=x), indices=0, axis=0)
        elements = mb.make_list(init_length=length, elem_shape=(3,), dynamic_length=False)

        def body(i, elements):
            row = mb.squeeze(x=mb.gather(x=x, indices=mb.expand_dims(x=i, axes=[0]), axis=0), axes=[0])
            return mb.add(x=i, y=1), mb.list_write(ls=elements, index=mb.sub(x=mb.sub(x=length, y=i), y=1), value=row)

        _, elements = mb.while_loop(
            _cond=lambda i, elements: mb.less(x=i, y=mb.list_length(ls=elements)),
            _body=body,
            loop_vars=(mb.const(val=np.int32(0)), elements),
        )
        return mb.list_gather(ls=elements, indices=mb.range_1d(start=0, end=length, step=1))

    close(run_program(function, x, shapes=[mb.TensorSpec((get_new_symbol(), 3))])[0], x[::-1])


def test_a_list_through_loops_in_loops_and_conditions():
    def function(x, y):
        elements = mb.make_list(init_length=1, elem_shape=(2, 3), dynamic_length=True)

        def outer(i, elements):
            def inner(j, elements):
                place = mb.add(x=mb.mul(x=i, y=2), y=j)
                value = mb.cond(
                    pred=mb.less(x=place, y=3), _true_fn=lambda: mb.add(x=x, y=y), _false_fn=lambda: mb.sub(x=x, y=y)
                )
                return mb.list_write(ls=elements, index=place, value=value)

            return counted(2, inner, elements)[0]

        (elements,) = counted(2, outer, elements)
        return mb.list_gather(ls=elements, indices=[0, 1, 2, 3]), mb.list_length(ls=elements)

    found, length = run_program(function, A, B)
    close(found, [A + B, A + B, A + B, A - B])
    assert length.item() == 4


# Edges of a program


def test_select():
    def function(x, y):
        return mb.select(cond=mb.greater(x=x, y=0.0), a=x, b=y)

    close(run_program(function, A, B)[0], np.where(A > 0, A, B))


def test_an_input_and_a_constant_as_outputs_and_an_input_that_is_not_used():
    def function(x, y):
        return x, mb.add(x=mb.const(val=A), y=mb.const(val=np.float32(1)))

    found = run_program(function, A, B)
    close(found[0], A)
    close(found[1], A + 1)


def test_one_tensor_as_two_outputs():
    def function(x):
        y = mb.relu(x=x)
        return y, mb.identity(x=y), y

    for found in run_program(function, A):
        close(found, np.maximum(A, 0))


def test_a_missing_output_is_no_silent_omission():
    """What the model declares and its program does not make is named."""
    model = program(lambda x: mb.relu(x=x), (2, 3), plain=True)
    model.spec.description.output[0].name = "elsewhere"
    with pytest.raises(RequantError, match="declares the output 'elsewhere'"):
        OnnxRunner(model)
