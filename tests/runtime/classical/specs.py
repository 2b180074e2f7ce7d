"""Models that are no networks, for the tests, made with coremltools' own functions for a model's interface."""

from pathlib import Path

from coremltools.models import datatypes
from coremltools.models._interface_management import (
    set_classifier_interface_params,
    set_regressor_interface_params,
    set_transform_interface_params,
)
from coremltools.proto import Model_pb2

from requant.coreml.model import Model
from requant.runtime import open_model

DOUBLE, INT64, STRING = datatypes.Double(), datatypes.Int64(), datatypes.String()


def array(*sizes):
    return datatypes.Array(*sizes)


def dictionary(keys):
    return datatypes.Dictionary(keys)


def as_model(spec):
    return Model(spec, {}, Path("classical.mlmodel"))


def opened(spec):
    return open_model(as_model(spec), "onnxruntime")


def empty():
    spec = Model_pb2.Model()
    spec.specificationVersion = 4
    return spec


def transform(inputs, outputs, body):
    """Return a model of feature engineering with its field `body` set; inputs and outputs are (name, type)."""
    spec = set_transform_interface_params(empty(), inputs, outputs)
    getattr(spec, body).SetInParent()
    return spec


def classifier(body, labels, size=3, probabilities=True):
    """Return a classifier of an array `x` with the outputs `label` and `p`."""
    spec = set_classifier_interface_params(empty(), [("x", array(size))], labels, body, output_features=["label", "p"])
    if not probabilities:
        del spec.description.output[1]
        spec.description.predictedProbabilitiesName = ""
    return spec


def regressor(size=3):
    """Return a regressor of an array `x` with the output `y`; its body is to be set."""
    return set_regressor_interface_params(empty(), [("x", array(size))], [("y", DOUBLE)])
