import numpy as np
import pytest

from requant.errors import RequantError
from tests.building import numbers
from tests.runtime.reference import close
from tests.runtime.running import add_layer, run_network

MODES = {"constant": "constant", "reflection": "reflect", "replication": "edge"}
OPENED = pytest.mark.parametrize("opened", [(), ("x",)], ids=["known", "open"])


@OPENED
@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5), (2, 3, 4, 5), (2, 1, 3, 4, 5)])
@pytest.mark.parametrize("kind", MODES)
def test_border_of_pictures(kind, shape, opened):
    x = numbers(*shape)
    found = run_network(lambda b: b.add_padding("pad", 1, 2, 3, 0, -1.5, "x", "y", kind), opened=opened, x=x)[0]
    options = {"constant_values": -1.5} if kind == "constant" else {}
    border = [(0, 0)] * (x.ndim - 2) + [(3, 0), (1, 2)]
    close(found, np.pad(x, border, MODES[kind], **options))


@OPENED
@pytest.mark.parametrize("given", [False, True])
def test_border_of_any_axis(given, opened):
    x, amounts = numbers(3, 4, 2), [0, 1, 2, 0, 3, 4]
    layers = add_layer("constant_pad", "n", value=7) if given else (
        lambda b: b.add_constant_pad("pad", ["x"], "y", value=7, pad_amounts=amounts)
    )  # fmt: skip
    found = run_network(layers, opened=opened, x=x, **({"n": np.float32(amounts)} if given else {}))[0]
    close(found, np.pad(x, [(0, 1), (2, 0), (3, 4)], constant_values=7))


@OPENED
def test_border_up_to_a_size(opened):
    x, amounts = numbers(3, 4, 6), [0, 5, 7, 0, 0, 4]

    def layers(b):
        b.add_constant_pad("pad", ["x"], "y", pad_to_given_output_size_mode=True, pad_amounts=amounts)

    close(run_network(layers, opened=opened, x=x)[0], np.pad(x, [(0, 2), (3, 0), (0, 0)]))


def test_too_few_amounts_are_refused():
    with pytest.raises(RequantError, match="it has 4 amounts for 3 axes, which need two each"):
        run_network(lambda b: b.add_constant_pad("pad", ["x"], "y", pad_amounts=[1, 2, 3, 4]), x=numbers(2, 3, 4))
