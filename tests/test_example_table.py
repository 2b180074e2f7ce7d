from pathlib import Path

import numpy as np
import pytest

from requant.quantize.custom import load_table_function
from requant.quantize.lookup import clustered, evenly_spaced

EXAMPLE = Path(__file__).parents[1] / "config/lookup_tables/panter_dite.py"


def error(lookup, weights):
    return float(np.square(lookup.table[lookup.indices] - weights).mean())


@pytest.mark.parametrize("bits", [8, 6, 4, 3, 2, 1])
def test_the_shipped_example_lies_between_even_steps_and_kmeans(bits):
    weights = np.random.default_rng(0).laplace(size=(64, 50)).astype(np.float32)
    lookup = load_table_function(f"{EXAMPLE}:panter_dite")(bits, weights)
    assert (
        error(clustered(bits, weights), weights)
        <= error(lookup, weights)
        < error(evenly_spaced(bits, weights), weights)
    )


def test_the_shipped_example_takes_equal_weights():
    weights = np.full((3, 4), 0.25, np.float32)
    lookup = load_table_function(f"{EXAMPLE}:panter_dite")(4, weights)
    assert np.abs(lookup.table[lookup.indices] - weights).max() < 0.6
