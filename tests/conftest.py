import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests import building

settings.register_profile("steady", deadline=None, derandomize=True)
settings.register_profile("thorough", deadline=None, max_examples=3000)
settings.load_profile("steady")


def pytest_collection_finish():
    """Spare the imported modules the garbage collection that coremltools asks for in every conversion."""
    gc.freeze()


@pytest.fixture(scope="session")
def all_weights():
    return building.all_weights()


@pytest.fixture(scope="session")
def some_weights():
    return building.some_weights()


@pytest.fixture(scope="session")
def some_weights_float16():
    return building.some_weights(precision=building.FLOAT16)


@pytest.fixture(scope="session")
def real_models():
    folder = os.environ.get("REQUANT_REAL_MODELS")
    if not folder:
        pytest.skip("REQUANT_REAL_MODELS does not name the folder of real models")
    return Path(folder)
