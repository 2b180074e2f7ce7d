import dataclasses

import coremltools as ct
import numpy as np
import pytest
from coremltools.models.neural_network import quantization_utils

from requant.coreml.deployment import oldest_system
from requant.coreml.inventory import each_weight, has_weights, network_fields, require_float, stored_weights
from requant.coreml.kind import Kind, read_kind
from requant.coreml.model import Model, load, package_members, save
from requant.coreml.network import decode, set_float16
from requant.coreml.pipeline import parts_of, raise_version, stages_of, updatable_part
from requant.errors import RequantError
from tests.building import add_inner_product, network, numbers, some_weights
from tests.coreml.joining import joined, nested, network_stage, programs, scaler

BODIES = ["pipeline", "pipelineClassifier", "pipelineRegressor"]


def laid_out(model, folder):
    for name, data in package_members(model).items():
        path = folder / "net.mlpackage" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder / "net.mlpackage"


@pytest.mark.parametrize("body", BODIES)
def test_a_pipeline_is_of_the_kind_of_the_networks_in_it(body, tmp_path):
    model = joined([scaler("x", "a"), network_stage("a", "y")], body)
    assert model.spec.WhichOneof("Type") == body
    save(model, tmp_path / "net.mlmodel")
    assert read_kind(tmp_path / "net.mlmodel") is model.kind is Kind.NEURAL_NETWORK
    assert load(tmp_path / "net.mlmodel").spec == model.spec
    assert read_kind(laid_out(model, tmp_path)) is Kind.NEURAL_NETWORK


def test_networks_are_found_in_pipelines_of_pipelines(tmp_path):
    model = nested()
    save(model, tmp_path / "net.mlmodel")
    assert read_kind(tmp_path / "net.mlmodel") is model.kind is Kind.NEURAL_NETWORK
    assert [prefix for prefix, _ in parts_of(model)] == ["net/", "inner/first/", "inner/second/"]
    weights = {weight.name: weight.values for weight in stored_weights(model)}
    assert list(weights) == [
        f"{part}/fc.{f}" for part in ("net", "inner/first", "inner/second") for f in ("weights", "bias")
    ]
    np.testing.assert_array_equal(weights["inner/second/fc.weights"], numbers(3, 3, seed=3))


def test_kinds_are_found_in_a_zip(tmp_path):
    model = programs(tmp_path)
    save(model, tmp_path / "net.mlpackage.zip")
    assert read_kind(tmp_path / "net.mlpackage.zip") is load(tmp_path / "net.mlpackage.zip").kind is Kind.ML_PROGRAM


def test_programs_share_the_files_of_the_package(tmp_path):
    model = programs(tmp_path)
    assert len(model.files) == 2
    weights = stored_weights(model)
    assert [weight.name.partition("/")[0] for weight in weights] == ["model0", "model1"]
    for weight, seed in zip(weights, (0, 1), strict=True):
        np.testing.assert_array_equal(weight.values, numbers(40, 40, seed=seed))
    assert network_fields(model) == []
    assert oldest_system(model).ios == "15"


def test_a_model_that_is_no_pipeline_is_its_own_only_part(all_weights, some_weights):
    for model in (all_weights, some_weights):
        ((prefix, part),) = parts_of(model)
        assert prefix == ""
        assert part is model
    assert parts_of(Model(scaler())) == []
    assert [field.name for field in network_fields(all_weights)] == [w.name for w in each_weight(all_weights)]


def test_networks_and_programs_together_are_refused(tmp_path):
    model = joined([network_stage("x", "y"), some_weights().spec])
    (tmp_path / "net.mlmodel").write_bytes(model.spec.SerializeToString())
    for kind in (lambda: model.kind, lambda: read_kind(tmp_path / "net.mlmodel")):
        with pytest.raises(
            RequantError, match=r"is a pipeline of NeuralNetworks and ML Programs together \(neuralNetwork, "
        ):
            kind()


@pytest.mark.parametrize("body", BODIES)
def test_a_pipeline_without_networks_has_nothing_to_quantize(body, tmp_path):
    model = joined([scaler(), joined([scaler()]).spec], body)
    save(model, tmp_path / "net.mlmodel")
    assert model.kind is read_kind(tmp_path / "net.mlmodel") is Kind.OTHER
    assert model.type == f"{body} (scaler)"
    assert not has_weights(model)
    assert stored_weights(model) == []
    require_float(model)


def test_a_part_of_a_copy_is_changed_in_the_copy():
    model = nested()
    copy = dataclasses.replace(model, spec=model.copy_spec())
    for field in network_fields(copy):
        set_float16(field.params, decode(field))
    assert {weight.form for weight in stored_weights(copy)} == {"float16"}
    assert {weight.form for weight in stored_weights(model)} == {"float32"}
    assert {field.layer for field in network_fields(copy)} == {"net/fc", "inner/first/fc", "inner/second/fc"}


