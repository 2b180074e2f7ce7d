import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import get_new_symbol
from scipy import special

from tests.building import IOS15, numbers
from tests.runtime.reference import close, gru_steps, lstm_steps, rnn_steps
from tests.runtime.running import node_kinds, run_program

STEPS, BATCH, INPUT, HIDDEN = 6, 2, 4, 3
X, H, C = numbers(STEPS, BATCH, INPUT), numbers(BATCH, HIDDEN), numbers(BATCH, HIDDEN, seed=1)
FUNCTIONS = {
    "sigmoid": special.expit,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "hard_sigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "scaled_tanh": np.tanh,
    "linear": lambda x: x,
}


def gates(count, seed=0):
    """Return weights for the input and the state, and a bias."""
    return (
        numbers(count * HIDDEN, INPUT, seed=seed, scale=0.5),
        numbers(count * HIDDEN, HIDDEN, seed=seed + 1, scale=0.5),
        numbers(count * HIDDEN, seed=seed + 2),
    )


def opened(*states):
    return [mb.TensorSpec((get_new_symbol(), BATCH, INPUT)), *(mb.TensorSpec(s.shape) for s in states)]


@pytest.mark.parametrize("open_length", [False, True])
@pytest.mark.parametrize("steps", [1, STEPS])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("options", [
    {},
    {"bias": numbers(12)},
    {"bias": numbers(12), "peephole": numbers(9)},
    {"clip": 0.3, "peephole": numbers(9)},
    {"recurrent_activation": "hard_sigmoid", "cell_activation": "scaled_tanh", "activation": "linear"},
    {"activation": "relu"},
], ids=str)  # fmt: skip
def test_lstm(options, direction, whole, steps, open_length):
    weights, hidden, _ = gates(4)
    x = X[:steps]
    found = run_program(
        lambda x, h, c: mb.lstm(
            x=x, initial_h=h, initial_c=c, weight_ih=weights, weight_hh=hidden, direction=direction,
            output_sequence=whole, **options,
        ),
        x, H, C, shapes=opened(H, C) if open_length else None,
    )  # fmt: skip
    names = [options.get(k, d) for k, d in
             (("recurrent_activation", "sigmoid"), ("cell_activation", "tanh"), ("activation", "tanh"))]  # fmt: skip
    outputs, h, c = lstm_steps(
        x if direction == "forward" else x[::-1], weights, hidden, options.get("bias", 0), H, C,
        [FUNCTIONS[name] for name in names], options.get("peephole"), options.get("clip"),
    )  # fmt: skip
    for result, expected in zip(found, (outputs if whole else outputs[-1:], h, c), strict=True):
        close(result, expected)


@pytest.mark.parametrize("options", [{}, {"clip": 0.3}], ids=str)
@pytest.mark.parametrize("whole", [False, True])
def test_lstm_in_both_directions(whole, options):
    forward, backward = gates(4), gates(4, seed=5)
    peepholes = numbers(9), numbers(9, seed=1)
    h, c = numbers(BATCH, 2 * HIDDEN), numbers(BATCH, 2 * HIDDEN, seed=1)
    found = run_program(
        lambda x, h, c: mb.lstm(
            x=x, initial_h=h, initial_c=c, direction="bidirectional", output_sequence=whole,
            weight_ih=forward[0], weight_hh=forward[1], bias=forward[2], peephole=peepholes[0],
            weight_ih_back=backward[0], weight_hh_back=backward[1], bias_back=backward[2], peephole_back=peepholes[1],
            **options,
        ),
        X, h, c,
    )  # fmt: skip
    functions = [FUNCTIONS[name] for name in ("sigmoid", "tanh", "tanh")]
    limit = options.get("clip")
    first = lstm_steps(X, *forward, h[:, :HIDDEN], c[:, :HIDDEN], functions, peepholes[0], limit)
    second = lstm_steps(X[::-1], *backward, h[:, HIDDEN:], c[:, HIDDEN:], functions, peepholes[1], limit)
    last = [np.concatenate(pair, -1) for pair in zip(first[1:], second[1:], strict=True)]
    outputs = np.concatenate([first[0], second[0][::-1]], -1) if whole else last[0][np.newaxis]
    for result, expected in zip(found, (outputs, *last), strict=True):
        close(result, expected)


@pytest.mark.parametrize("open_length", [False, True])
@pytest.mark.parametrize("steps", [1, STEPS])
@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("names", [("sigmoid", "tanh"), ("hard_sigmoid", "linear")])
@pytest.mark.parametrize("version", ["plain", "iOS 18", "reset after"])
def test_gru(version, names, direction, steps, open_length):
    weights, hidden, bias = gates(3)
    options, x, other = {"bias": bias}, X[:steps], np.zeros_like(bias)
    if version != "plain":
        other = numbers(9, seed=7)
        options |= {"input_bias": other, "reset_after": version == "reset after"}
    found = run_program(
        lambda x, h: mb.gru(
            x=x, initial_h=h, weight_ih=weights, weight_hh=hidden, direction=direction, output_sequence=True,
            recurrent_activation=names[0], activation=names[1], **options,
        ),
        x, H, shapes=opened(H) if open_length else None,
        target=IOS15 if version == "plain" else ct.target.iOS18,
    )  # fmt: skip
    functions = [FUNCTIONS[name] for name in names]
    order = x if direction == "forward" else x[::-1]
    expected = gru_steps(order, weights, hidden, other, H, functions, bias, version == "reset after")
    for result, wanted in zip(found, expected, strict=True):
        close(result, wanted)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("name", ["tanh", "relu", "sigmoid", "linear"])
@pytest.mark.parametrize("whole", [False, True])
def test_rnn(whole, name, direction):
    weights, hidden, bias = gates(1)
    found = run_program(
        lambda x, h: mb.rnn(
            x=x, initial_h=h, weight_ih=weights, weight_hh=hidden, bias=bias, direction=direction,
            output_sequence=whole, activation=name,
        ),
        X, H,
    )  # fmt: skip
    outputs, h = rnn_steps(X if direction == "forward" else X[::-1], weights, hidden, bias, H, FUNCTIONS[name])
    for result, expected in zip(found, (outputs if whole else outputs[-1:], h), strict=True):
        close(result, expected)


def test_common_layers_are_one_node_of_onnx():
    weights, hidden, bias = gates(4)
    kinds = node_kinds(
        lambda x, h, c: mb.lstm(x=x, initial_h=h, initial_c=c, weight_ih=weights, weight_hh=hidden, bias=bias),
        X.shape, H.shape, C.shape,
    )  # fmt: skip
    assert "LSTM" in kinds
    assert "Scan" not in kinds
