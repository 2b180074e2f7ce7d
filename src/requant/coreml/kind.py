"""What a Core ML file holds, found by reading a few bytes of it.

A `Model` message (Apple's `Model.proto`) names its kind by the number of the one field that holds the body. Reading
just the field numbers needs neither `coremltools` nor the weights, so that a workflow of many models starts at once.
"""

from __future__ import annotations

import enum
import zipfile
from pathlib import Path
from typing import IO

from requant.errors import RequantError

PACKAGE_MODEL = "Data/com.apple.CoreML/model.mlmodel"


class Kind(enum.StrEnum):
    """The two kinds of model whose weights can be quantized."""

    NEURAL_NETWORK = "NeuralNetwork"
    ML_PROGRAM = "ML Program"

    @property
    def suffix(self) -> str:
        """The ending of a file that carries such a model from rule to rule."""
        return ".mlmodel" if self is Kind.NEURAL_NETWORK else ".mlpackage.zip"


_BODIES = {
    200: "pipelineClassifier", 201: "pipelineRegressor", 202: "pipeline", 300: "glmRegressor",
    301: "supportVectorRegressor", 302: "treeEnsembleRegressor", 303: "neuralNetworkRegressor",
    304: "bayesianProbitRegressor", 400: "glmClassifier", 401: "supportVectorClassifier",
    402: "treeEnsembleClassifier", 403: "neuralNetworkClassifier", 404: "kNearestNeighborsClassifier",
    500: "neuralNetwork", 501: "itemSimilarityRecommender", 502: "mlProgram", 555: "customModel", 556: "linkedModel",
    560: "classConfidenceThresholding", 600: "oneHotEncoder", 601: "imputer", 602: "featureVectorizer",
    603: "dictVectorizer", 604: "scaler", 606: "categoricalMapping", 607: "normalizer", 609: "arrayFeatureExtractor",
    610: "nonMaximumSuppression", 900: "identity", 2000: "textClassifier", 2001: "wordTagger",
    2002: "visionFeaturePrint", 2003: "soundAnalysisPreprocessing", 2004: "gazetteer", 2005: "wordEmbedding",
    2006: "audioFeaturePrint", 3000: "serializedModel",
}  # fmt: skip
KINDS = {
    "neuralNetwork": Kind.NEURAL_NETWORK,
    "neuralNetworkClassifier": Kind.NEURAL_NETWORK,
    "neuralNetworkRegressor": Kind.NEURAL_NETWORK,
    "mlProgram": Kind.ML_PROGRAM,
}


def kind_of_body(body: str, path: Path) -> Kind:
    """Return the kind of a model whose body is the field `body` of Apple's `Model` message.

    Raises:
        RequantError: if it is a model that has no weights to quantize, naming what it is.
    """
    if body not in KINDS:
        raise RequantError(
            f"{path} holds a model of type {body}. Only neural networks and ML Programs have weights that can be "
            "quantized; ship this one as it is."
        )
    return KINDS[body]


def read_kind(path: Path) -> Kind:
    """Return the kind of the model in a `.mlmodel`, an `.mlpackage` folder or an `.mlpackage.zip`.

    Raises:
        RequantError: if the file can't be read, is no Core ML model, or holds a model without weights to quantize.
    """
    try:
        if path.is_dir():
            with (path / PACKAGE_MODEL).open("rb") as stream:
                body = _read_body(stream)
        elif path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                name = next((n for n in archive.namelist() if n.endswith(PACKAGE_MODEL)), PACKAGE_MODEL)
                with archive.open(name) as stream:
                    body = _read_body(stream)
        else:
            with path.open("rb") as stream:
                body = _read_body(stream)
    except OSError as error:
        raise RequantError(f"{path} can't be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise RequantError(f"{path} is not a Core ML model: {error}.") from error
    return kind_of_body(body, path)


def _read_body(stream: IO[bytes]) -> str:
    while True:
        tag = _read_varint(stream)
        if tag is None:
            raise ValueError("it ends before a model begins (an empty or foreign file)")
        number, wire_type = tag >> 3, tag & 7
        if number in _BODIES and wire_type == 2:
            return _BODIES[number]
        if wire_type == 0:
            _read_varint(stream)
        elif wire_type == 2:
            stream.seek(_read_varint(stream) or 0, 1)
        else:
            raise ValueError("its bytes are not those of a Core ML model")


def _read_varint(stream: IO[bytes]) -> int | None:
    value = 0
    for shift in range(0, 70, 7):
        byte = stream.read(1)
        if not byte:
            return None
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("its bytes are not those of a Core ML model")