def test_the_system_is_the_one_that_the_newest_part_needs():
    model = nested()
    specs = [model.spec, *(part.spec for _, part in parts_of(model))]
    for spec in (*specs, *(stage.spec for _, stage in stages_of(model))):
        spec.specificationVersion = 1
    assert oldest_system(model).ios == "11"
    set_float16(network_fields(model)[-1].params, numbers(3))
    assert oldest_system(model).ios == "11.2"
    stages_of(model)[0][1].spec.specificationVersion = 4  # the scaler's
    assert oldest_system(model).ios == "13"


def test_versions_of_networks_are_raised_and_with_them_those_of_the_pipelines():
    model = nested()
    scale, net, inner = (stage.spec for _, stage in stages_of(model))
    for spec in (model.spec, scale, net, inner, *inner.pipeline.models):
        spec.specificationVersion = 1
    inner.pipeline.models[1].specificationVersion = 5
    raise_version(model.spec, 3)
    assert [spec.specificationVersion for spec in (model.spec, scale, net, inner)] == [5, 1, 3, 5]
    assert [spec.specificationVersion for spec in inner.pipeline.models] == [3, 5]
    plain = network_stage()
    plain.specificationVersion = 4
    raise_version(plain, 3)
    assert plain.specificationVersion == 4


def test_an_updatable_model_is_found_wherever_it_is():
    model = nested()
    assert updatable_part(model) is None
    model.spec.isUpdatable = True
    assert updatable_part(model) == ""
    stages_of(model)[2][1].spec.isUpdatable = True
    assert updatable_part(model) == "inner"
    stages_of(model)[2][1].spec.pipeline.models[1].isUpdatable = True
    assert updatable_part(model) == "inner/second"
    plain = Model(network_stage())
    plain.spec.isUpdatable = True
    assert updatable_part(plain) == ""


def test_a_pipeline_that_is_quantized_in_part_is_refused():
    stage = network(lambda b: add_inner_product(b, numbers(3, 3)), {"x": (3,)})
    spec = quantization_utils.quantize_weights(ct.models.MLModel(stage.spec, skip_model_load=True), 4).get_spec()
    with pytest.raises(RequantError, match=r"(?s)is quantized already.*second/fc.weights: linear, 4 bits"):
        require_float(joined([network_stage(), spec], names=["first", "second"]))


def test_damaged_pipelines_are_refused(tmp_path):
    with pytest.raises(RequantError, match=r"it has 1 models and 2 names"):
        stored_weights(joined([network_stage()], names=["a", "b"]))
    with pytest.raises(RequantError, match=r"two of its models are named 'a'"):
        stored_weights(joined([network_stage(), network_stage()], names=["a", "a"]))
    data = nested().spec.SerializeToString()
    for size in (len(data) // 2, len(data) - 1):
        (tmp_path / "net.mlmodel").write_bytes(data[:size])
        with pytest.raises(RequantError, match="not a Core ML model"):
            load(tmp_path / "net.mlmodel")


def test_what_is_inside_a_pipeline_is_told_without_reading_the_weights(tmp_path, monkeypatch):
    """All that is read are numbers and lengths of fields: some hundred bytes of a megabyte."""
    stages = [network_stage(f"s{i}" if i else "x", f"s{i + 1}", 300, seed=i) for i in range(3)]
    save(joined(stages, size=300, result="s3"), tmp_path / "net.mlmodel")
    assert (tmp_path / "net.mlmodel").stat().st_size > 1e6
    read = []
    original = type(tmp_path).open

    def counting(path, *arguments):
        stream = original(path, *arguments, buffering=0)
        return Counted(stream, read)

    monkeypatch.setattr(type(tmp_path), "open", counting)
    assert read_kind(tmp_path / "net.mlmodel") is Kind.NEURAL_NETWORK
    assert sum(read) < 500


class Counted:
    """A stream that notes how much is read."""

    def __init__(self, stream, read):
        self.stream, self.note = stream, read
        self.seek, self.tell = stream.seek, stream.tell

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()

    def read(self, size):
        self.note.append(size)
        return self.stream.read(size)


def test_a_nest_without_end_is_no_model(tmp_path):
    """Each pipeline claims to reach to the end of the file: deeper than Python's calls may go."""
    (tmp_path / "net.mlmodel").write_bytes(b"\xd2\x0c\xff\xff\x03\x0a\xff\xff\x03" * 3000)
    with pytest.raises(RequantError, match="not a Core ML model"):
        read_kind(tmp_path / "net.mlmodel")
