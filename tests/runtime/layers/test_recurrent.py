import numpy as np
import pytest
from scipy import special

from requant.runtime.onnx_runner import OnnxRunner
from tests.building import network, numbers
from tests.runtime.reference import close, gru_steps, lstm_steps, rnn_steps
from tests.runtime.running import run_network

STEPS, BATCH, INPUT, HIDDEN = 5, 2, 4, 3
X = numbers(STEPS, BATCH, INPUT)
H, C = numbers(BATCH, HIDDEN), numbers(BATCH, HIDDEN, seed=1)
SATURATING = [special.expit, np.tanh, np.tanh]


def spread(x):
    """Return vectors with the axes of the format."""
    return x[..., np.newaxis, np.newaxis] if x.ndim == 3 else x[np.newaxis, ..., np.newaxis, np.newaxis]


def lists(count, seed=0):
    """Return weights of the state, of the input and biases, gate by gate."""
    return (
        [numbers(HIDDEN, HIDDEN, seed=seed + i, scale=0.5) for i in range(count)],
        [numbers(HIDDEN, INPUT, seed=seed + i, scale=0.5) for i in range(count)],
        [numbers(HIDDEN, seed=seed + i) for i in range(count)],
    )


def run(layers, outputs, exact=True, **states):
    found = run_network(layers, exact, outputs, x=spread(X), **{name: spread(s) for name, s in states.items()})
    return [result.reshape(result.shape[:3]) for result in found]


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", ["TANH", "RELU", "LINEAR"])
def test_simple_recurrent(name, reverse, whole):
    weights, hidden, bias = numbers(HIDDEN, INPUT, scale=30), numbers(HIDDEN, HIDDEN), numbers(HIDDEN)
    found = run(
        lambda b: b.add_simple_rnn(
            "l", hidden, weights, bias, HIDDEN, INPUT, name, ["x", "h"], ["y", "y_h"], whole, reverse
        ),
        ("y", "y_h"), h=H,
    )  # fmt: skip
    function = {"TANH": np.tanh, "RELU": lambda x: np.maximum(x, 0), "LINEAR": lambda x: x}[name]
    order = X[::-1] if reverse else X
    outputs, last = rnn_steps(order, weights, hidden, bias, H, function, limit=50)
    close(found[0], outputs if whole else outputs[-1:], 1e-4)
    close(found[1], last[np.newaxis], 1e-4)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_gru(reverse, whole):
    weights = lists(3)
    found = run(
        lambda b: b.add_gru(
            "l", *weights, HIDDEN, INPUT, ["x", "h"], ["y", "y_h"], output_all=whole, reverse_input=reverse,
            inner_activation="SIGMOID",
        ),
        ("y", "y_h"), h=H,
    )  # fmt: skip
    inputs, hidden, biases = ([each[1], each[2], each[0]] for each in (weights[1], weights[0], weights[2]))
    parts = [np.concatenate(each) for each in (inputs, hidden, biases)]
    outputs, last = gru_steps(X[::-1] if reverse else X, *parts, H, SATURATING[:2])
    close(found[0], outputs if whole else outputs[-1:])
    close(found[1], last[np.newaxis])


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    "options",
    [{}, {"peep": True}, {"cell_clip_threshold": 0.4}, {"coupled_input_forget_gate": True}, {"forget_bias": True}],
)
def test_lstm(options, reverse, whole):
    weights = lists(4)
    peep = [numbers(HIDDEN, seed=9 + i) for i in range(3)] if "peep" in options else None
    given = {k: v for k, v in options.items() if k != "peep"}
    found = run(
        lambda b: b.add_unilstm(
            "l", *weights, HIDDEN, INPUT, ["x", "h", "c"], ["y", "y_h", "y_c"],
            peep=peep, output_all=whole, reverse_input=reverse, **given,
        ),
        ("y", "y_h", "y_c"), h=H, c=C,
    )  # fmt: skip
    inputs, hidden, biases = (ordered(each) for each in (weights[1], weights[0], weights[2]))
    biases = biases + np.repeat([0, 1, 0, 0], HIDDEN) if "forget_bias" in options else biases
    outputs, h, c = lstm_steps(
        X[::-1] if reverse else X, inputs, hidden, biases, H, C, SATURATING,
        np.concatenate(peep) if peep else None, options.get("cell_clip_threshold", 50),
        options.get("coupled_input_forget_gate", False),
    )  # fmt: skip
    for result, expected in zip(found, (outputs if whole else outputs[-1:], h[np.newaxis], c[np.newaxis]), strict=True):
        close(result, expected)


