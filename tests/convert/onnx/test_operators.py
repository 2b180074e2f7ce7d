"""Every operator with a translation, on ONNX's own test cases of it."""

import os

import numpy as np
import pytest

from requant.convert.onnx.operators import OPERATORS
from requant.convert.onnx.preparing import DEFINED_BY_OTHERS
from requant.errors import RequantError
from tests.convert.onnx.cases import OTHERS, REFUSED, all_cases, cases_by_operator
from tests.convert.onnx.converting import FLOAT32, ran, saved, settings_of

# Operators of which ONNX has no case of its own; other tests hold them.
WITHOUT_CASES = {"CastLike", "GlobalLpPool"}
LIMIT = int(os.environ.get("REQUANT_ONNX_CASES", "5"))  # of cases for one operator: attention alone has 90


def converted(case, folder, table=None):
    """Return what a case is expected to give and what its float model gives.

    Inputs without axes become constants; where Core ML needs others constant too, all but the first do.
    """
    inputs, expected = case.data_sets[0]
    names = [value.name for value in case.model.graph.input]
    arrays = dict(zip(names, (np.asarray(value) for value in inputs), strict=True))
    bare = {name for name, array in arrays.items() if not array.ndim or not array.size}
    path = saved(case.model, folder)
    try:
        return expected, _ran_with(path, table, arrays, bare)
    except RequantError:
        return expected, _ran_with(path, table, arrays, bare | set(names[1:]))


def _ran_with(path, table, arrays, constants):
    settings = settings_of(table, **{name: arrays[name] for name in arrays if name in constants})
    return ran(path, settings, [array for name, array in arrays.items() if name not in constants])


def assert_alike(found, expected):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, map(np.asarray, expected), strict=True):
        tolerance = 2e-3 if theirs.dtype == np.float16 else 1e-5
        np.testing.assert_allclose(
            ours.reshape(theirs.shape), theirs.astype(np.float64), rtol=tolerance, atol=tolerance
        )


@pytest.mark.parametrize("kind", sorted({*OPERATORS, *DEFINED_BY_OTHERS} - WITHOUT_CASES))
def test_an_operator_gives_what_onnx_expects(kind, tmp_path):
    excluded = {*OTHERS, *(name for names in REFUSED.values() for name in names)}
    names = [name for name in cases_by_operator()[kind] if name not in excluded]
    step = -(-len(names) // LIMIT)
    for name in names[::step]:
        expected, found = converted(all_cases()[name], tmp_path)
        try:
            assert_alike(found, expected)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error


@pytest.mark.parametrize(("words", "name"), [(words, name) for words, names in REFUSED.items() for name in names])
def test_what_core_ml_has_not_is_refused_with_the_reason(words, name, tmp_path):
    with pytest.raises(RequantError, match=words):
        converted(all_cases()[name], tmp_path)


@pytest.mark.parametrize("kind", sorted({*OPERATORS} - WITHOUT_CASES - {"Constant", "GridSample", "If", "Range"}))
def test_an_operator_as_a_neural_network_or_for_a_new_system(kind, tmp_path):
    """One case for each; a NeuralNetwork has no model without computed values, and no sampling of pictures."""
    excluded = {*OTHERS, *(name for names in REFUSED.values() for name in names)}
    name = next(name for name in cases_by_operator()[kind] if name not in excluded)
    for table in ({"convert_to": "neuralnetwork"}, {**FLOAT32, "minimum_deployment_target": "iOS18"}):
        expected, found = converted(all_cases()[name], tmp_path, table)
        assert_alike(found, expected)
