"""What a Core ML file holds, found by reading a few bytes of it.

A `Model` message (Apple's `Model.proto`) names its kind by the number of the one field that holds the body. The body of
a pipeline is a list of such messages. Reading just the field numbers, and passing over all else, needs neither
`coremltools` nor the weights, so that a workflow of many models starts at once.
"""

from __future__ import annotations

import enum
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from requant.errors import RequantError

PACKAGE_MODEL = "Data/com.apple.CoreML/model.mlmodel"


class Kind(enum.StrEnum):
    """The two kinds of model whose weights can be quantized. A pipeline is of the kind of those models in it."""

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


PIPELINES = frozenset({"pipeline", "pipelineClassifier", "pipelineRegressor"})
_STAGES = 1  # the number of the field with the models of a `Pipeline`, and with the `Pipeline` of the other two


def kind_of_bodies(bodies: Sequence[str], path: Path) -> Kind:
    """Return the kind of a model.

    Args:
        bodies: the field of Apple's `Model` message that is the model's body, and for a pipeline those of all models
            inside it too.
        path: of the model, for messages.

    Raises:
        RequantError: if it has no weights to quantize, naming what it is, or networks and programs together.
    """
    kinds = {KINDS[body] for body in bodies if body in KINDS}
    inside = f" ({', '.join(dict.fromkeys(bodies[1:]))})" if len(bodies) > 1 else ""
    if len(kinds) > 1:
        raise RequantError(
            f"{path} is a {bodies[0]} of NeuralNetworks and ML Programs together{inside}. They store weights in "
            "different ways, so that no scheme fits both; quantize the models before you join them."
        )
    if not kinds:
        raise RequantError(
            f"{path} holds a model of type {bodies[0]}{inside}. Only neural networks and ML Programs have weights that "
            "can be quantized; ship this one as it is."
        )
    return kinds.pop()


def read_kind(path: Path) -> Kind:
    """Return the kind of the model in a `.mlmodel`, an `.mlpackage` folder or an `.mlpackage.zip`.

    Raises:
        RequantError: if the file can't be read, is no Core ML model, or holds a model without weights to quantize.
    """
    try:
        if path.is_dir():
            with (path / PACKAGE_MODEL).open("rb") as stream:
                bodies = _read_bodies(stream)
        elif path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                name = next((n for n in archive.namelist() if n.endswith(PACKAGE_MODEL)), PACKAGE_MODEL)
                with archive.open(name) as stream:
                    bodies = _read_bodies(stream)
        else:
            with path.open("rb") as stream:
                bodies = _read_bodies(stream)
    except OSError as error:
        raise RequantError(f"{path} can't be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, zipfile.BadZipFile, RecursionError) as error:
        raise RequantError(f"{path} is not a Core ML model: {error}.") from error
    return kind_of_bodies(bodies, path)


def _read_bodies(stream: IO[bytes], end: int | None = None) -> list[str]:
    """Return the body of the model that begins here, and for a pipeline those of all models inside it."""
    for number, after in _fields(stream, end):
        if number in _BODIES:
            body = _BODIES[number]
            return [body, *(_read_stages(stream, after, body) if body in PIPELINES else [])]
    raise ValueError("it ends before a model begins (an empty or foreign file)")


def _read_stages(stream: IO[bytes], end: int, body: str) -> list[str]:
    stages = (after for number, after in _fields(stream, end) if number == _STAGES)
    if body == "pipeline":
        return [found for after in stages for found in _read_bodies(stream, after)]
    return [found for after in stages for found in _read_stages(stream, after, "pipeline")]


def _fields(stream: IO[bytes], end: int | None) -> Iterator[tuple[int, int]]:
    """Yield the number and the end of each field with a length, the stream at its first byte; pass over the others."""
    while end is None or stream.tell() < end:
        tag = _read_varint(stream)
        if tag is None:
            return
        number, wire_type = tag >> 3, tag & 7
        if wire_type not in (0, 2):
            raise ValueError("its bytes are not those of a Core ML model")
        value = _read_varint(stream) or 0
        if wire_type == 2:
            after = stream.tell() + value
            yield number, after
            stream.seek(after)


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
