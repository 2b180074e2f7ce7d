"""The float16 of a program, followed operation by operation or not, and the types of inputs and outputs."""

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import types

from requant.runtime.onnx_runner import OnnxRunner
from tests.building import FLOAT16, FLOAT32, IOS16, as_model, numbers, program
from tests.runtime.reference import close

X = numbers(4, 8)


def rounded(function, precision):
    model = program(function, mb.TensorSpec(X.shape, types.fp16), target=IOS16, plain=True)
    runner = OnnxRunner(model, precision=precision)
    return runner.predict({"x": X})[runner.outputs[0].name]


def test_float16_is_rounded_after_each_operation():
    def function(x):
        return mb.sub(x=mb.mul(x=mb.add(x=x, y=np.float16(2.3)), y=np.float16(1.7)), y=np.float16(3.9))

    numbers16 = X.astype(np.float16)
    expected = (numbers16 + np.float16(2.3)) * np.float16(1.7) - np.float16(3.9)
    np.testing.assert_array_equal(rounded(function, "float16"), expected.astype(np.float32))
    exact = (X * 1.0 + np.float16(2.3)) * np.float16(1.7) - np.float16(3.9)
    found = rounded(function, "float32")
    assert (found != expected).any()
    close(found, exact, 2e-3)


def test_float16_overflows_to_infinity():
    def function(x):
        return mb.mul(x=mb.add(x=mb.mul(x=x, y=np.float16(0)), y=np.float16(60000)), y=np.float16(2))

    assert np.isinf(rounded(function, "float16")).all()


def test_float32_of_a_program_is_never_rounded():
    model = program(lambda x: mb.mul(x=x, y=np.float32(1.1)), (4, 8), plain=True)
    runners = [OnnxRunner(model, precision=precision) for precision in ("float32", "float16")]
    first, second = (runner.predict({"x": X})[runner.outputs[0].name] for runner in runners)
    np.testing.assert_array_equal(first, second)


def test_float16_in_conditions_and_loops():
    def function(x):
        def body(x):
            return mb.cond(
                pred=mb.less(x=mb.reduce_max(x=x, keep_dims=False), y=np.float16(3)),
                _true_fn=lambda: mb.mul(x=x, y=np.float16(1.3)),
                _false_fn=lambda: mb.add(x=x, y=np.float16(0.7)),
            )

        return mb.while_loop(
            _cond=lambda x: mb.less(x=mb.reduce_max(x=x, keep_dims=False), y=np.float16(9)), _body=body, loop_vars=(x,)
        )

    expected = X.astype(np.float16)
    while expected.max() < 9:
        expected = expected * np.float16(1.3) if expected.max() < 3 else expected + np.float16(0.7)
    np.testing.assert_array_equal(rounded(function, "float16"), expected.astype(np.float32))


@pytest.mark.parametrize("given", [np.float16, np.float32, np.float64, np.int32, np.uint8])
@pytest.mark.parametrize("declared", [np.float16, np.float32, np.int32])
def test_arrays_of_every_type_go_in_and_the_declared_one_comes_out(declared, given):
    kind = {np.float16: types.fp16, np.float32: types.fp32, np.int32: types.int32}[declared]
    made = mb.program(input_specs=[mb.TensorSpec((2, 3), kind)], opset_version=IOS16)(
        lambda x: mb.add(x=x, y=declared(2), name="y")
    )
    model = ct.convert(
        made,
        inputs=[ct.TensorType("x", (2, 3), dtype=declared)],
        outputs=[ct.TensorType("y", dtype=declared)],
        minimum_deployment_target=IOS16,
        compute_precision=FLOAT16 if declared == np.float16 else FLOAT32,
        skip_model_load=True,
    )
    runner = OnnxRunner(as_model(model))
    assert (runner.inputs[0].dtype, runner.outputs[0].dtype) == (np.dtype(declared).name,) * 2
    found = runner.predict({"x": np.arange(6).reshape(2, 3).astype(given)})["y"]
    assert found.dtype == declared
    np.testing.assert_array_equal(found, np.arange(6).reshape(2, 3) + 2)
