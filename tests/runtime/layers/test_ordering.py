import numpy as np
import pytest

from tests.building import numbers
from tests.runtime.reference import close
from tests.runtime.running import add_layer, run_network

A = numbers(4, 6, 5)
OPENED = pytest.mark.parametrize("opened", [(), ("x",)], ids=["known", "open"])


@OPENED
def test_reversal(opened):
    found = run_network(add_layer("reverse", reverse_dim=[True, False, True]), opened=opened, x=A)[0]
    close(found, A[::-1, :, ::-1])


@OPENED
@pytest.mark.parametrize(("batch", "time"), [(0, 1), (0, 2), (1, 2)])
def test_reversal_of_sequences(batch, time, opened):
    lengths = np.arange(A.shape[batch]) % (A.shape[time] + 1)
    expected = np.moveaxis(A, (batch, time), (0, 1)).copy()
    for i, length in enumerate(lengths):
        expected[i, :length] = expected[i, :length][::-1]
    layers = add_layer("reverse_sequence", "n", batch_axis=batch, seq_axis=time)
    found = run_network(layers, opened=opened, x=A, n=lengths.astype(np.float32))[0]
    close(found, np.moveaxis(expected, (0, 1), (batch, time)))


@OPENED
@pytest.mark.parametrize("bottom", [False, True])
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("axis", [0, -2])
def test_greatest_and_least(axis, given, bottom, opened):
    def layers(b):
        sources = ["x", "k"] if given else ["x"]
        b.add_topk("topk", sources, ["y", "i"], k=0 if given else 3, axis=axis, use_bottom_k=bottom)

    inputs = {"k": np.float32([3])} if given else {}
    values, indices = run_network(layers, True, ("y", "i"), opened, x=A, **inputs)
    order = np.argsort(A if bottom else -A, axis).take(range(3), axis)
    close(indices, order)
    close(values, np.take_along_axis(A, order, axis))


@OPENED
@pytest.mark.parametrize("descending", [False, True])
def test_order(descending, opened):
    found = run_network(add_layer("argsort", axis=1, descending=descending), opened=opened, x=A)[0]
    close(found, np.argsort(-A if descending else A, 1))


@OPENED
@pytest.mark.parametrize(("method", "function"), [("argmax", np.argmax), ("argmin", np.argmin)])
@pytest.mark.parametrize("keeps", [False, True])
def test_where_the_extreme_is(method, function, keeps, opened):
    found = run_network(add_layer(method, axis=-2, keepdims=keeps), opened=opened, x=A)[0]
    close(found, function(A, -2, keepdims=keeps))
    close(run_network(add_layer(method, axis=0, keepdims=keeps), x=A[0, 0])[0], [function(A[0, 0])])


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("exclusive", [False, True])
def test_sums_up_to_each_number(given, turned, exclusive):
    def layers(b):
        b.add_cumsum("sum", ["x", "a"] if given else ["x"], "y", axis=0 if given else 1,
                     reverse=turned, exclusive=exclusive)  # fmt: skip

    x = A[:, ::-1] if turned else A
    sums = np.cumsum(x, 1) - (x if exclusive else 0)
    found = run_network(layers, x=A, **({"a": np.float32([1])} if given else {}))[0]
    close(found, sums[:, ::-1] if turned else sums)
