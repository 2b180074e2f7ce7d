import numpy as np
import pytest

from tests.building import numbers
from tests.runtime.reference import close
from tests.runtime.running import add_layer, run_network

A = numbers(2, 3, 4)


@pytest.mark.parametrize("opened", [(), ("x",)], ids=["known", "open"])
@pytest.mark.parametrize("reps", [(3,), (2, 1), (1, 2, 6)])
def test_tiles(reps, opened):
    close(run_network(add_layer("tile", reps=reps), opened=opened, x=A)[0], np.tile(A, reps))
    given = run_network(lambda b: b.add_tile("tile", ["x", "n"], "y"), opened=opened, x=A, n=np.float32(reps))
    close(given[0], np.tile(A, reps))
