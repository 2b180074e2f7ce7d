import hashlib
import os
import subprocess
import sys

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.models.neural_network import quantization_utils
from coremltools.optimize import coreml as cto

from requant.coreml.kind import Kind
from requant.coreml.model import Model, load, save, to_bytes
from requant.coreml.network import decode, weight_fields
from requant.errors import RequantError
from requant.quantize.scheme import SCHEMES, Scheme
from requant.quantize.selection import Selection
from requant.quantize.variant import make_variant, quantize
from tests.building import add_inner_product, as_model, network, numbers, package, program
from tests.coreml.joining import joined, scaler


@pytest.fixture(params=["all_weights", "some_weights"])
def model(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def custom(tmp_path):
    (tmp_path / "luts.py").write_text(
        "import numpy as np\n"
        "def mine(bits, weights):\n"
        "    return np.arange(1 << bits) / 8, np.zeros(weights.shape, np.uint8)\n"
    )
    return f"{tmp_path / 'luts.py'}:mine"


def written(model, folder):
    path = folder / f"net{model.kind.suffix}"
    save(model, path)
    return path


def test_the_source_is_not_changed(model):
    for scheme in ("linear_16", "linear_8", "kmeans_3"):
        before = to_bytes(model, "net")
        quantize(model, Scheme.parse(scheme))
        assert to_bytes(model, "net") == before


def test_metadata_is_kept_and_the_scheme_is_noted(model):
    source = Model(model.copy_spec(), model.files, model.path)
    metadata = source.spec.description.metadata
    metadata.author, metadata.license, metadata.versionString = "A. Painter", "MIT", "1.2"
    metadata.shortDescription = "Paints."
    metadata.userDefined["key"] = "value"
    source.spec.description.input[0].shortDescription = "what comes in"
    found = quantize(source, Scheme.of("kmeans", 4)).spec.description
    assert found.metadata.shortDescription == (
        "Paints.\nWeights quantized by requant, kmeans_4: 4 bits: a k-means lookup table per tensor."
    )
    found.metadata.shortDescription = "Paints."
    assert found == source.spec.description


def test_without_a_description_the_note_stands_alone(model):
    source = Model(model.copy_spec(), model.files, model.path)
    source.spec.description.metadata.shortDescription = ""
    note = quantize(source, Scheme.of("linear", 8)).spec.description.metadata.shortDescription
    assert note.startswith("Weights quantized by requant, linear_8: 8 bits: linear quantization")


@pytest.mark.parametrize("scheme", ["linear_8", "kmeans_4", "linear_16", "custom_lut_2"])
def test_the_bytes_are_the_same_in_every_process(model, scheme, custom, tmp_path):
    source = written(model, tmp_path)
    outputs = [tmp_path / name / source.name for name in ("first", "second", "third")]
    for output in outputs[:2]:
        make_variant(source, Scheme.parse(scheme), output, custom)
    code = (
        "import sys; from pathlib import Path; from requant.quantize.scheme import Scheme;"
        "from requant.quantize.variant import make_variant;"
        "make_variant(Path(sys.argv[1]), Scheme.parse(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])"
    )
    subprocess.run(
        [sys.executable, "-c", code, source, scheme, outputs[2], custom],
        env={**os.environ, "PYTHONHASHSEED": "4711", "TZ": "Asia/Tokyo"}, check=True, capture_output=True,
    )  # fmt: skip
    assert len({hashlib.sha256(output.read_bytes()).hexdigest() for output in outputs}) == 1


@pytest.mark.parametrize("mode", ["linear", "linear_lut"])
@pytest.mark.parametrize("bits", [8, 4, 1])
def test_a_network_that_coremltools_quantized_is_refused(all_weights, mode, bits):
    mlmodel = ct.models.MLModel(all_weights.spec, skip_model_load=True)
    model = Model(quantization_utils.quantize_weights(mlmodel, bits, mode).get_spec())
    with pytest.raises(RequantError) as caught:
        quantize(model, Scheme.of("linear", 8))
    message = str(caught.value)
    assert "is quantized already. Keep the float original" in message
    assert f"  conv.weights: {'linear' if mode == 'linear' else 'lookup table'}, {bits} bits" in message
    assert message.count("\n") == 9  # eight of them, and how many more
    assert "more" in message.splitlines()[-1]


def test_a_network_that_computes_in_int8_is_refused():
    model = network(lambda b: add_inner_product(b, numbers(4, 6)), {"x": (6,)}, exact=True)
    quantization_utils.activate_int8_int8_matrix_multiplications(model.spec)
    with pytest.raises(RequantError, match=r"(?s)quantized already.*fc.weights: linear, 8 bits"):
        quantize(model, Scheme.of("linear", 4))


def test_a_program_that_coremltools_quantized_is_refused(some_weights, tmp_path):
    options = {
        "linear, 8 bits": cto.OpLinearQuantizerConfig(mode="linear"),
        "lookup table, 6 bits": cto.OpPalettizerConfig(mode="uniform", nbits=6),
        "sparse": cto.OpMagnitudePrunerConfig(target_sparsity=0.5),
    }
    functions = [cto.linear_quantize_weights, cto.palettize_weights, cto.prune_weights]
    for (shown, option), function in zip(options.items(), functions, strict=True):
        compressed = function(package(some_weights, tmp_path), config=cto.OptimizationConfig(global_config=option))
        with pytest.raises(RequantError, match=f"(?s)quantized already.*conv_weight_0_[a-z]*: {shown}"):
            quantize(as_model(compressed), Scheme.of("kmeans", 4))


@pytest.mark.parametrize("scheme", ["linear_8", "kmeans_4", "linear_lut_1"])
def test_a_variant_of_ours_is_refused(model, scheme):
    with pytest.raises(RequantError, match="is quantized already"):
        quantize(quantize(model, Scheme.parse(scheme)), Scheme.of("linear", 8))


def test_float16_is_not_quantized_already(model):
    half = quantize(model, Scheme.of("linear", 16))
    assert (
        quantize(half, Scheme.of("linear", 8)).spec.description
        == quantize(half, Scheme.of("linear", 8)).spec.description
    )


@pytest.mark.parametrize("scheme", ["kmeans_4", "linear_16", "prune_50"])
@pytest.mark.parametrize("without", [network(lambda b: b.add_activation("relu", "RELU", "x", "y")), joined([scaler()])])
def test_a_model_without_weights_is_refused(without, scheme, tmp_path):
    with pytest.raises(RequantError, match=r"net.mlmodel has no weights that could be quantized; ship it as it is\."):
        make_variant(written(without, tmp_path), Scheme.parse(scheme), tmp_path / "variant.mlmodel")
    assert not (tmp_path / "variant.mlmodel").exists()


def test_what_the_kind_can_not_store_is_refused(some_weights):
    with pytest.raises(RequantError, match="ML Program has no linear at 6 bits"):
        quantize(some_weights, Scheme.of("linear", 6))


def test_custom_lut_wants_a_function_below_16_bits(model):
    with pytest.raises(RequantError, match="wants a function of yours"):
        quantize(model, Scheme.of("custom_lut", 4))


def test_at_16_bits_every_mode_is_float16(all_weights):
    modes = [m for m, bits in SCHEMES[Kind.NEURAL_NETWORK].items() if 16 in bits]
    found = {quantize(all_weights, Scheme.of(mode, 16)).spec.neuralNetwork.SerializeToString() for mode in modes}
    assert len(found) == 1


def test_the_function_of_the_user_makes_the_tables(all_weights, custom):
    spec = quantize(all_weights, Scheme.of("custom_lut", 3), custom).spec
    for field in weight_fields(spec):
        if field.quantizable:
            np.testing.assert_array_equal(
                field.params.quantization.lookupTableQuantization.floatValue, np.arange(8) / 8
            )
            assert not decode(field).any()


def test_what_is_written_is_what_was_made(model, tmp_path):
    output = tmp_path / f"variant{model.kind.suffix}"
    make_variant(written(model, tmp_path), Scheme.of("linear_lut", 4), output)
    assert load(output).spec == quantize(model, Scheme.of("linear_lut", 4)).spec
    assert output.stat().st_size < (tmp_path / f"net{model.kind.suffix}").stat().st_size


def test_a_variant_that_is_no_smaller_is_refused_and_removed(tmp_path):
    network_ = network(lambda b: add_inner_product(b, numbers(2, 3)), {"x": (3,)})
    program_ = program(lambda x: mb.linear(x=x, weight=numbers(4, 5), name="fc"), (1, 5))
    for model in (network_, program_):
        output = tmp_path / f"variant{model.kind.suffix}"
        selection = Selection(weight_threshold=0)
        with pytest.raises(RequantError, match=r"kmeans_8 made .*net.* no smaller|it would take [\d,]+ bytes instead"):
            make_variant(written(model, tmp_path), Scheme.of("kmeans", 8), output, selection=selection)
        assert not output.exists()


def test_float16_of_a_float16_program_is_as_large_as_it_was(some_weights_float16, tmp_path):
    record = make_variant(
        written(some_weights_float16, tmp_path), Scheme.of("linear", 16), tmp_path / "variant.mlpackage.zip"
    )
    assert record["bits_per_weight"] == 16
