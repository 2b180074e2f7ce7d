"""Programs that remember something from one prediction to the next."""

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import types

from requant.errors import RequantError
from requant.runtime.onnx_runner import OnnxRunner
from tests.building import FLOAT16, IOS18, numbers, program
from tests.runtime.reference import close

STEPS = numbers(4, 2, 3, scale=0.5)


def stateful(function, *names, **options):
    """Return a runner of a program of x (2, 3) and of states of that shape."""
    states = [mb.StateTensorSpec((2, 3), dtype=types.fp16) for _ in names]
    model = program(function, mb.TensorSpec((2, 3), types.fp16), *states, target=IOS18, plain=True, **options)
    return OnnxRunner(model)


def accumulating():
    def function(x, total):
        value = mb.add(x=mb.read_state(input=total), y=x)
        mb.coreml_update_state(state=total, value=value)
        return mb.mul(x=mb.read_state(input=total), y=np.float16(2))

    return stateful(function, "total")


def test_a_state_goes_on_from_prediction_to_prediction():
    runner = accumulating()
    state, other = runner.make_state(), runner.make_state()
    (output,) = runner.outputs
    for index, step in enumerate(STEPS, 1):
        close(runner.predict({"x": step}, state=state)[output.name], 2 * STEPS[:index].sum(0), 5e-3)
    close(runner.predict({"x": STEPS[0]}, state=other)[output.name], 2 * STEPS[0], 5e-3)
    close(state.read_state("total"), STEPS.sum(0), 5e-3)


def test_a_state_is_read_and_written():
    runner = accumulating()
    state = runner.make_state()
    assert state.names == ["total"]
    np.testing.assert_array_equal(state.read_state("total"), np.zeros((2, 3)))
    state.write_state("total", np.ones((2, 3)))
    (output,) = runner.outputs
    close(runner.predict({"x": STEPS[0]}, state=state)[output.name], 2 * (1 + STEPS[0]), 5e-3)
    with pytest.raises(RequantError, match="no state 'sum'; the model has total"):
        state.read_state("sum")
    with pytest.raises(RequantError, match=r"'total' has the shape \(2, 3\), not \(3, 2\)"):
        state.write_state("total", np.ones((3, 2)))


def test_a_stateful_model_wants_its_state():
    with pytest.raises(RequantError, match="give predict the state that make_state returns"):
        accumulating().predict({"x": STEPS[0]})


def test_the_state_of_another_model_is_refused():
    other = stateful(lambda x, memory: mb.add(x=x, y=mb.read_state(input=memory)), "memory")
    with pytest.raises(RequantError, match="'total'"):
        accumulating().predict({"x": STEPS[0]}, state=other.make_state())


def test_a_model_without_states_has_none():
    runner = OnnxRunner(program(lambda x: mb.relu(x=x), (2, 3)))
    assert runner.make_state().names == []


def test_two_states():
    def function(x, first, second):
        a, b = mb.read_state(input=first), mb.read_state(input=second)
        mb.coreml_update_state(state=first, value=mb.add(x=a, y=x))
        mb.coreml_update_state(state=second, value=mb.maximum(x=b, y=x))
        return mb.sub(x=mb.read_state(input=first), y=mb.read_state(input=second))

    runner = stateful(function, "first", "second")
    state = runner.make_state()
    total, greatest = np.zeros((2, 3)), np.zeros((2, 3))
    for step in STEPS:
        total, greatest = total + step, np.maximum(greatest, step)
        found = runner.predict({"x": step}, state=state)[runner.outputs[0].name]
        close(found, total - greatest, 5e-3)


def test_a_value_that_was_read_stays_when_the_state_is_written():
    def function(x, memory):
        before = mb.read_state(input=memory)
        mb.coreml_update_state(state=memory, value=x)
        return mb.identity(x=before)

    runner = stateful(function, "memory")
    state = runner.make_state()
    previous = np.zeros((2, 3))
    for step in STEPS:
        close(runner.predict({"x": step}, state=state)[runner.outputs[0].name], previous, 5e-3)
        previous = step


def test_a_state_in_a_condition():
    """A state is read and written within the branches of a condition."""

    def function(x, memory):
        def add():
            value = mb.add(x=mb.read_state(input=memory), y=x)
            mb.coreml_update_state(state=memory, value=value)
            return value

        positive = mb.greater(x=mb.reduce_sum(x=x, keep_dims=False), y=np.float16(0))
        return mb.cond(pred=positive, _true_fn=add, _false_fn=lambda: mb.read_state(input=memory))

    runner = stateful(function, "memory")
    state = runner.make_state()
    total = np.zeros((2, 3))
    for step in STEPS:
        total = total + step if step.sum() > 0 else total
        close(runner.predict({"x": step}, state=state)[runner.outputs[0].name], total, 5e-3)
        close(state.read_state("memory"), total, 5e-3)


def test_a_state_in_a_loop():
    def function(x, memory):
        def body(i):
            mb.coreml_update_state(state=memory, value=mb.add(x=mb.read_state(input=memory), y=x))
            return mb.add(x=i, y=1)

        mb.while_loop(_cond=lambda i: mb.less(x=i, y=3), _body=body, loop_vars=(np.int32(0),))
        return mb.read_state(input=memory)

    runner = stateful(function, "memory")
    state = runner.make_state()
    for count in (1, 2):
        found = runner.predict({"x": STEPS[0]}, state=state)[runner.outputs[0].name]
        close(found, 3 * count * STEPS[0], 1e-2)


def test_a_converted_model_with_a_state():
    """A state as `ct.convert` declares it, from torch."""
    torch = pytest.importorskip("torch")

    class Accumulator(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("total", torch.zeros(2, 3))

        def forward(self, x):
            self.total.add_(x)
            return self.total * 2

    traced = torch.jit.trace(Accumulator(), torch.zeros(2, 3))
    converted = ct.convert(
        traced,
        inputs=[ct.TensorType("x", (2, 3))],
        outputs=[ct.TensorType(name="y")],
        states=[ct.StateType(ct.TensorType(shape=(2, 3), dtype=np.float16), name="total")],
        minimum_deployment_target=ct.target.iOS18,
        compute_precision=FLOAT16,
        skip_model_load=True,
    )
    from tests.building import as_model

    runner = OnnxRunner(as_model(converted))
    state = runner.make_state()
    for index, step in enumerate(STEPS, 1):
        close(runner.predict({"x": step}, state=state)["y"], 2 * STEPS[:index].sum(0), 5e-3)
