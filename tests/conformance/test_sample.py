"""Apple's tests that have to hold in every change: a sample of the operations, and the layers of NeuralNetworks."""

from importlib.util import find_spec

import pytest

from tests.conformance import expectations, table
from tests.conformance.run import run
from tests.conformance.suites import SAMPLES

ENOUGH_PREDICTIONS = {"sample-operations": 200, "sample-layers": 1000}


@pytest.fixture(scope="module", params=SAMPLES)
def outcome(request, tmp_path_factory):
    return run(request.param, tmp_path_factory.mktemp("records"))


def test_predictions_were_really_made(outcome):
    assert outcome.predictions >= ENOUGH_PREDICTIONS[outcome.name]


def test_every_failure_has_a_known_reason(outcome):
    left = table.unexplained(outcome, expectations.load())
    assert not left, "\n".join(f"{one.short_name}: {one.kind}: {one.message}" for one in left)


def test_apples_tests_could_be_collected(outcome):
    modules = [one for one in outcome.not_counted("elsewhere") if "::" not in one.node]
    if find_spec("torch") is None:  # one of Apple's modules can't be read without it
        modules = [one for one in modules if "name 'torch' is not defined" not in one.message]
    assert not modules, "\n".join(f"{one.node}: {one.message}" for one in modules)