def ordered(each):
    """Return gates input, forget, output, block input, which coremltools' builder takes in this order."""
    return np.concatenate(each)


@pytest.mark.parametrize("whole", [False, True])
def test_lstm_in_both_directions(whole):
    forward, backward = lists(4), lists(4, seed=20)
    h, c = numbers(BATCH, HIDDEN, seed=5), numbers(BATCH, HIDDEN, seed=6)
    names = ("y", "y_h", "y_c", "y_hb", "y_cb")

    def layers(b):
        b.add_bidirlstm(
            "l", *forward, *backward, HIDDEN, INPUT, ["x", "h", "c", "hb", "cb"], list(names), output_all=whole
        )

    found = run(layers, names, h=H, c=C, hb=h, cb=c)
    first = lstm_steps(X, *(ordered(forward[i]) for i in (1, 0, 2)), H, C, SATURATING)
    second = lstm_steps(X[::-1], *(ordered(backward[i]) for i in (1, 0, 2)), h, c, SATURATING)
    outputs = np.concatenate([first[0], second[0][::-1]], -1)
    last = np.concatenate([first[1], second[1]], -1)[np.newaxis]
    expected = [outputs if whole else last, *(s[np.newaxis] for s in (*first[1:], *second[1:]))]
    for result, wanted in zip(found, expected, strict=True):
        close(result, wanted)


@pytest.mark.parametrize("whole", [False, True])
def test_sequences_of_the_first_versions_begin_with_zeros(whole):
    weights = lists(4)
    x = numbers(STEPS, 1, INPUT)
    model = network(
        lambda b: b.add_unilstm("l", *weights, HIDDEN, INPUT, ["x"], ["y"], output_all=whole), {"x": (INPUT,)}
    )
    found = OnnxRunner(model).predict({"x": x})["y"]
    inputs, hidden, biases = (ordered(each) for each in (weights[1], weights[0], weights[2]))
    nothing = np.zeros((1, HIDDEN))
    outputs, _, _ = lstm_steps(x, inputs, hidden, biases, nothing, nothing, SATURATING)
    close(found.reshape(-1, HIDDEN), (outputs if whole else outputs[-1:]).reshape(-1, HIDDEN))


@pytest.mark.parametrize(("factors", "function"), [
    ({}, np.tanh),
    ({"alpha": 1.7159, "beta": 2 / 3}, lambda x: 1.7159 * np.tanh(2 / 3 * x)),
])  # fmt: skip
def test_factors_of_an_activation(factors, function):
    weights, hidden, bias = numbers(HIDDEN, INPUT), numbers(HIDDEN, HIDDEN), numbers(HIDDEN)

    def layers(b):
        b.add_simple_rnn("l", hidden, weights, bias, HIDDEN, INPUT, "SCALED_TANH", ["x", "h"], ["y", "y_h"], True)
        activation = b.spec.neuralNetwork.layers[0].simpleRecurrent.activation.scaledTanh
        for name, value in factors.items():
            setattr(activation, name, value)

    found = run(layers, ("y", "y_h"), h=H)
    outputs, last = rnn_steps(X, weights, hidden, bias, H, function)
    close(found[0], outputs)
    close(found[1], last[np.newaxis])
