"""Pipelines for the tests, made with coremltools: networks and programs with models that are neither."""

from pathlib import Path

import coremltools as ct
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.models.pipeline import Pipeline, PipelineClassifier, PipelineRegressor

from requant.coreml.model import Model
from tests.building import add_inner_product, as_model, network, numbers, package, program
from tests.runtime.classical.specs import DOUBLE, array, transform


def network_stage(source="x", result="y", size=3, name="fc", seed=0):
    """Return the spec of a network with one layer that takes and gives an array."""

    def layers(builder):
        add_inner_product(builder, numbers(size, size, seed=seed), numbers(size), name, source, result)

    spec = network(layers, {source: (size,)}, [result]).spec
    spec.description.output[0].type.multiArrayType.shape.append(size)
    return spec


def scaler(source="x", result="scaled", size=3):
    spec = transform([(source, array(size))], [(result, array(size))], "scaler")
    spec.scaler.scaleValue.append(0.5)
    return spec


def joined(stages, body="pipeline", names=(), source="x", result="y", size=3):
    """Return a pipeline of specs, of one of the three types of pipelines."""
    inputs = [(source, array(size))]
    pipeline = {
        "pipeline": lambda: Pipeline(inputs, [(result, array(size))]),
        "pipelineClassifier": lambda: PipelineClassifier(inputs, ["no", "yes"], ["label", "p"]),
        "pipelineRegressor": lambda: PipelineRegressor(inputs, [(result, DOUBLE)]),
    }[body]()
    for stage in stages:
        pipeline.add_model(stage)
    spec = pipeline.spec
    (spec.pipeline if body == "pipeline" else getattr(spec, body).pipeline).names.extend(names)
    return Model(spec, {}, Path("joined.mlmodel"))


def nested():
    """Return a scaler, a network, and a pipeline of two networks, one after the other."""
    inner = joined(
        [network_stage("b", "c", seed=2), network_stage("c", "y", seed=3)], names=["first", "second"], source="b"
    )
    return joined([scaler("x", "a"), network_stage("a", "b", seed=1), inner.spec], names=["scale", "net", "inner"])


def programs(folder):
    """Return a pipeline of two ML Programs, whose weights lie in a file each of one package."""

    def stage(result, seed):
        return program(lambda x: mb.matmul(x=x, y=numbers(40, 40, seed=seed), name=result), (1, 40))

    made = []
    for index, (source, result) in enumerate([("x", "middle"), ("middle", "y")]):
        (folder / str(index)).mkdir()
        mlmodel = package(stage(result, index), folder / str(index))
        made.append(ct.models.MLModel(renamed(mlmodel, source), weights_dir=mlmodel.weights_dir, skip_model_load=True))
    return as_model(ct.utils.make_pipeline(*made))


def renamed(mlmodel, source):
    """Return the spec of a program with its input `x` under another name."""
    spec = mlmodel.get_spec()
    ct.utils.rename_feature(spec, "x", source)
    return spec
