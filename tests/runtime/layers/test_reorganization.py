import numpy as np
import pytest

from tests.building import numbers
from tests.runtime.reference import close
from tests.runtime.running import add_layer, run_network

CHANNELS = np.arange(1, 17, dtype=np.float32).reshape(8, 1, 2)
SPACE = {  # the examples of ReorganizeDataLayerParams
    "DEPTH_TO_SPACE": [[[1, 5, 2, 6], [9, 13, 10, 14]], [[3, 7, 4, 8], [11, 15, 12, 16]]],
    "PIXEL_SHUFFLE": [[[1, 3, 2, 4], [5, 7, 6, 8]], [[9, 11, 10, 12], [13, 15, 14, 16]]],
}


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("mode", SPACE)
def test_channels_become_pixels(mode, exact):
    close(run_network(add_layer("reorganize_data", mode=mode, block_size=2), exact, x=CHANNELS)[0], SPACE[mode])


def test_pixels_become_channels():
    layers = add_layer("reorganize_data", mode="SPACE_TO_DEPTH", block_size=2)
    close(run_network(layers, x=np.float32(SPACE["DEPTH_TO_SPACE"]))[0], CHANNELS)


@pytest.mark.parametrize("opened", [(), ("x",)], ids=["known", "open"])
def test_axes_before_the_channels_are_kept(opened):
    def layers(b):
        b.add_reorganize_data("there", "x", "depth", "SPACE_TO_DEPTH", 3)
        b.add_reorganize_data("back", "depth", "y", "DEPTH_TO_SPACE", 3)

    x = numbers(2, 1, 2, 6, 9)
    close(run_network(layers, opened=opened, x=x)[0], x)
